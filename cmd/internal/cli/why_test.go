package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/graph/formats/dot"
	"gonum.org/v1/gonum/graph/formats/dot/ast"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// explaining is a machine that has an explanation and a boot to tell of.
type explaining struct {
	*machine
	explanation units.Explanation
	boot        units.BootAnalysis
}

func (e *explaining) Explain(context.Context, units.ID) (units.Explanation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.explanation, nil
}

// set changes what it tells.
func (e *explaining) set(explanation units.Explanation, boot units.BootAnalysis) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.explanation, e.boot = explanation, boot
}

func (e *explaining) AnalyzeBoot(context.Context) (units.BootAnalysis, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.boot, nil
}

func (e *explaining) Dependencies(context.Context) ([]units.Dependency, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []units.Dependency
	for id, s := range e.services {
		for relation, names := range map[units.Relation][]string{
			units.RelationRequires: s.Requires, units.RelationAfter: s.After, units.RelationWants: s.Wants, units.RelationConflicts: s.Conflicts,
		} {
			for _, name := range names {
				on, err := units.ParseRef(id.Context, name)
				if err != nil {
					return nil, err
				}
				all = append(all, units.Dependency{Service: id, On: on, Relation: relation})
			}
		}
	}
	return all, nil
}

func newExplaining(t *testing.T) *explaining {
	t.Helper()
	e := &explaining{}
	newMachine(t, func(o *dbusapi.Options) { e.machine, o.Controller = o.Controller.(*machine), e })
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	invocation := strings.Repeat("ab", 16)
	explanation := units.Explanation{
		ID: core("a"), State: units.StateDegraded, More: 2,
		Remedy: "journalctl -u hero-core-c.service\nhero_proc service start core/a",
		Links: []units.Link{
			{ID: core("a"), Unit: core("a").Unit(), State: units.StateInactive, What: "is not started: what it requires is not up", Why: "not shown, as what is behind it says it"},
			{ID: core("c"), Depth: 1, Relation: units.RelationRequires, Unit: core("c").Unit(), State: units.StateFailed, What: "has failed", Root: true,
				Why: "systemd's result is exit-code (exited with status 3): a sentence that is\nlonger than a line", Since: ago(90 * time.Second), InvocationID: invocation},
			{ID: core("d"), Depth: 1, Relation: units.RelationWants, Unit: core("d").Unit(), State: units.StateDegraded, What: "is up, but not well", Since: ago(time.Hour)},
			{ID: core("d"), Depth: 2, Relation: units.RelationAction, Action: "log", Unit: core("d").ActionUnit("log"), State: units.StateDegraded, What: "has failed", Why: "it\x1b[2J", Root: true, InvocationID: strings.Repeat("cd", 16)},
			{ID: core("gone"), Depth: 1, Relation: units.RelationRequires, What: "is not registered", Why: "it is required by core/a", Root: true},
		},
		Events: []units.LogEntry{{ID: 3, Event: units.Event{Time: ago(time.Minute), Code: units.EventStartFailed, Level: units.LevelError, Service: core("c"), Message: "service \"core/c\" did not start"}}},
	}
	boot := units.BootAnalysis{Booted: ago(time.Hour), Units: []units.BootUnit{
		{Service: core("db"), Unit: core("db").Unit(), Phase: units.PhaseRunning, Attempts: 2, Began: ago(time.Hour - time.Second), Ready: ago(time.Hour - 4*time.Second), Critical: true},
		{Service: core("bad"), Unit: core("bad").Unit(), Phase: units.PhaseFailed, Attempts: 1, Began: ago(time.Hour - time.Second), Ended: ago(time.Hour - 1500*time.Millisecond)},
		{Service: core("side"), Unit: core("side").Unit(), Phase: units.PhaseRunning, Attempts: 1, Began: ago(time.Hour - time.Second), Ready: ago(time.Hour - 1200*time.Millisecond)},
		{Service: core("slow"), Unit: core("slow").Unit(), Phase: units.PhasePending, Attempts: 1, Began: ago(time.Hour - time.Second)},
		{Service: core("web"), Action: "migrate", Unit: core("web").ActionUnit("migrate"), Phase: units.PhaseSucceeded, Attempts: 1, Began: ago(time.Hour - 4*time.Second), Ready: ago(time.Hour - 5*time.Second), WaitedFor: core("db").Unit(), Critical: true},
		{Service: core("web"), Unit: core("web").Unit(), Phase: units.PhaseRunning, Attempts: 1, Began: ago(time.Hour - 5*time.Second), Ready: ago(time.Hour - 5010*time.Millisecond), WaitedFor: core("web").ActionUnit("migrate"), Critical: true},
	}}
	e.set(explanation, boot)
	return e
}

