package supervisor

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
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

// Who asks about a unit of which something was missed waits until the journal
// was looked into, and then has all of it; nobody waits for longer than they like.
func TestWhatWasMissedIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const unit = "hero-core-a.service"
		s := &oneJob{job: units.Job{ID: 1, Run: 1, Unit: unit, Attempt: 1, Phase: units.PhaseRunning, InvocationID: "first"}}
		h := newTestHistory(s)
		h.journal = true
		h.awaitCaughtUp(t.Context(), unit)
		failed := units.Unit{Name: unit, Load: "loaded", Active: "failed", Result: "exit-code", InvocationID: "second", Reading: 1 << 32}
		_ = h.observe(t.Context(), failed)
		if h.complete() {
			t.Fatal("nothing was missed")
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h.awaitCaughtUp(impatient, unit)
		if impatient.Err() == nil {
			t.Error("it does not wait")
		}
		var got units.Job
		go func() {
			h.awaitCaughtUp(t.Context(), unit)
			got, _ = h.lastJob(t.Context(), unit)
		}()
		synctest.Wait()
		if got.ID != 0 {
			t.Errorf("it has not waited for the journal: %+v", got)
		}
		h.fill(t.Context(), filling{loaded: map[string]units.Unit{unit: failed}, seen: []units.Unit{failed}})
		synctest.Wait()
		if got.InvocationID != "first" || got.Phase != units.PhaseLost { // the journal tells nothing
			t.Errorf("the last job is %+v", got)
		}
	})
}

// A job that came up since the units were read is not lost for that.
func TestWhatHasBegunSinceIsNotLost(t *testing.T) {
	t.Parallel()
	const unit = "hero-core-a.service"
	for _, c := range []struct {
		name string
		seen uint64
		want units.Phase
	}{
		{"the unit was looked at since", 6, units.PhaseRunning},
		{"nobody has looked at the unit since", 4, units.PhaseLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			live := units.Job{ID: 1, Run: 1, Unit: unit, Attempt: 1, Phase: units.PhaseRunning, InvocationID: "new"}
			s := &oneJob{job: live}
			h := newTestHistory(s)
			h.seen[unit], h.last[unit] = c.seen, live
			read := units.Unit{Name: unit, Load: "loaded", Active: "inactive", InvocationID: "old", Reading: 5}
			h.fill(t.Context(), filling{live: []units.Job{live}, loaded: map[string]units.Unit{unit: read}})
			if s.job.Phase != c.want {
				t.Errorf("the job is %s, want %s", s.job.Phase, c.want)
			}
		})
	}
}

// A job that systemd may never be asked for is nobody else's.
func TestAHeldJobIsNotJoined(t *testing.T) {
	t.Parallel()
	s := units.Service{ID: units.ID{Context: "core", Name: "a"}, Actions: []units.Action{units.NewAction("main")}}
	h := newTestHistory(&numbered{})
	held := h.beginHeld(t.Context(), s, units.OriginAPI)
	queued := units.Unit{Name: s.Unit(), Load: "loaded", Active: "inactive", JobID: 7}
	other, joined := h.beginOrJoin(t.Context(), s, queued, units.OriginAPI)
	if joined || other.ID == held.ID {
		t.Errorf("job %d joins %d, which is held", other.ID, held.ID)
	}
	held = h.beginHeld(t.Context(), s, units.OriginAPI)
	h.letGo(held.ID)
	if other, joined = h.beginOrJoin(t.Context(), s, queued, units.OriginAPI); !joined || other.ID != held.ID {
		t.Errorf("job %d does not join %d, which systemd has", other.ID, held.ID)
	}
	if len(h.held) != 1 { // the first one
		t.Errorf("%d jobs are held", len(h.held))
	}
}

// numbered is a store that numbers jobs.
type numbered struct {
	oneJob
	n int64
}

func (s *numbered) LastJob(context.Context, string) (units.Job, bool, error) {
	return units.Job{}, false, nil
}

func (s *numbered) SaveJobs(_ context.Context, records []units.Record) error {
	s.n++
	records[0].Job.ID = s.n
	return nil
}
