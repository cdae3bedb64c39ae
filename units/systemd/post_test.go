package systemd_test

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// What package transient, and the prober that it puts into ExecStartPost=,
// rely on.

// post is a set that loads services, the first of which runs a command as its
// ExecStartPost=.
func post(argv []string, services ...units.Service) transient.Set {
	s := set(nil, services...)
	s.Aux[0].Properties = append(s.Aux[0].Properties, transient.Property{
		Name: "ExecStartPost", Value: []transient.Command{{Path: argv[0], Args: argv}},
	})
	return s
}

func TestAStartWaitsForItsPost(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	slow, needs := service("slow", "/bin/sleep", "1000"), service("needs", "/bin/sleep", "1000")
	needs.Requires = []string{"slow"}
	if err := m.Make(t.Context(), post([]string{"/bin/sleep", "0.3"}, slow, needs)); err != nil {
		t.Fatal(err)
	}
	starting, err := m.Start(t.Context(), needs.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	var waiting units.Unit
	x.eventually(m, "the command runs", func() bool {
		waiting = x.read(m, slow.Unit())
		return waiting.Sub == "start-post"
	})
	if waiting.Active != "activating" || waiting.MainPID == 0 || waiting.JobID == 0 || !waiting.ActiveSince.IsZero() {
		t.Errorf("the unit that waits reads %+v", waiting)
	}
	if u := x.wantState(m, needs.Unit(), "inactive"); u.JobID == 0 {
		t.Errorf("what needs it reads %+v", u)
	}
	if got := x.result(starting, nil); got != "done" {
		t.Errorf("start: %s", got)
	}
	a, b := x.wantState(m, slow.Unit(), "active"), x.wantState(m, needs.Unit(), "active")
	if a.MainPID != waiting.MainPID || a.InvocationID != waiting.InvocationID || b.ActiveSince.Before(a.ActiveSince) {
		t.Errorf("the unit was %+v, is %+v; what needs it %+v", waiting, a, b)
	}
}

func TestResultsOfAPost(t *testing.T) {
	for _, c := range []struct {
		name                 string
		main, post           []string
		timeout              time.Duration
		result, unitResult   string
		active               string
		exitCode, exitStatus int32
	}{
		{name: "good", main: []string{"/bin/sleep", "1000"}, post: []string{"/bin/true"}, result: "done", active: "active", unitResult: "success"},
		{name: "bad", main: []string{"/bin/sleep", "1000"}, post: []string{"/bin/false"}, result: "failed", active: "failed", unitResult: "exit-code", exitCode: 2, exitStatus: 15},
		{
			name: "late", main: []string{"/bin/sleep", "1000"}, post: []string{"/bin/sleep", "1000"}, timeout: 200 * time.Millisecond,
			result: "failed", active: "failed", unitResult: "timeout", exitCode: 2, exitStatus: 15,
		},
		// systemd waits for it, although there is nothing left to wait for.
		{name: "orphan", main: []string{"/bin/sleep", "0.05"}, post: []string{"/bin/sleep", "0.3"}, result: "done", active: "inactive", unitResult: "success", exitCode: 1},
		{name: "bad-orphan", main: []string{"/bin/false"}, post: []string{"/bin/sleep", "0.3"}, result: "failed", active: "failed", unitResult: "exit-code", exitCode: 1, exitStatus: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newTarget(t)
			m := x.manager()
			s := service(c.name, c.main...)
			s.Actions[0].TimeoutStart = c.timeout
			if err := m.Make(t.Context(), post(c.post, s)); err != nil {
				t.Fatal(err)
			}
			if got := x.start(m, s.Unit()); got != c.result {
				t.Errorf("the job's result is %q, want %q", got, c.result)
			}
			u := x.wantState(m, s.Unit(), c.active)
			if u.Result != c.unitResult || u.ExitCode != c.exitCode || u.ExitStatus != c.exitStatus || u.MainPID != 0 && c.active != "active" {
				t.Errorf("it reads %+v", u)
			}
		})
	}
}

// The command ends by systemd's SIGTERM, which is a failure of the unit. The
// prober knows, and ends with 0 once its program has ended.
func TestAStopEndsAPost(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := service("waiting", "/bin/sleep", "1000")
	if err := m.Make(t.Context(), post([]string{"/bin/sleep", "1000"}, s)); err != nil {
		t.Fatal(err)
	}
	starting, err := m.Start(t.Context(), s.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	x.eventually(m, "the command runs", func() bool { return x.read(m, s.Unit()).Sub == "start-post" })
	if got := x.stop(m, s.Unit()); got != "done" {
		t.Errorf("stop: %s", got)
	}
	if got := x.result(starting, nil); got != "canceled" {
		t.Errorf("start: %s", got)
	}
	if u := x.wantState(m, s.Unit(), "failed"); u.Result != "signal" {
		t.Errorf("it reads %+v", u)
	}
}

func TestStatusText(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := service("silent", "/bin/sleep", "1000")
	x.load(m, s)
	x.start(m, s.Unit())
	for _, name := range []string{s.Unit(), unitOf("absent")} {
		if said, err := m.StatusText(t.Context(), name); said != "" || err != nil {
			t.Errorf("%s says %q, %v", name, said, err)
		}
	}
}