// journalOf is a journalctl that has two activations in it.
func journalOf(asked *[]string) func(context.Context, []string) ([]byte, []byte, error) {
	mine, other := strings.Repeat("ab", 16), strings.Repeat("ef", 16)
	line := func(fields ...string) string {
		return fmt.Sprintf(`{"__REALTIME_TIMESTAMP":"%d",%s}`, now.UnixMicro(), strings.Join(fields, ","))
	}
	text := strings.Join([]string{
		line(`"MESSAGE":"before"`, `"_SYSTEMD_UNIT":"hero-core-c.service"`),
		line(`"MESSAGE":"of another"`, `"_SYSTEMD_INVOCATION_ID":"`+other+`"`),
		line(`"MESSAGE":"Starting"`, `"INVOCATION_ID":"`+mine+`"`, `"PRIORITY":"6"`, `"SYSLOG_IDENTIFIER":"systemd"`),
		line(`"MESSAGE":"cannot open\u001b[2J the file"`, `"_SYSTEMD_INVOCATION_ID":"`+mine+`"`, `"SYSLOG_IDENTIFIER":"c"`, `"_PID":"17"`),
		line(`"MESSAGE":[98,121,255]`, `"_SYSTEMD_UNIT":"hero-core-c.service"`, `"_COMM":"c"`),
		line(`"MESSAGE":["one","two"]`, `"_SYSTEMD_INVOCATION_ID":"`+mine+`"`, `"SYSLOG_IDENTIFIER":"c"`),
		line(`"MESSAGE":"Failed at step EXEC"`, `"INVOCATION_ID":"`+mine+`"`, `"PRIORITY":"3"`, `"SYSLOG_IDENTIFIER":"(c)"`),
		line(`"MESSAGE":"Failed to start"`, `"INVOCATION_ID":"`+mine+`"`, `"PRIORITY":"3"`, `"JOB_RESULT":"failed"`, `"SYSLOG_IDENTIFIER":"systemd"`),
		line(`"MESSAGE":"later"`, `"_SYSTEMD_INVOCATION_ID":"`+other+`"`),
		line(`"MESSAGE":"later, and nobody knows whose"`, `"_SYSTEMD_UNIT":"hero-core-c.service"`),
		`{"MESSAGE":"without a time"`,
	}, "\n")
	return func(_ context.Context, argv []string) ([]byte, []byte, error) {
		*asked = append(*asked, strings.Join(argv, " "))
		if slices.Contains(argv, "_SYSTEMD_INVOCATION_ID="+mine) {
			return []byte(text), nil, nil
		}
		return nil, []byte("Hint: You are currently not seeing messages from other users and the system.\n"), nil
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	e := newExplaining(t)
	for form, h := range map[string]how{"80": {width: 80}, "pipe": {}, "color": {width: 80, color: true}, "json": {}} {
		var asked []string
		h.capture = journalOf(&asked)
		args := []string{"service", "why", "a", "-n", "4"}
		if form == "json" {
			args = append(args, "--json")
		}
		r := run(t, e.address, h, args...)
		if r.exit != 0 || r.stderr != "" {
			t.Errorf("why exits with %d: %s", r.exit, r.stderr)
		}
		golden(t, "why."+form, r.stdout)
		if strings.Contains(r.stdout, "\x1b[2J") {
			t.Errorf("%s: what a service printed reaches the terminal", form)
		}
		if want := "journalctl --output=json --all --no-pager --lines=54 _SYSTEMD_INVOCATION_ID=" + strings.Repeat("ab", 16); len(asked) != 3 || !strings.HasPrefix(asked[0], want) {
			t.Errorf("asked %q", asked)
		}
	}

	// What is not registered is status 4; without -n the journal is left alone.
	e.set(units.Explanation{ID: core("x"), Links: []units.Link{{ID: core("x"), What: "is not registered", InvocationID: "i", Root: true}}}, units.BootAnalysis{})
	never := func(context.Context, []string) ([]byte, []byte, error) { return nil, nil, errors.New("asked") }
	if r := run(t, e.address, how{capture: never}, "service", "why", "x", "-n", "0"); r.exit != units.ExitNoSuchService || r.stdout != "● core/x: it is not registered\n" {
		t.Errorf("why of what is not registered exits with %d: %s%s", r.exit, r.stdout, r.stderr)
	}
	if r := run(t, e.address, how{capture: never}, "service", "why", "x"); !strings.Contains(r.stdout, "the journal does not show you what it printed; try:\n      sudo journalctl _SYSTEMD_INVOCATION_ID=i\n") {
		t.Errorf("without a journal, why says %s", r.stdout)
	}
	if r := run(t, e.address, how{capture: func(context.Context, []string) ([]byte, []byte, error) { return nil, nil, nil }}, "service", "why", "x"); !strings.Contains(r.stdout, "it printed nothing") {
		t.Errorf("of what printed nothing, why says %s", r.stdout)
	}
	for _, args := range [][]string{{"service", "why"}, {"service", "why", "a", "b"}, {"service", "why", "a", "-n", "-1"}, {"service", "why", "a", "-n", "1001"}} {
		if r := run(t, e.address, how{}, args...); r.exit != units.ExitUsage {
			t.Errorf("%v exits with %d: %s", args, r.exit, r.stderr)
		}
	}
}

// forestOf registers services with their states, and what they name.
func forestOf(t *testing.T, e *explaining) {
	t.Helper()
	for _, s := range []struct {
		def   map[string]any
		state units.State
	}{
		{map[string]any{"name": "web", "requires": []any{"db", "lab/gone"}, "wants": []any{"cache"}}, units.StateRunning},
		{map[string]any{"name": "db", "after": []any{"disk"}}, units.StateFailed},
		{map[string]any{"name": "cache", "requires": []any{"db"}, "conflicts": []any{"web"}}, units.StateDegraded},
		{map[string]any{"name": "disk"}, units.StateExited},
		{map[string]any{"name": "x", "after": []any{"y"}}, units.StateBlocked},
		{map[string]any{"name": "y", "after": []any{"x"}}, units.StateBlocked},
		{map[string]any{"name": "own", "context": "lab", "after": []any{"core/disk"}}, units.StateInactive},
	} {
		s.def["actions"] = []any{map[string]any{"exec": "/bin/x"}}
		e.add(t, s.def, units.Status{State: s.state})
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	e := newExplaining(t)
	if r := run(t, e.address, how{}, "service", "tree"); r.exit != 0 || r.stdout != "" || r.stderr != "No service is registered.\n" {
		t.Errorf("with nothing registered, tree says %+v", r)
	}
	forestOf(t, e)
	for _, tt := range []struct {
		name, args string
		color      bool
	}{
		{"tree", "service tree", false},
		{"tree.color", "service tree", true},
		{"tree.json", "service tree --json", false},
		{"tree.dot", "service tree --dot", false},
		{"tree-one", "service tree web", false},
		{"tree-reverse", "service tree disk --reverse", false},
		{"tree-context", "service tree --context lab", false},
		{"tree-cycle", "service tree y", false},
	} {
		r := run(t, e.address, how{color: tt.color}, strings.Fields(tt.args)...)
		if r.exit != 0 || r.stderr != "" || strings.Contains(r.stdout, "\x1b") != tt.color {
			t.Errorf("%s: exits with %d: %s", tt.name, r.exit, r.stderr)
		}
		golden(t, tt.name, r.stdout)
	}
	for args, exit := range map[string]int{"service tree nothing": units.ExitNoSuchService, "service tree --dot --json": units.ExitUsage, "service tree a b": units.ExitUsage} {
		if r := run(t, e.address, how{}, strings.Fields(args)...); r.exit != exit {
			t.Errorf("%s exits with %d, want %d: %s", args, r.exit, exit, r.stderr)
		}
	}
}

// What --dot prints is read by a parser of graphviz's language, and has each
// service and each dependency once.
func TestDotIsGraphviz(t *testing.T) {
	t.Parallel()
	e := newExplaining(t)
	forestOf(t, e)
	for args, want := range map[string][2]int{"service tree --dot": {8, 8}, "service tree disk --dot --reverse": {5, 5}, "service tree y --dot": {2, 2}} {
		text := run(t, e.address, how{}, strings.Fields(args)...).stdout
		file, err := dot.ParseString(text)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", args, err, text)
		}
		nodes, edges := 0, 0
		for _, s := range file.Graphs[0].Stmts {
			switch s.(type) {
			case *ast.NodeStmt:
				nodes++
			case *ast.EdgeStmt:
				edges++
			}
		}
		if got := [2]int{nodes, edges}; got != want || !file.Graphs[0].Directed {
			t.Errorf("%s has %v nodes and edges, want %v:\n%s", args, got, want, text)
		}
	}
	for _, s := range []string{`plain`, `a "b"`, `\`, `\"`, `"; evil [label="x"] "`, "two\nlines", `ends in \`, "ü"} {
		file, err := dot.ParseString("digraph { " + dotQuote(s) + " }")
		if err != nil || len(file.Graphs[0].Stmts) != 1 {
			t.Errorf("%q quoted is %s: %v", s, dotQuote(s), err)
		}
	}
}

func TestAnalyze(t *testing.T) {
	t.Parallel()
	e := newExplaining(t)
	for name, args := range map[string]string{"analyze": "analyze", "analyze-all": "analyze --all", "analyze.json": "analyze --json"} {
		r := run(t, e.address, how{}, strings.Fields(args)...)
		if r.exit != 0 || r.stderr != "" {
			t.Errorf("%s exits with %d: %s", args, r.exit, r.stderr)
		}
		golden(t, name, r.stdout)
	}
	e.set(units.Explanation{}, units.BootAnalysis{})
	if r := run(t, e.address, how{}, "analyze"); r.exit != 0 || r.stdout != "" || r.stderr != "The last boot started no service.\n" {
		t.Errorf("of a boot that started nothing, analyze says %+v", r)
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	r := run(t, m.address, how{}, "service", "set", "--preset", "?")
	golden(t, "presets", r.stdout)
	r = run(t, m.address, how{}, "service", "set", "hero_db", "--preset", "hero_db", "--memory-max", "1G", "--dry-run")
	golden(t, "preset-dry-run", r.stdout)
	if _, registered := m.service(core("hero_db")); registered || r.exit != 0 || r.stderr != "Nothing was changed. systemd has not been asked about it.\n" {
		t.Errorf("a dry run exits with %d, says %q, and has registered it: %v", r.exit, r.stderr, registered)
	}
	for range 2 {
		if r := run(t, m.address, how{}, "service", "set", "hero_db", "--preset", "hero_db", "--restart", "no"); r.exit != 0 {
			t.Fatal(r.stderr)
		}
	}
	s, _ := m.service(core("hero_db"))
	if a := s.Actions[0]; a.Credentials["admin_secret"] != units.GeneratedCredential || a.ReadyCredential != "admin_secret" || a.StateDir != "hero_db" || a.Restart != units.RestartNo {
		t.Errorf("hero_db is registered as %+v", a)
	}
	// A change by a dry run is of what is registered.
	if r := run(t, m.address, how{}, "service", "set", "hero_db", "--tasks-max", "77", "--dry-run", "--json"); r.exit != 0 || !strings.Contains(r.stdout, `"tasks_max": 77`) || !strings.Contains(r.stdout, `"state_dir": "hero_db"`) {
		t.Errorf("a dry run of a change exits with %d: %s%s", r.exit, r.stdout, r.stderr)
	}
	if r := run(t, m.address, how{}, "service", "set", "x", "--preset", "redis"); r.exit != units.ExitUsage || !strings.Contains(r.stderr, `there is no preset "redis"; want one of hero_db`) {
		t.Errorf("an unknown preset exits with %d: %s", r.exit, r.stderr)
	}
	if r := run(t, m.address, how{}, "service", "set", "x", "--exec", "/bin/x", "--tasks-max", "many", "--dry-run"); r.exit != units.ExitUsage || !strings.Contains(r.stderr, "tasks_max") {
		t.Errorf("a dry run of nonsense exits with %d: %s", r.exit, r.stderr)
	}
}
