package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// unanswered are the jobs of which it is not known whether systemd starts
// them, or has started them: it could not be reached, or did not answer in time,
// or what the unit went through is still to be found in the journal.
type unanswered struct {
	mu   sync.Mutex
	jobs map[int64]question
}

// question is a job, and systemd's result of it, if that is known.
type question struct {
	units.Job
	result string
}

func (a *unanswered) add(job units.Job, result string) {
	if job.ID == 0 {
		return // it could not be recorded: its activation will be
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.jobs == nil {
		a.jobs = map[int64]question{}
	}
	a.jobs[job.ID] = question{job, result}
}

func (a *unanswered) drop(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.jobs, id)
}

// all are the jobs in the order in which they were begun.
func (a *unanswered) all() []question {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.SortedFunc(maps.Values(a.jobs), func(x, y question) int { return cmp.Compare(x.ID, y.ID) })
}

// notStarted takes what systemd, asked to start a job's unit, gave as an error,
// and returns it for who asked. A job that was refused is over. What becomes of
// one that may be started all the same is looked at with the next tick.
func (s *Supervisor) notStarted(ctx context.Context, job units.Job, err error) error {
	if !unreachable(err) {
		s.history.end(ctx, job, units.PhaseFailed, "refused")
		return err
	}
	s.unanswered.add(job, "")
	if job.ID == 0 {
		return err
	}
	return units.Errorf(units.CodeOf(err), "%w; it may be started all the same, as job %d", err, job.ID).
		WithRemedy(fmt.Sprintf("hero_proc job show %[1]d\nhero_proc job cancel %[1]d", job.ID))
}

// settleStarts finds out whether systemd has started what it was asked to, as
// its answer did not come in time. What was sent after that request is answered
// after it, too: a start that is not queued has come to its activation by now,
// which the journal has where the unit has not, or never comes. control is held.
func (s *Supervisor) settleStarts(ctx context.Context) {
	for _, q := range s.unanswered.all() {
		job := q.Job
		u, err := s.Systemd.Unit(ctx, job.Unit)
		if err != nil {
			return // it is no use to go on
		}
		if u.JobID != 0 {
			continue
		}
		if !s.settleUnits(ctx, map[string]bool{job.Unit: true}) {
			return
		}
		if s.history.misses(job.Unit) {
			continue // it went through more meanwhile
		}
		if now, _, err := s.history.get(ctx, job.ID); err != nil {
			return
		} else if now.InvocationID == "" && !now.Phase.Terminal() {
			if q.result == "" {
				s.Logger.Warn("systemd has not said that it started a unit, and has not: the job is lost", "job", job.ID, "unit", job.Unit)
			}
			s.endUnstarted(ctx, job, q.result)
		}
		s.unanswered.drop(job.ID)
	}
}

// retryLater does in the background, since it needs control, what could not be
// done before: it settles starts, and starts runs again where again says so.
func (s *Supervisor) retryLater(again bool) {
	if !again && len(s.unanswered.all()) == 0 || s.retrying.Swap(true) {
		return
	}
	s.tasks.Go(func() {
		defer s.retrying.Store(false)
		ctx, cancel := context.WithTimeout(s.life, resyncTimeout)
		defer cancel()
		unlock, err := s.lock(ctx)
		if err != nil {
			return
		}
		defer unlock()
		s.settleStarts(ctx)
		if !again {
			return
		}
		if err := s.settleRuns(ctx); err != nil && s.life.Err() == nil {
			s.Logger.Warn("cannot start the runs again that died with the machine, trying again later", "error", err)
		}
	})
}
