package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var whyNow = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// whyCase is a machine as an explanation sees it.
type whyCase struct {
	name     string
	services []units.Service
	// states has what differs from a service that runs.
	states map[string]units.Status
	jobs   map[string]units.Job
	events []units.LogEntry
	of     string // "a" unless given
	want   []string
	remedy string
	told   []string // the codes of the events
}

func svc(name string, change ...func(*units.Service)) units.Service {
	a := units.NewAction("main")
	a.Exec = []string{"/bin/" + name}
	s := units.Service{ID: units.ID{Context: "core", Name: name}, Wanted: units.WantedStart, Actions: []units.Action{a}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func requires(names ...string) func(*units.Service) {
	return func(s *units.Service) { s.Requires = names }
}

func wanted(w units.Wanted) func(*units.Service) { return func(s *units.Service) { s.Wanted = w } }

func is(state units.State, active, sub, reason string, change ...func(*units.Status)) units.Status {
	st := units.Status{State: state, Reason: reason, Unit: units.Unit{Load: "loaded", Active: active, Sub: sub}}
	for _, c := range change {
		c(&st)
	}
	return st
}

func with(change func(*units.Unit)) func(*units.Status) {
	return func(st *units.Status) { change(&st.Unit) }
}

var (
	inactive = is(units.StateInactive, "inactive", "dead", "")
	unwell   = is(units.StateFailed, "failed", "failed", "systemd's result is exit-code (exited with status 3)",
		func(st *units.Status) { st.Remedy = "journalctl" }, with(func(u *units.Unit) { u.Result, u.InvocationID = "exit-code", "f" }))
	blocked  = is(units.StateBlocked, "inactive", "dead", "it is blocked")
	starting = is(units.StateActivating, "activating", "start-post", "not ready yet (start-post), waiting for tcp:a:1",
		with(func(u *units.Unit) { u.JobID, u.InvocationID = 7, "s" }))
	waiting = is(units.StateActivating, "inactive", "dead", startQueued, with(func(u *units.Unit) { u.JobID = 8 }))
)

func whyJob(phase units.Phase, invocation, result string) units.Job {
	j := units.Job{ID: 1, Attempt: 1, Phase: phase, InvocationID: invocation, Result: result, Created: whyNow.Add(-time.Minute)}
	if phase.Terminal() {
		j.Ended = whyNow
	}
	return j
}

func ready(r units.Ready) func(*units.Service) {
	return func(s *units.Service) { s.Actions[0].Ready = r }
}

const startA = "hero_proc service start core/a"

var whyCases = []whyCase{
	{
		name: "not registered",
		want: []string{"0  a: is not registered | "}, remedy: "hero_proc service set core/a --exec 'COMMAND'",
	},
	{
		name: "not registered, and required", services: []units.Service{svc("b", requires("a"))},
		want: []string{"0  a: is not registered | it is required by core/b"}, remedy: "hero_proc service set core/a --exec 'COMMAND'",
	},
	{
		name: "registered in another context only", services: []units.Service{svc("a", func(s *units.Service) { s.Context = "lab" })},
		want: []string{"0  a: is not registered | there is a service lab/a"}, remedy: "hero_proc service set core/a --exec 'COMMAND'",
	},
	{
		name: "running without a probe", services: []units.Service{svc("a")},
		want: []string{"0  a: runs, and nothing is wrong | it counts as ready once it is executed: it has no readiness probe"},
	},
	{
		name: "running, and says so", services: []units.Service{svc("a", ready(units.ReadyNotify))},
		states: map[string]units.Status{"a": is(units.StateRunning, "active", "running", "", with(func(u *units.Unit) { u.InvocationID, u.Restarts = "i", 2 }))},
		jobs: map[string]units.Job{"a": func() units.Job {
			j := whyJob(units.PhaseRunning, "i", "")
			j.Started = j.Created.Add(2345 * time.Millisecond)
			return j
		}()},
		want: []string{"0  a: runs, and nothing is wrong | it said itself that it is ready (sd_notify), 2.35s after it was asked for; systemd has restarted it 2 times"},
	},
	{
		name: "running with a probe and an old definition", services: []units.Service{svc("a", ready("tcp:h:1"))},
		states: map[string]units.Status{"a": is(units.StateRunning, "active", "running", "healthy", func(st *units.Status) { st.Stale = true })},
		want:   []string{"0  a: runs, and nothing is wrong | it is ready: its probe tcp:h:1 was answered; it runs with its old definition until it is restarted; healthy"},
		remedy: "hero_proc service restart core/a",
	},
	{
		name: "what runs is not to blame for what it requires", services: []units.Service{svc("a", requires("b")), svc("b")},
		states: map[string]units.Status{"b": unwell},
		want:   []string{"0  a: runs, and nothing is wrong | it counts as ready once it is executed: it has no readiness probe"},
	},
	{
		name: "a one-shot that is done", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateExited, "active", "exited", "")},
		want:   []string{"0  a: has run to its end with success, and nothing is wrong | it is a one-shot, which counts as up once it is done"},
	},
	{
		name: "degraded by an action", services: []units.Service{svc("a", func(s *units.Service) {
			side := units.NewAction("side")
			side.Exec = []string{"/bin/side"}
			s.Actions = append(s.Actions, side)
		})},
		states: map[string]units.Status{"a": is(units.StateDegraded, "active", "running", `action "side" is failed`, func(st *units.Status) {
			st.Actions = []units.ActionStatus{{Name: "main", Unit: st.Unit}, {Name: "side", Unit: units.Unit{
				Name: "u@side", Load: "loaded", Active: "failed", Result: "oom-kill", ExitCode: 2, ExitStatus: 9, InvocationID: "x"}}}
		})},
		want: []string{
			`0  a: is up, but not well | action "side" is failed`,
			"1 action a side: has failed | systemd's result is oom-kill (killed by signal 9, killed): the kernel has ended it for want of memory | root | x",
		},
		remedy: "journalctl -u u@side\nhero_proc service restart core/a",
	},
	{
		name: "degraded by what somebody else says of it", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateDegraded, "active", "running", "its probe fails", func(st *units.Status) { st.Remedy = "mend" })},
		want:   []string{"0  a: is up, but not well | its probe fails"}, remedy: "mend",
	},
	{
		name: "starting", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": starting},
		want: []string{"0  a: is starting | not ready yet (start-post), waiting for tcp:a:1 | root | s"},
	},
	{
		name: "waits to be restarted", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateActivating, "activating", "auto-restart", "its last result is x", with(func(u *units.Unit) { u.InvocationID = "i" }))},
		want:   []string{"0  a: has ended, and systemd is about to start it again | its last result is x | root | i"},
	},
	{
		name: "waits in systemd's queue", services: []units.Service{svc("a", requires("b"), func(s *units.Service) { s.After, s.Wants = []string{"c"}, []string{"d"} }), svc("b"), svc("c"), svc("d")},
		states: map[string]units.Status{"a": waiting, "b": starting, "c": waiting, "d": inactive},
		want: []string{
			"0  a: is to be started, and waits | its start is queued",
			"1 requires b: is starting | not ready yet (start-post), waiting for tcp:a:1 | root | s",
			"1 after c: is to be started, and waits | its start is queued, behind units that are not hero_proc's | root",
		},
		remedy: "systemctl list-jobs --after",
	},
	{
		name: "waits for an action of its own", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateActivating, "inactive", "dead", `waits for action "x"`, with(func(u *units.Unit) { u.JobID, u.InvocationID = 8, "before" }))},
		want:   []string{`0  a: is to be started, and waits | waits for action "x"`},
	},
	{
		name: "failed", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": unwell},
		want:   []string{"0  a: has failed | systemd's result is exit-code (exited with status 3) | root | f"},
		remedy: "journalctl\n" + startA,
	},
	{
		name: "failed after restarts", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateFailed, "failed", "failed", "systemd's result is start-limit-hit", with(func(u *units.Unit) { u.Result, u.Restarts = "start-limit-hit", 1 }))},
		want:   []string{"0  a: has failed | systemd's result is start-limit-hit: it was started too often in too short a time; systemd had restarted it once"},
		remedy: startA,
	},
	{
		name: "its generated secret is gone", services: []units.Service{svc("a", func(s *units.Service) {
			s.Actions[0].Credentials = map[string]string{"k": units.GeneratedCredential}
		})},
		states: map[string]units.Status{"a": is(units.StateFailed, "failed", "failed", "no", with(func(u *units.Unit) { u.InvocationID, u.ExitCode, u.ExitStatus = "i", 1, 243 }))},
		want:   []string{"0  a: has failed | no; a set makes the secrets anew that hero_proc has generated and that are gone | root | i"},
		remedy: "hero_proc service set core/a\n" + startA,
	},
	{
		name: "a chain, one link of which was never started", services: []units.Service{svc("a", requires("b")), svc("b", requires("c")), svc("c")},
		states: map[string]units.Status{"a": inactive, "b": blocked, "c": unwell}, jobs: map[string]units.Job{"a": whyJob(units.PhaseFailed, "", "dependency")},
		want: []string{
			"0  a: is not started: what it requires is not up | ",
			"1 requires b: can't be started: what it requires is not up | it is blocked",
			"2 requires c: has failed | systemd's result is exit-code (exited with status 3) | root | f",
		},
		remedy: "journalctl\nhero_proc service start core/c\n" + startA,
	},
	{
		name: "two causes, one of them twice", services: []units.Service{svc("a", requires("b", "c")), svc("b", requires("c")), svc("c")},
		states: map[string]units.Status{"a": inactive, "b": inactive, "c": inactive},
		want: []string{
			"0  a: is not started: what it requires is not up | ",
			"1 requires b: is not started: what it requires is not up | ",
			"2 requires c: was never started, as far as the history goes back | it is started when somebody asks for it, and at the next boot or start of hero_proc | root",
		},
		remedy: "hero_proc service start core/c\n" + startA,
	},
	{
		name: "a dependency that is missing", services: []units.Service{svc("a", requires("lab/gone"))}, states: map[string]units.Status{"a": blocked},
		want:   []string{"0  a: can't be started: what it requires is not up | it is blocked", "1 requires lab/gone: is not registered | it is required by core/a | root"},
		remedy: "hero_proc service set lab/gone --exec 'COMMAND'\n" + startA,
	},
	{
		name: "a cycle", services: []units.Service{svc("a", requires("b")), svc("b", requires("a"))}, states: map[string]units.Status{"a": blocked, "b": blocked},
		want:   []string{"0  a: can't be started: it is in a dependency cycle | it is blocked"},
		remedy: "",
	},
	{
		name: "behind a cycle", services: []units.Service{svc("a", requires("b")), svc("b", requires("c")), svc("c", requires("b"))},
		states: map[string]units.Status{"a": blocked, "b": blocked, "c": blocked},
		want:   []string{"0  a: can't be started: what it requires is not up | it is blocked", "1 requires b: can't be started: it is in a dependency cycle | it is blocked | root"},
		remedy: startA,
	},
	{
		name: "masked, whatever it requires", services: []units.Service{svc("a", requires("b")), svc("b")},
		states: map[string]units.Status{"a": is(units.StateBlocked, "inactive", "dead", "masked", with(func(u *units.Unit) { u.Load = "masked" })), "b": inactive},
		want:   []string{"0  a: can't be started | masked"},
	},
	{
		name: "stopping", services: []units.Service{svc("a", requires("b")), svc("b")},
		states: map[string]units.Status{"a": is(units.StateInactive, "deactivating", "stop-sigterm", "is stopping (stop-sigterm)"), "b": inactive},
		want:   []string{"0  a: is stopping | is stopping (stop-sigterm)"},
	},
	{
		name: "a definition only", services: []units.Service{svc("a", wanted(units.WantedSpec), requires("b"))}, states: map[string]units.Status{"a": inactive},
		want: []string{"0  a: is a definition only | its wanted status is spec, so it has no unit"}, remedy: "hero_proc service enable --now core/a",
	},
	{
		name: "never started, nor wanted", services: []units.Service{svc("a", wanted(units.WantedStop), requires("b")), svc("b")}, states: map[string]units.Status{"a": inactive, "b": inactive},
		want: []string{"0  a: was never started, as far as the history goes back | it is not started at boot (wanted status stop)"}, remedy: startA,
	},
	{
		name: "left alone", services: []units.Service{svc("a", wanted(units.WantedIgnore))}, states: map[string]units.Status{"a": inactive},
		want: []string{"0  a: was never started, as far as the history goes back | hero_proc leaves it alone (wanted status ignore)"}, remedy: startA,
	},
	{
		name: "systemd has no such unit", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateInactive, "inactive", "dead", "systemd has not loaded u", func(st *units.Status) { st.Remedy = "reload" })},
		want:   []string{"0  a: is not running | systemd has not loaded u"}, remedy: "reload",
	},
	{
		name: "stopped by somebody", services: []units.Service{svc("a", requires("b")), svc("b")}, states: map[string]units.Status{"a": inactive},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseCanceled, "i", "success")},
		want:   []string{"0  a: was stopped | somebody asked for it, by hero_proc or by systemctl; it is started when somebody asks for it, and at the next boot or start of hero_proc"},
		remedy: startA,
	},
	{
		name: "stopped, and what it requires fell later", services: []units.Service{svc("a", requires("b")), svc("b")}, states: map[string]units.Status{"a": inactive, "b": unwell},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseCanceled, "i", "success"), "b": whyJob(units.PhaseFailed, "f", "exit-code")},
		want:   []string{"0  a: was stopped | somebody asked for it, by hero_proc or by systemctl; it is started when somebody asks for it, and at the next boot or start of hero_proc"},
		remedy: startA,
	},
	{
		name: "stopped together", services: []units.Service{svc("a", requires("b")), svc("b", wanted(units.WantedStop))}, states: map[string]units.Status{"a": inactive, "b": inactive},
		jobs: map[string]units.Job{"a": whyJob(units.PhaseCanceled, "i", "success"), "b": whyJob(units.PhaseCanceled, "j", "success")},
		want: []string{
			"0  a: was stopped together with what it requires | ",
			"1 requires b: was stopped | somebody asked for it, by hero_proc or by systemctl; it is not started at boot (wanted status stop) | root",
		},
		remedy: "hero_proc service start core/b\n" + startA,
	},
	{
		name: "its start was called off", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": inactive},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseCanceled, "", "canceled")},
		want:   []string{"0  a: was not started | its start was called off; it is started when somebody asks for it, and at the next boot or start of hero_proc"},
		remedy: startA,
	},
	{
		name: "ended by itself", services: []units.Service{svc("a", requires("b")), svc("b")}, states: map[string]units.Status{"a": inactive, "b": unwell},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseSucceeded, "i", "success")},
		want:   []string{"0  a: has ended by itself, with success | its restart policy is on-failure, which leaves it so; it is started when somebody asks for it, and at the next boot or start of hero_proc | root | i"},
		remedy: startA,
	},
	{
		name: "a failure that was reset", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": inactive},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseFailed, "i", "timeout")},
		want:   []string{"0  a: has failed, and was reset since | systemd's result is timeout: it took longer to start or to stop than it may; it is started when somebody asks for it, and at the next boot or start of hero_proc | root | i"},
		remedy: startA,
	},
	{
		name: "a dependency that came back", services: []units.Service{svc("a", requires("b")), svc("b")}, states: map[string]units.Status{"a": inactive},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseFailed, "", "dependency")},
		want:   []string{"0  a: was not started | its last start failed because something that it requires did; that is up by now; it is started when somebody asks for it, and at the next boot or start of hero_proc"},
		remedy: startA,
	},
	{
		name: "nobody saw it end", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": inactive},
		jobs:   map[string]units.Job{"a": whyJob(units.PhaseLost, "i", "")},
		want:   []string{"0  a: is not running | how it ended is not known: nobody was there to see it; it is started when somebody asks for it, and at the next boot or start of hero_proc | root | i"},
		remedy: startA,
	},
	{
		name: "ended this moment", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": inactive}, jobs: map[string]units.Job{"a": whyJob(units.PhaseRunning, "i", "")},
		want:   []string{"0  a: is not running | it has ended just now; it is started when somebody asks for it, and at the next boot or start of hero_proc"},
		remedy: startA,
	},
	{
		name: "a rival runs", services: []units.Service{svc("a"), svc("b", func(s *units.Service) { s.Conflicts = []string{"a"} })}, states: map[string]units.Status{"a": inactive},
		want: []string{
			"0  a: is not started: what it conflicts with is up | ",
			"1 conflicts b: runs, and nothing is wrong | it counts as ready once it is executed: it has no readiness probe | root",
		},
		remedy: "hero_proc service disable core/b\nhero_proc service disable core/a",
	},
	{
		name: "a rival runs, and something is missing", services: []units.Service{svc("a", requires("c"), func(s *units.Service) { s.Conflicts = []string{"b"} }), svc("b"), svc("c")},
		states: map[string]units.Status{"a": inactive, "c": unwell},
		want: []string{
			"0  a: is not started: what it requires is not up | ",
			"1 requires c: has failed | systemd's result is exit-code (exited with status 3) | root | f",
		},
		remedy: "journalctl\nhero_proc service start core/c\n" + startA,
	},
	{
		name: "a rival runs, and it is not wanted", services: []units.Service{svc("a", wanted(units.WantedStop), func(s *units.Service) { s.Conflicts = []string{"b"} }), svc("b")},
		states: map[string]units.Status{"a": inactive},
		want:   []string{"0  a: was never started, as far as the history goes back | it is not started at boot (wanted status stop)"}, remedy: startA,
	},
	{
		name: "systemd can't be asked", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": is(units.StateUnknown, "inactive", "dead", "systemd could not be asked")},
		want: []string{"0  a: is in a state that is not known | systemd could not be asked"}, remedy: "journalctl -b -u hero_proc",
	},
	{
		name: "events to the point", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": unwell}, jobs: map[string]units.Job{"a": whyJob(units.PhaseFailed, "f", "exit-code")},
		events: []units.LogEntry{
			event(1, "a", units.EventStartTimeout, -time.Hour), event(2, "a", units.EventConflict, -65*time.Second), event(3, "a", units.EventStartFailed, -time.Second),
			event(4, "z", units.EventStartFailed, 0), event(5, "a", units.EventStartFailed, 0),
		},
		want: []string{"0  a: has failed | systemd's result is exit-code (exited with status 3) | root | f"}, remedy: "journalctl\n" + startA,
		told: []string{"2 conflict", "5 start-failed"},
	},
	{
		name: "events of a run that systemd has restarted", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": unwell},
		jobs: map[string]units.Job{"a": func() units.Job {
			j := whyJob(units.PhaseFailed, "f", "exit-code")
			j.Attempt = 3
			return j
		}()},
		events: []units.LogEntry{event(1, "a", units.EventStartTimeout, -time.Hour)},
		want:   []string{"0  a: has failed | systemd's result is exit-code (exited with status 3) | root | f"}, remedy: "journalctl\n" + startA,
		told: []string{"1 start-timeout"},
	},
}

