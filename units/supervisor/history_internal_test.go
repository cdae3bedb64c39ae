package supervisor

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// oneJob is a store with one job, for who has time left to read it.
type oneJob struct {
	Store
	job units.Job
}

func (s *oneJob) Job(ctx context.Context, _ int64) (units.Job, error) { return s.job, ctx.Err() }

func (s *oneJob) LastJob(ctx context.Context, _ string) (units.Job, bool, error) {
	return s.job, true, ctx.Err()
}

func (s *oneJob) JobByInvocation(ctx context.Context, _ string) (units.Job, bool, error) {
	return s.job, true, ctx.Err()
}

func (s *oneJob) SaveJobs(ctx context.Context, records []units.Record) error {
	s.job = *records[0].Job
	return ctx.Err()
}

func newTestHistory(store Store) *history {
	return newHistory(store, &ordered{}, slog.New(slog.DiscardHandler), time.Now, func([]int64) {},
		func(units.ID) (units.Service, bool) { return units.Service{}, false }, false)
}

// Of a run that is over nothing stays in memory, also when its unit is read once more.
func TestRunsAreForgotten(t *testing.T) {
	t.Parallel()
	const unit = "hero-core-x-r1.service"
	s := &oneJob{job: units.Job{ID: 1, Run: 1, Unit: unit, Attempt: 1, Phase: units.PhaseSucceeded, InvocationID: "i"}}
	h := newTestHistory(s)
	h.observe(t.Context(), units.Unit{Name: unit, Load: "loaded", Active: "inactive", InvocationID: "i"})
	h.forget(unit)
	h.observe(t.Context(), units.Unit{Name: unit, Load: "not-found", Active: "inactive"})
	if n := len(h.restarts) + len(h.seen) + len(h.last) + len(h.missed) + len(h.ending) + len(h.stopping) + len(h.booting); n != 0 {
		t.Errorf("%d things are kept: restarts %v, seen %v, last %v", n, h.restarts, h.seen, h.last)
	}
}

// A start that systemd did not answer in the caller's time leaves no job that
// is pending for good.
func TestAnEndIsWrittenWhenTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s := &oneJob{job: units.Job{ID: 1, Unit: "hero-core-x.service", Phase: units.PhasePending}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	newTestHistory(s).end(ctx, s.job, units.PhaseFailed, "refused")
	if s.job.Phase != units.PhaseFailed {
		t.Errorf("the job is %s", s.job.Phase)
	}
}
