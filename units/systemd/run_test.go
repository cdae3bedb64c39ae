package systemd_test

import (
	"context"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// once is a unit that runs a command to its end, as those that ask for health.
func once(argv ...string) transient.Unit {
	s := service("once", "/bin/sleep", "1000")
	s.Actions[0].Health = "exec:true"
	u := transient.Health(s, 0, 252)
	for i, p := range u.Properties {
		if p.Name == "ExecStart" {
			u.Properties[i].Value = []transient.Command{{Path: argv[0], Args: argv}}
		}
	}
	return u
}

func TestRun(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	for _, c := range []struct {
		name   string
		argv   []string
		status int32
		result string
	}{
		{"well", []string{"/bin/true"}, 0, "success"},
		{"not well, which is an answer too", []string{"/bin/false"}, 1, "success"},
		{"no program", []string{"/nonexistent/program"}, 203, "exit-code"},
		{"well again", []string{"/bin/true"}, 0, "success"},
	} {
		u, said, err := m.Run(t.Context(), once(c.argv...))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if u.ExitCode != 1 || u.ExitStatus != c.status || u.Result != c.result || said != "" {
			t.Errorf("%s: it reads %+v, and says %q", c.name, u, said)
		}
		if u := x.read(m, once("/bin/true").Name); u.Loaded() {
			t.Errorf("%s: it is still there: %+v", c.name, u)
		}
	}
}

func TestRunThatTakesTooLong(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err := m.Run(ctx, once("/bin/sleep", "1000"))
	x.wantCode(err, units.CodeTimeout, "")
	// It may take a moment to end; whoever comes next finds the name free then.
	for {
		u, _, err := m.Run(t.Context(), once("/bin/true"))
		if err == nil && u.Result == "success" {
			return
		}
		if err == nil {
			t.Fatalf("the next one reads %+v", u)
		}
		x.wantCode(err, units.CodeRefused, "")
	}
}

// Unlike Restart it starts nothing that somebody has stopped.
func TestTryRestart(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := service("tried", "/bin/sleep", "1000")
	x.load(m, s)
	try := func() string { return x.result(m.TryRestart(t.Context(), s.Unit(), "fail")) }
	if got := try(); got != "done" {
		t.Errorf("of one that is down: %s", got)
	}
	x.wantState(m, s.Unit(), "inactive")
	x.start(m, s.Unit())
	before := x.read(m, s.Unit())
	if got := try(); got != "done" {
		t.Errorf("of one that is up: %s", got)
	}
	if after := x.wantState(m, s.Unit(), "active"); after.InvocationID == before.InvocationID {
		t.Error("it was not restarted")
	}
}

// A program that sends no WATCHDOG=1 is killed.
func TestWatchdog(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := service("watched", "/bin/sleep", "1000")
	s.Actions[0].Watchdog = 200 * time.Millisecond
	x.load(m, s)
	x.start(m, s.Unit())
	x.eventually(m, "it has failed", func() bool { return x.read(m, s.Unit()).Active == "failed" })
	if u := x.read(m, s.Unit()); u.Result != "watchdog" || u.ExitStatus != 6 {
		t.Errorf("it reads %+v", u)
	}
}
