package plan

import (
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestBootTellsWhatStandsAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		services []string
		alone    bool // a is
	}{
		{"it stands alone", []string{"a"}, true},
		{"others need it", []string{"a", "b: requires a", "c: wants a", "d: after a"}, true},
		{"it requires another", []string{"a: requires b", "b"}, false},
		{"it wants another", []string{"a: wants b", "b"}, false},
		{"it comes after another", []string{"a: after b", "b"}, false},
		{"it comes after one that is not registered", []string{"a: after b"}, false},
		{"it conflicts with another", []string{"a: conflicts b", "b: status stop"}, false},
		{"another conflicts with it", []string{"a", "b: status stop; conflicts a"}, false},
		{"it is not to be started", []string{"a: status stop"}, false},
	} {
		steps := Boot(graph(t, c.services...), nil, func(units.ID) bool { return true })
		i := slices.IndexFunc(steps, func(s BootStep) bool { return s.Service.Name == "a" })
		if i < 0 || steps[i].Alone != c.alone {
			t.Errorf("%s: steps are %+v; want that a is alone: %v", c.name, steps, c.alone)
		}
	}
	two := service(t, "a")
	two.Actions = append(two.Actions, units.NewAction("other"))
	if steps := Boot(NewGraph([]units.Registered{{Service: two}}), nil, func(units.ID) bool { return true }); steps[0].Alone || !steps[0].Start {
		t.Errorf("of two actions: steps are %+v; want a start that is not alone", steps)
	}
}

