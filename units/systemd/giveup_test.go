package systemd_test

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
)

// awaitJob waits until systemd has told of a job of the unit's, whoever asked
// for it, that ended with result.
func (x *target) awaitJob(m *systemd.Manager, unit, result string) {
	x.Helper()
	deadline := time.After(patience)
	for last := ""; last != result; {
		select {
		case <-m.Wake():
			if r, ok := m.Take().Jobs[unit]; ok {
				last = r
			}
		case <-deadline:
			x.Fatalf("the last job of %s ended with %q, want %q", unit, last, result)
		}
	}
}

// restarting is a service that systemd starts again, each time after delay.
func restarting(name string, delay time.Duration) units.Service {
	s := service(name, "/bin/sleep", "1000")
	a := &s.Actions[0]
	a.Restart, a.RestartDelay, a.StartLimitBurst, a.StartLimitInterval = units.RestartOnFailure, delay, 2, time.Minute
	return s
}

// How systemd gives a unit up, and how that differs from a stop.
func TestTakeTellsHowJobsEnd(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s, user := restarting("spent", time.Millisecond), service("user", "/bin/sleep", "1000")
	user.Requires = []string{"spent"}
	x.load(m, s, user)
	x.start(m, s.Unit())
	m.Take()
	x.kill(m, s.Unit())
	x.awaitJob(m, s.Unit(), "done") // systemd's own restart
	x.eventually(m, "it is up again", func() bool { return x.read(m, s.Unit()).Active == "active" })
	x.kill(m, s.Unit())
	x.awaitJob(m, s.Unit(), "failed")
	// The result is that of the last failure, not start-limit-hit.
	if u := x.wantState(m, s.Unit(), "failed"); u.Result != "signal" {
		t.Errorf("the unit that came to its start limit reads %+v", u)
	}
	if got := x.start(m, user.Unit()); got != "dependency" {
		t.Errorf("start of what requires it: %s", got)
	}
	x.awaitJob(m, user.Unit(), "dependency")
	if got := x.stop(m, s.Unit()); got != "done" {
		t.Errorf("stop of a failed unit: %s", got)
	}
	x.awaitJob(m, s.Unit(), "done")
	x.wantState(m, s.Unit(), "failed")
	if got := x.stop(m, user.Unit()); got != "done" {
		t.Errorf("stop of an inactive unit: %s", got)
	}
	x.awaitJob(m, user.Unit(), "done")
}

func TestResetOfAUnitThatIsUp(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := restarting("stable", time.Millisecond)
	x.load(m, s)
	x.start(m, s.Unit())
	x.kill(m, s.Unit())
	x.eventually(m, "it was restarted", func() bool { u := x.read(m, s.Unit()); return u.Active == "active" && u.Restarts == 1 })
	before := x.read(m, s.Unit())
	if err := m.ResetFailed(t.Context(), s.Unit()); err != nil {
		t.Fatal(err)
	}
	if u := x.wantState(m, s.Unit(), "active"); u.Restarts != 0 || u.InvocationID != before.InvocationID {
		t.Errorf("after a reset it reads %+v", u)
	}
	x.kill(m, s.Unit()) // which would have been one too many
	x.eventually(m, "it was restarted once more", func() bool { u := x.read(m, s.Unit()); return u.Active == "active" && u.Restarts == 1 })
}

// A start waits for the delay of a restart; a restart does not.
func TestStartOfAUnitThatWaitsForItsRestart(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := restarting("patient", time.Hour)
	s.Actions[0].StartLimitBurst = 10 // a start that has to wait counts too
	x.load(m, s)
	x.start(m, s.Unit())
	x.kill(m, s.Unit())
	x.eventually(m, "it waits", func() bool { return x.read(m, s.Unit()).Sub == "auto-restart" })
	started, err := m.Start(t.Context(), s.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	if u := x.wantState(m, s.Unit(), "activating"); u.Sub != "auto-restart" || u.JobID == 0 {
		t.Errorf("once it was asked to start, it reads %+v", u)
	}
	if got := x.result(m.Restart(t.Context(), s.Unit(), "replace")); got != "done" {
		t.Errorf("restart: %s", got)
	}
	if got := x.result(started, nil); got != "done" {
		t.Errorf("the start that waited: %s", got)
	}
	x.wantState(m, s.Unit(), "active")
}
