package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// silent is a systemd that answers nothing: each call takes all of its time.
type silent struct {
	Systemd
	calls int
}

func (s *silent) Unit(context.Context, string) (units.Unit, error) {
	s.calls++
	return units.Unit{}, units.Errorf(units.CodeTimeout, "no answer")
}

// The loop, which the watchdog waits for, asks a systemd that does not answer
// once, and no more: 20 s each. All units are looked at again later.
func TestMendingWaitsForSystemdOnce(t *testing.T) {
	t.Parallel()
	pid1, now := &silent{}, time.Unix(1000, 0)
	s := New(Options{Systemd: pid1, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	for i := range 10 {
		s.restarts.change(fmt.Sprintf("hero-core-s%d.service", i), func(e *restart) { e.job = plan.JobDependency })
	}
	s.mendWhich(t.Context(), func(restart) bool { return true })
	if pid1.calls != 1 {
		t.Errorf("systemd was asked %d times", pid1.calls)
	}
	if n := len(s.restarts.units(func(e restart) bool { return e.due.Equal(now.Add(mendRetry)) })); n != 10 {
		t.Errorf("%d units are looked at again later, want 10", n)
	}
}

func (s *silent) Release(context.Context, string) error {
	s.calls++
	return units.Errorf(units.CodeTimeout, "no answer")
}

type noRuns struct{ oneJob }

func (*noRuns) EndRuns(context.Context, ...int64) error { return nil }

// Nor does it wait for each of many runs that have ended.
func TestRunsAreReleasedWhenSystemdAnswers(t *testing.T) {
	t.Parallel()
	pid1 := &silent{}
	store := &noRuns{oneJob{job: units.Job{ID: 1, Phase: units.PhaseSucceeded}}}
	s := New(Options{Systemd: pid1, Store: store, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	var us []units.Unit
	for i := range 10 {
		r := units.OpenRun{Run: int64(i + 1), What: units.AdHoc{ID: units.ID{Context: "core", Name: "x"}}}
		s.runs.track(r)
		us = append(us, units.Unit{Name: r.Unit(), Load: "loaded", Active: "inactive"})
	}
	_ = s.closeEnded(t.Context(), us...)
	if pid1.calls != 1 || s.runs.count() != 10 {
		t.Errorf("systemd was asked %d times, and %d runs are open", pid1.calls, s.runs.count())
	}
}