func TestAtOnce(t *testing.T) {
	t.Parallel()
	none := []string{}
	made := []string{"hero-core-a.service"}
	for _, c := range []struct {
		name string
		step BootStep
		want bool
	}{
		{"what is alone and made", BootStep{Start: true, Alone: true, Make: made}, true},
		{"what needs another", BootStep{Start: true, Make: made}, false},
		{"what is there already", BootStep{Start: true, Alone: true, Make: none}, false},
		{"what is not started", BootStep{Make: made}, true},
	} {
		if got := AtOnce([]BootStep{c.step}); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		with := []BootStep{{Start: true, Alone: true, Make: made}, c.step}
		if got := AtOnce(with); got != c.want {
			t.Errorf("%s, with another one: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBoot(t *testing.T) {
	t.Parallel()
	digest := func(text string) string { return service(t, text).Digest() }
	loaded := func(active, digest string, job uint32) map[string]units.Unit {
		return map[string]units.Unit{"hero-core-a.service": {Name: "hero-core-a.service", Load: "loaded", Active: active, Digest: digest, JobID: job}}
	}
	for _, c := range []struct {
		name    string
		service string
		loaded  map[string]units.Unit
		resync  bool
		treat   Treatment // "" is no step at all
		start   bool
		reset   bool
	}{
		{name: "wanted and not there", service: "a", treat: Load, start: true},
		{name: "stop is loaded only", service: "a: status stop", treat: Load},
		{name: "ignore is loaded only", service: "a: status ignore", treat: Load},
		{name: "spec has no unit", service: "a: status spec"},
		{name: "running is left alone", service: "a", loaded: loaded("active", digest("a"), 0), treat: Adopt},
		{name: "running with an older definition is left alone", service: "a", loaded: loaded("active", "older", 0), treat: Adopt},
		{name: "starting is left alone", service: "a", loaded: loaded("activating", digest("a"), 0), treat: Adopt},
		{name: "stopping is not loaded anew under its feet", service: "a", loaded: loaded("deactivating", digest("a"), 4), treat: Adopt},
		{name: "running against the wish is left alone", service: "a: status stop", loaded: loaded("active", digest("a"), 0), treat: Adopt},
		{name: "loaded and down is kept and started", service: "a", loaded: loaded("inactive", digest("a"), 0), treat: Pin, start: true},
		{name: "loaded, down and not wanted is kept", service: "a: status stop", loaded: loaded("inactive", digest("a"), 0), treat: Pin},
		{name: "down with an older definition is loaded anew", service: "a", loaded: loaded("inactive", "older", 0), treat: Load, start: true},
		{name: "failed is kept, reset and started", service: "a", loaded: loaded("failed", digest("a"), 0), treat: Pin, start: true, reset: true},
		{name: "failed with an older definition is loaded anew", service: "a", loaded: loaded("failed", "older", 0), treat: Load, start: true},
		{name: "failed and not wanted stays failed", service: "a: status stop", loaded: loaded("failed", digest("a"), 0), treat: Pin},
		{name: "loaded, but of no use to systemd, is loaded anew", service: "a", loaded: map[string]units.Unit{
			"hero-core-a.service": {Name: "hero-core-a.service", Load: "bad-setting", Active: "inactive", Digest: digest("a")}}, treat: Load, start: true},
		{name: "after a loss of the bus, one of no use to systemd is left to systemd", service: "a", resync: true, loaded: map[string]units.Unit{
			"hero-core-a.service": {Name: "hero-core-a.service", Load: "bad-setting", Active: "inactive", Digest: digest("a")}}, treat: Pin},
		{name: "somebody's job is left to somebody", service: "a", loaded: loaded("inactive", digest("a"), 9), treat: Pin},
		{name: "a missing requirement: loaded, not started", service: "a: requires ghost", treat: Load},
		{name: "a cycle: loaded, not started", service: "a: requires b", treat: Load},
		{name: "after a loss of the bus nothing is started", service: "a", resync: true, treat: Load},
		{name: "after a loss of the bus what has failed stays failed", service: "a", loaded: loaded("failed", digest("a"), 0), resync: true, treat: Pin},
		{name: "after a loss of the bus what runs is pinned again", service: "a", loaded: loaded("active", digest("a"), 0), resync: true, treat: Adopt},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts := []string{c.service}
			if strings.Contains(c.service, "requires b") {
				texts = append(texts, "b: after a")
			}
			steps := Boot(graph(t, texts...), c.loaded, func(units.ID) bool { return !c.resync })
			if c.treat == "" {
				if len(steps) != 0 {
					t.Errorf("steps are %+v, want none", steps)
				}
				return
			}
			got := steps[0]
			if (len(got.Make) > 0) != (got.Treatment == Load) {
				t.Errorf("makes %v to %s", got.Make, got.Treatment)
			}
			if (len(got.Reset) > 0) != c.reset {
				t.Errorf("resets %v, want that it does: %v", got.Reset, c.reset)
			}
			if got.Service.Name != "a" || got.Treatment != c.treat || got.Start != c.start || got.Reason == "" {
				t.Errorf("step is %s, start %v because %q; want %s, start %v", got.Treatment, got.Start, got.Reason, c.treat, c.start)
			}
		})
	}
}

func TestBootStartsOneOfTwoThatConflict(t *testing.T) {
	t.Parallel()
	may := func(units.ID) bool { return true }
	for _, c := range []struct {
		name    string
		running string
		want    string // the services that are started
	}{
		{"the first in order", "", "a c"},
		{"none beside what runs", "b", "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graph(t, "a", "b: conflicts a", "c")
			loaded := map[string]units.Unit{}
			if c.running != "" {
				s, _ := g.Service(units.ID{Context: "core", Name: c.running})
				loaded[s.Unit()] = units.Unit{Name: s.Unit(), Load: "loaded", Active: "active", Digest: s.Digest()}
			}
			var started []string
			reported := 0
			for _, step := range Boot(g, loaded, may) {
				if step.Start {
					started = append(started, step.Service.Name)
				}
				if step.Problem != nil {
					reported++
					if step.Problem.Code != units.EventConflict || step.Problem.Remedy == "" {
						t.Errorf("problem of %s is %+v", step.Service.Name, step.Problem)
					}
				}
			}
			if got := strings.Join(started, " "); got != c.want || reported != 1 {
				t.Errorf("started %q with %d problems, want %q with one", got, reported, c.want)
			}
		})
	}
}

