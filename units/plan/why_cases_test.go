package plan

import (
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

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
		name: "running without a probe, and started", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateRunning, "active", "running", "", with(func(u *units.Unit) { u.InvocationID = "i" }))},
		jobs: map[string]units.Job{"a": func() units.Job {
			j := whyJob(units.PhaseRunning, "i", "")
			j.Started = j.Created.Add(time.Millisecond)
			return j
		}()},
		want: []string{"0  a: runs, and nothing is wrong | it counts as ready once it is executed: it has no readiness probe; 1ms after it was asked for"},
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
		name: "runs, and what it requires has failed", services: []units.Service{svc("a", requires("b")), svc("b")},
		states: map[string]units.Status{"b": unwell},
		want: []string{
			"0  a: runs, but what it requires is not well | it counts as ready once it is executed: it has no readiness probe",
			"1 requires b: has failed | systemd's result is exit-code (exited with status 3) | root | f",
		},
		remedy: "journalctl\nhero_proc service start core/b",
	},
	{
		name: "runs, and what is behind what it requires is unhealthy", services: []units.Service{svc("a", requires("d", "b")), svc("b", requires("c")), svc("c"), svc("d")},
		states: map[string]units.Status{"c": hangs},
		want: []string{
			"0  a: runs, but what it requires is not well | it counts as ready once it is executed: it has no readiness probe",
			"1 requires b: runs, but what it requires is not well | it counts as ready once it is executed: it has no readiness probe",
			"2 requires c: is up, but not well | its probe fails | root | h",
		},
		remedy: "mend",
	},
	{
		name: "runs, and what it requires is unhealthy", services: []units.Service{svc("a", requires("b", "c", "d"), func(s *units.Service) { s.After, s.Conflicts = []string{"e"}, []string{"e"} }), svc("b"), svc("c"), svc("d"), svc("e")},
		states: map[string]units.Status{"b": hangs, "d": is(units.StateExited, "active", "exited", ""), "e": unwell},
		want: []string{
			"0  a: runs, but what it requires is not well | it counts as ready once it is executed: it has no readiness probe",
			"1 requires b: is up, but not well | its probe fails | root | h",
		},
		remedy: "mend",
	},
	{
		name: "runs, and what it requires was removed, or can't be asked for", services: []units.Service{svc("a", requires("b", "c")), svc("c")},
		states: map[string]units.Status{"c": is(units.StateUnknown, "inactive", "dead", "systemd could not be asked")},
		want: []string{
			"0  a: runs, but what it requires is not well | it counts as ready once it is executed: it has no readiness probe",
			"1 requires b: is not registered | it is required by core/a | root",
		},
		remedy: "hero_proc service set core/b --exec 'COMMAND'",
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
		name: "given up by systemd, and started again later", services: []units.Service{svc("a")}, states: map[string]units.Status{"a": spent},
		want: []string{"0  a: has failed | systemd's result is protocol: it did not do what its type asks for, such as saying that it is ready; " +
			"systemd had restarted it 3 times; hero_proc starts it again at noon"},
		remedy: startA,
	},
	{
		name: "its port is taken", services: []units.Service{svc("a")},
		states: map[string]units.Status{"a": is(units.StateFailed, "failed", "failed", "systemd's result is exit-code, not started: port 1 is held by x",
			func(st *units.Status) { st.Remedy = "journalctl" })},
		events: []units.LogEntry{
			refusal(1, units.EventPortTaken, "port 1 is held by x", "stop x"), refusal(2, units.EventPortTaken, "port 1 is held by y", "stop y"),
			refusal(3, units.EventSocketTaken, "socket z", "stop z"), refusal(4, units.EventStartFailed, "port 1 is held by x", "other"),
		},
		want:   []string{"0  a: has failed | systemd's result is exit-code, not started: port 1 is held by x"},
		remedy: "stop x\n" + startA, told: []string{"2 port-taken", "3 socket-taken", "4 start-failed"},
	},
	{
		name: "started as soon as what it requires is up", services: []units.Service{svc("a", requires("b")), svc("b")},
		states: map[string]units.Status{"b": unwell, "a": is(units.StateBlocked, "inactive", "dead", "it is blocked; hero_proc starts it once that is up",
			func(st *units.Status) { st.Intends = "hero_proc starts it once that is up" })},
		want: []string{
			"0  a: can't be started: what it requires is not up; hero_proc starts it once that is up | it is blocked; hero_proc starts it once that is up",
			"1 requires b: has failed | systemd's result is exit-code (exited with status 3) | root | f",
		},
		remedy: "journalctl\nhero_proc service start core/b",
	},
	{
		name: "started as soon as what it requires is, which is then started itself", services: []units.Service{svc("a", requires("b")), svc("b", requires("c")), svc("c")},
		states: map[string]units.Status{
			"a": is(units.StateInactive, "inactive", "dead", "", func(st *units.Status) { st.Intends = "hero_proc starts it once that is up" }), "b": blocked, "c": unwell,
		},
		jobs: map[string]units.Job{"a": whyJob(units.PhaseFailed, "", "dependency")},
		want: []string{
			"0  a: is not started: what it requires is not up; hero_proc starts it once that is up | ",
			"1 requires b: can't be started: what it requires is not up | it is blocked",
			"2 requires c: has failed | systemd's result is exit-code (exited with status 3) | root | f",
		},
		remedy: "journalctl\nhero_proc service start core/c",
	},
	{
		name: "left down when what it requires is up", services: []units.Service{svc("a", requires("b"), func(s *units.Service) { s.StayDown = true }), svc("b")},
		states: map[string]units.Status{"a": blocked, "b": unwell},
		want: []string{
			"0  a: can't be started: what it requires is not up; hero_proc does not start it with that: its restart_with_requires is false | it is blocked",
			"1 requires b: has failed | systemd's result is exit-code (exited with status 3) | root | f",
		},
		remedy: "journalctl\nhero_proc service start core/b\n" + startA,
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
		name: "stopped, and what it requires was started since", services: []units.Service{svc("a", requires("b", "c"), func(s *units.Service) { s.StayDown = true }), svc("b"), svc("c")},
		states: map[string]units.Status{"a": inactive},
		jobs: map[string]units.Job{"a": whyJob(units.PhaseCanceled, "i", "success"), "c": whyJob(units.PhaseRunning, "k", ""), "b": func() units.Job {
			j := whyJob(units.PhaseRunning, "j", "")
			j.Created = whyNow.Add(time.Minute)
			return j
		}()},
		want: []string{"0  a: was stopped | it was stopped together with what it requires, or by somebody: core/b was started again since; " +
			"hero_proc does not start it with that: its restart_with_requires is false; it is started when somebody asks for it, and at the next boot or start of hero_proc"},
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
			event(1, "a", units.EventStartTimeout, -time.Hour), event(2, "a", units.EventDependencyBack, -65*time.Second), event(6, "a", units.EventPortTaken, -60001*time.Millisecond),
			met(8, "a", units.EventPortTaken, -61*time.Second), met(9, "a", units.EventSocketTaken, -61001*time.Millisecond),
			event(7, "a", units.EventNotRegistered, -time.Second), event(3, "a", units.EventStartFailed, -time.Second),
			event(4, "z", units.EventStartFailed, 0), event(5, "a", units.EventStartFailed, 0),
		},
		want: []string{"0  a: has failed | systemd's result is exit-code (exited with status 3) | root | f"}, remedy: "journalctl\n" + startA,
		told: []string{"2 dependency-back", "8 port-taken", "5 start-failed"},
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
