package supervisor

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// LiveJobs are the jobs that are not over.
func (s *Supervisor) LiveJobs(ctx context.Context) ([]units.Job, error) {
	return s.Store.LiveJobs(ctx)
}

// Jobs are the newest jobs that the filter selects, the oldest first.
func (s *Supervisor) Jobs(ctx context.Context, f units.JobFilter) ([]units.Job, error) {
	jobs, err := s.Store.Jobs(ctx, f)
	if err != nil {
		return nil, err
	}
	return s.history.overlay(f, jobs), nil
}

// overlay puts what could not be written yet in the place of what was.
func (h *history) overlay(f units.JobFilter, stored []units.Job) []units.Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.unsaved) == 0 {
		return stored
	}
	all := make(map[int64]units.Job, len(stored))
	for _, j := range stored {
		all[j.ID] = j
	}
	for id, j := range h.unsaved {
		if _, ok := all[id]; !ok && f.Origin != "" {
			continue // whose run it is, is the store's to know
		}
		delete(all, id)
		if f.Selects(j) {
			all[id] = j
		}
	}
	jobs := slices.SortedFunc(maps.Values(all), func(a, b units.Job) int { return cmp.Compare(a.ID, b.ID) })
	if most := f.Bound(); most >= 0 {
		jobs = jobs[max(0, len(jobs)-most):]
	}
	return jobs
}

// Job reads one job; of one that runs with what it has used so far.
func (s *Supervisor) Job(ctx context.Context, id int64) (units.Job, error) {
	job, _, err := s.history.get(ctx, id)
	if err != nil || job.Phase != units.PhaseRunning {
		return job, err
	}
	if u, err := s.Systemd.Unit(ctx, job.Unit); err != nil {
		s.Logger.Debug("cannot read what a job uses, ignoring", "job", id, "error", err)
	} else if u.InvocationID == job.InvocationID {
		job.Used = u.Used()
	}
	return job, nil
}

// WaitReady answers when the job is ready, or over. Of the start of a service
// it answers when the other actions that come up with it have come to rest too.
// Where another start came first, it is the job of that one which it answers.
func (s *Supervisor) WaitReady(ctx context.Context, id int64) (units.Job, error) {
	begun := func(j units.Job) bool { return j.Phase != units.PhasePending }
	job, err := s.history.wait(ctx, id, begun)
	if err == nil && job.Phase == units.PhaseCanceled && job.Result == overtaken {
		u, err := s.Systemd.Unit(ctx, job.Unit)
		if err != nil {
			return job, err
		}
		first, known, err := s.Store.JobByInvocation(ctx, u.InvocationID)
		if err != nil || !known || !u.Alive() && first.Phase.Terminal() && first.Ended.Before(job.Created) {
			return job, err // nothing was started, as where a condition is not met
		} else if job, err = s.history.wait(ctx, first.ID, begun); err != nil {
			return job, err
		}
	}
	if err != nil || job.Phase != units.PhaseRunning && job.Phase != units.PhaseSucceeded {
		return job, err
	}
	return s.waitOthers(ctx, job)
}

// rereadOthers is how often the units of a service are read while they are
// awaited. What happens to one that never gets to an activation, for a
// dependency that fails, is no change of a job.
const rereadOthers = 500 * time.Millisecond

func (s *Supervisor) waitOthers(ctx context.Context, job units.Job) (units.Job, error) {
	service, ok := s.graph.Load().Service(job.Service)
	if !ok || len(service.Actions) < 2 || job.Unit != service.Unit() {
		return job, nil
	}
	again := time.NewTicker(rereadOthers)
	defer again.Stop()
	for {
		now, changed, err := s.history.get(ctx, job.ID)
		if err != nil {
			return job, err
		}
		status, err := s.Status(ctx, job.Service)
		// A reading is shared, and may have begun before this start.
		if err != nil || now.Phase.Terminal() || status.Unit.InvocationID == now.InvocationID && !slices.ContainsFunc(status.Actions, comesUp) {
			return now, err
		}
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return now, units.Errorf(units.CodeTimeout, "actions of %q are not up yet: %w", job.Service.String(), context.Cause(ctx))
		}
	}
}

// comesUp says that the action is on its way to where it is asked to be. One
// that failed and waits to be started again has had its chance.
func comesUp(a units.ActionStatus) bool {
	return a.Unit.Sub != "auto-restart" && (a.Unit.Active == "activating" || a.Unit.JobID != 0)
}

// Wait answers when the job is over, and when what a stop of its service
// takes down has stopped.
func (s *Supervisor) Wait(ctx context.Context, id int64) (units.Job, error) {
	job, err := s.history.wait(ctx, id, func(j units.Job) bool { return j.Phase.Terminal() })
	if err != nil {
		return job, err
	}
	s.mu.Lock()
	stopped, stopping := s.stops[job.Service]
	s.mu.Unlock()
	if !stopping {
		return job, nil
	}
	select {
	case <-stopped:
		return job, nil
	case <-ctx.Done():
		return job, units.Errorf(units.CodeTimeout, "actions of %q have not stopped yet: %w", job.Service.String(), context.Cause(ctx))
	}
}

// followStop lets Wait know when all that a stop takes down has stopped.
// control is held.
func (s *Supervisor) followStop(id units.ID, results []<-chan string) {
	stopped := make(chan struct{})
	s.mu.Lock()
	s.stops[id] = stopped
	s.mu.Unlock()
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, jobTimeout)
		defer cancel()
		for _, result := range results {
			select {
			case <-result: // or the connection is gone, and nobody will say
			case <-ctx.Done():
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stops[id] == stopped {
			delete(s.stops, id)
		}
		close(stopped)
	})
}

// startOthers starts the further actions of a service that is up which are
// down: a start is of all of its actions.
func (s *Supervisor) startOthers(ctx context.Context, service units.Service) error {
	for i := range service.Actions {
		if i == service.Primary() {
			continue
		}
		u, err := s.Systemd.Unit(ctx, service.UnitOf(i))
		if err != nil {
			return err
		}
		if !u.Loaded() || u.Alive() && u.Sub != "auto-restart" {
			continue
		}
		if err := s.Systemd.ResetFailed(ctx, u.Name); err != nil {
			s.Logger.Debug("cannot reset a unit, ignoring: it was not failed", "unit", u.Name, "error", err)
		}
		if _, err := s.Systemd.Start(ctx, u.Name, "replace"); err != nil {
			return err
		}
	}
	return nil
}