// A service of several actions is one whole: nothing of it is made anew while
// some of it lives, but what is missing is made.
func TestBootOfSeveralActions(t *testing.T) {
	t.Parallel()
	two := service(t, "a")
	side := units.NewAction("side")
	side.Exec = []string{"/bin/true"}
	two.Actions = append(two.Actions[:1:1], side)
	g := NewGraph([]units.Registered{{Service: two}})
	const primary, further = "hero-core-a.service", "hero-core-a@side.service"
	for _, c := range []struct {
		name             string
		primary, further string // ActiveState; "" is not loaded
		digest           string
		treat            Treatment
		make             []string
	}{
		{"nothing there", "", "", two.Digest(), Load, []string{primary, further}},
		{"both down", "inactive", "inactive", two.Digest(), Pin, nil},
		{"one gone, one down", "", "inactive", two.Digest(), Load, []string{primary, further}},
		{"one up, one gone", "active", "", two.Digest(), Adopt, []string{further}},
		{"one up, one failed", "active", "failed", two.Digest(), Adopt, nil},
		{"one up with an older definition, one gone", "active", "", "older", Adopt, nil},
		{"only the further one up", "inactive", "active", two.Digest(), Adopt, nil},
		{"one failed", "failed", "inactive", two.Digest(), Pin, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			loaded := map[string]units.Unit{}
			for name, active := range map[string]string{primary: c.primary, further: c.further} {
				if active != "" {
					loaded[name] = units.Unit{Name: name, Load: "loaded", Active: active, Digest: c.digest}
				}
			}
			got := Boot(g, loaded, func(units.ID) bool { return true })[0]
			if got.Treatment != c.treat || !slices.Equal(got.Make, c.make) {
				t.Errorf("%s, making %v because %q; want %s, making %v", got.Treatment, got.Make, got.Reason, c.treat, c.make)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	one := service(t, "a: requires b")
	two := one
	side := units.NewAction("side")
	side.Exec = []string{"/bin/true"}
	two.Actions = append(two.Actions[:1:1], side)
	wantedStop := one
	wantedStop.Wanted = units.WantedStop
	spec := one
	spec.Wanted = units.WantedSpec
	unit := func(active, sub string) units.Unit {
		return units.Unit{Name: "hero-core-a.service", Load: "loaded", Active: active, Sub: sub, Result: "success"}
	}
	exitCode := func(u units.Unit) units.Unit {
		u.Result, u.ExitCode, u.ExitStatus = "exit-code", 1, 7
		return u
	}
	failedDep := []units.Unit{{Name: "hero-core-b.service", Load: "loaded", Active: "failed", Result: "signal", ExitCode: 2, ExitStatus: 9}}
	cycle := &Problem{Code: units.EventDependencyCycle, Message: "it is in a cycle", Remedy: "untie it"}
	for _, c := range []struct {
		name    string
		service units.Service
		actions []units.Unit
		down    []units.Unit
		problem *Problem
		want    units.State
		reason  string // "" is none
	}{
		{"up", one, []units.Unit{unit("active", "running")}, nil, nil, units.StateRunning, ""},
		{"reloading is up", one, []units.Unit{unit("reloading", "reload")}, nil, nil, units.StateRunning, ""},
		{"up although its requirement failed since", one, []units.Unit{unit("active", "running")}, failedDep, nil, units.StateRunning, ""},
		{"up although its definition is in a cycle by now", one, []units.Unit{unit("active", "running")}, nil, cycle, units.StateRunning, ""},
		{"a finished one-shot", one, []units.Unit{unit("active", "exited")}, nil, nil, units.StateExited, ""},
		{"starting", one, []units.Unit{unit("activating", "start")}, nil, nil, units.StateActivating, "not ready yet (start)"},
		{"between restarts", one, []units.Unit{exitCode(unit("activating", "auto-restart"))}, nil, nil, units.StateActivating, "exit-code (exited with status 7)"},
		{"stopping", one, []units.Unit{unit("deactivating", "stop-sigterm")}, nil, nil, units.StateInactive, "is stopping (stop-sigterm)"},
		{"failed", one, []units.Unit{exitCode(unit("failed", "failed"))}, nil, nil, units.StateFailed, "exit-code (exited with status 7)"},
		{"failed, and in a cycle", one, []units.Unit{exitCode(unit("failed", "failed"))}, nil, cycle, units.StateBlocked, "it is in a cycle"},
		{"down", one, []units.Unit{unit("inactive", "dead")}, nil, nil, units.StateInactive, ""},
		{"down because its requirement failed", one, []units.Unit{unit("inactive", "dead")}, failedDep, nil, units.StateBlocked, "hero-core-b.service, which is failed: signal (killed by signal 9"},
		{"down, not wanted, its requirement failed", wantedStop, []units.Unit{unit("inactive", "dead")}, failedDep, nil, units.StateInactive, ""},
		{"in a cycle", one, []units.Unit{unit("inactive", "dead")}, nil, cycle, units.StateBlocked, "it is in a cycle"},
		{"of no use to systemd", one, []units.Unit{{Name: "hero-core-a.service", Load: "bad-setting", Active: "inactive"}}, nil, nil, units.StateBlocked, "hero-core-a.service, whose load state is bad-setting"},
		{"not loaded", one, []units.Unit{{Name: "hero-core-a.service", Load: "not-found", Active: "inactive"}}, nil, nil, units.StateInactive, "systemd has not loaded"},
		{"a definition only", spec, []units.Unit{{Name: "hero-core-a.service", Load: "not-found", Active: "inactive"}}, nil, nil, units.StateInactive, "definition only"},
		{"a definition only, whose unit still runs", spec, []units.Unit{unit("active", "running")}, nil, nil, units.StateRunning, ""},
		{"both actions up", two, []units.Unit{unit("active", "running"), unit("active", "running")}, nil, nil, units.StateRunning, ""},
		{"a further action failed", two, []units.Unit{unit("active", "running"), exitCode(unit("failed", "failed"))}, nil, nil, units.StateDegraded, `action "side" is failed: exit-code`},
		{"a further action down", two, []units.Unit{unit("active", "running"), unit("inactive", "dead")}, nil, nil, units.StateDegraded, `action "side" is inactive`},
		{"a further action not loaded", two, []units.Unit{unit("active", "running"), {Load: "not-found", Active: "inactive"}}, nil, nil, units.StateDegraded, `action "side" is not loaded`},
		{"a further action starting", two, []units.Unit{unit("active", "running"), unit("activating", "start")}, nil, nil, units.StateDegraded, `action "side" is not ready yet`},
		{"only a further action up", two, []units.Unit{unit("inactive", "dead"), unit("active", "running")}, nil, nil, units.StateInactive, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Read(c.service, c.actions, c.down, c.problem, nil)
			if got.State != c.want || !strings.Contains(got.Reason, c.reason) || (c.reason == "") != (got.Reason == "") {
				t.Errorf("reads as %s because %q, want %s because %q", got.State, got.Reason, c.want, c.reason)
			}
		})
	}
}

// What a prober says makes a reason out of a state; what a program says while
// it is well doesn't.
func TestReadWithWhatIsSaid(t *testing.T) {
	t.Parallel()
	one := service(t, "a: requires b")
	two := one
	side := units.NewAction("side")
	side.Exec = []string{"/bin/true"}
	two.Actions = append(two.Actions[:1:1], side)
	unit := func(name, active, sub, result string) units.Unit {
		return units.Unit{Name: name, Load: "loaded", Active: active, Sub: sub, Result: result, ExitCode: 2, ExitStatus: 15}
	}
	const a, b, s = "hero-core-a.service", "hero-core-b.service", "hero-core-a@side.service"
	const killed = "exit-code (killed by signal 15, terminated)"
	for _, c := range []struct {
		name    string
		service units.Service
		actions []units.Unit
		down    []units.Unit
		said    Said
		reason  string
	}{
		{"a probe waits", one, []units.Unit{unit(a, "activating", "start-post", "success")}, nil, Said{a: "waiting for redis://db: LOADING"},
			"not ready yet (start-post), waiting for redis://db: LOADING"},
		{"nothing is said", one, []units.Unit{unit(a, "activating", "start-post", "success")}, nil, Said{a: "", b: "x"}, "not ready yet (start-post)"},
		{"a probe gave up", one, []units.Unit{unit(a, "failed", "failed", "exit-code")}, nil, Said{a: "not ready: redis://db after 30s"},
			"systemd's result is " + killed + ", not ready: redis://db after 30s"},
		{"a probe gave up, and will be back", one, []units.Unit{unit(a, "activating", "auto-restart", "exit-code")}, nil, Said{a: "not ready: x"},
			"waits to be restarted; its last result is " + killed + ", not ready: x"},
		{"what was well has failed", one, []units.Unit{unit(a, "failed", "failed", "exit-code")}, nil, Said{a: "serving"}, "systemd's result is " + killed},
		{"what it requires isn't ready", one, []units.Unit{unit(a, "inactive", "dead", "success")}, []units.Unit{unit(b, "failed", "failed", "exit-code")}, Said{b: "not ready: y"},
			"it requires " + b + ", which is failed: " + killed + ", not ready: y"},
		{"a further action waits", two, []units.Unit{unit(a, "active", "running", "success"), unit(s, "activating", "start-post", "success")}, nil, Said{s: "waiting for it"},
			`action "side" is not ready yet, waiting for it`},
		{"a further action's probe gave up", two, []units.Unit{unit(a, "active", "running", "success"), unit(s, "failed", "failed", "exit-code")}, nil, Said{s: "not ready: z"},
			`action "side" is failed: ` + killed + ", not ready: z"},
	} {
		if got := Read(c.service, c.actions, c.down, nil, c.said).Reason; got != c.reason {
			t.Errorf("%s: the reason is %q, want %q", c.name, got, c.reason)
		}
	}
}

func TestMayExplain(t *testing.T) {
	t.Parallel()
	for active, want := range map[string]bool{"activating": true, "failed": true, "active": false, "inactive": false, "deactivating": false, "reloading": false} {
		if got := MayExplain(units.Unit{Active: active}); got != want {
			t.Errorf("%s: %t", active, got)
		}
	}
}