func event(id int64, service string, code units.EventCode, at time.Duration) units.LogEntry {
	return units.LogEntry{ID: id, Event: units.Event{Time: whyNow.Add(at), Code: code, Service: units.ID{Context: "core", Name: service}}}
}

// explain reads what the supervisor would, which is no more than it has to.
func (c whyCase) explain() units.Explanation {
	rows := make([]units.Registered, len(c.services))
	for i, s := range c.services {
		rows[i].Service = s
	}
	g := NewGraph(rows)
	in := WhyInput{ID: units.ID{Context: "core", Name: "a"}, Graph: g, Events: c.events,
		Statuses: map[units.ID]units.Status{}, Problems: map[units.ID]Problem{}, Jobs: map[string]units.Job{}}
	queue := []units.ID{in.ID}
	for i := 0; i < len(queue); i++ {
		id := queue[i]
		s, ok := g.Service(id)
		if !ok {
			continue
		}
		st, given := c.states[id.Name]
		if !given {
			st = is(units.StateRunning, "active", "running", "")
		}
		st.ID, st.Wanted, st.Unit.Name = id, s.Wanted, id.Unit()
		in.Statuses[id] = st
		if p, broken := g.Problem(id); broken {
			in.Problems[id] = p
		}
		in.Jobs[id.Unit()] = c.jobs[id.Name]
		for _, suspect := range Suspects(g, st) {
			if !slices.Contains(queue, suspect.ID) {
				queue = append(queue, suspect.ID)
			}
		}
	}
	return Explain(in)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	said := map[units.State]bool{}
	for _, c := range whyCases {
		t.Run(c.name, func(t *testing.T) {
			e := c.explain()
			var got []string
			for _, l := range e.Links {
				text := fmt.Sprintf("%d %s %s", l.Depth, l.Relation, strings.TrimPrefix(l.ID.String(), "core/"))
				if l.Action != "" {
					text += " " + l.Action
				}
				text += ": " + l.What + " | " + l.Why
				if l.Root && (l.InvocationID != "" || l.Depth > 0) {
					text += " | root"
				}
				if l.InvocationID != "" {
					text += " | " + l.InvocationID
				}
				got = append(got, text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the chain is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if e.Remedy != c.remedy {
				t.Errorf("the remedy is %q, want %q", e.Remedy, c.remedy)
			}
			var told []string
			for _, ev := range e.Events {
				told = append(told, fmt.Sprintf("%d %s", ev.ID, ev.Code))
			}
			if !slices.Equal(told, c.told) {
				t.Errorf("the events are %q, want %q", told, c.told)
			}
			roots := 0
			for _, l := range e.Links {
				if l.Root {
					roots++
				}
			}
			if roots == 0 || e.State != e.Links[0].State {
				t.Errorf("%d roots, state %q", roots, e.State)
			}
		})
		for _, st := range c.states {
			said[st.State] = true
		}
	}
	said[units.StateRunning] = true
	for _, s := range units.States {
		if !said[s] {
			t.Errorf("no case has a service that is %s; there are %v", s, slices.Sorted(maps.Keys(said)))
		}
	}
}

// A chain as long as the store is cut, and says by how much.
func TestExplainIsBounded(t *testing.T) {
	t.Parallel()
	c := whyCase{states: map[string]units.Status{}}
	name := func(i int) string {
		if i == 0 {
			return "a"
		}
		return fmt.Sprintf("n%d", i)
	}
	for i := range 3 * MaxLinks {
		c.services = append(c.services, svc(name(i), requires(name(i+1))))
		c.states[name(i)] = inactive
	}
	c.services = append(c.services, svc(name(3*MaxLinks)))
	c.states[name(3*MaxLinks)] = inactive
	if e := c.explain(); len(e.Links) != MaxLinks || e.More != 1 {
		t.Errorf("%d links and %d more; want %d and 1", len(e.Links), e.More, MaxLinks)
	}
}
