package supervisor

import (
	"context"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// jobTimeout bounds how long a queued job is followed. systemd's own timeouts
// end it much earlier; one without any (TimeoutStartSec=infinity) is followed
// on by its unit's changes.
const jobTimeout = time.Hour

// Start starts a service and answers at once with the job of its primary
// action. A service that is up already is left as it is.
func (s *Supervisor) Start(ctx context.Context, id units.ID) (units.Job, error) {
	service, err := s.startable(ctx, id)
	if err != nil {
		return units.Job{}, err
	}
	s.control.Lock()
	defer s.control.Unlock()
	u, err := s.Systemd.Unit(ctx, service.Unit())
	if err != nil {
		return units.Job{}, err
	}
	if err := s.history.observe(ctx, u); err != nil {
		return units.Job{}, err
	}
	if u.Alive() && u.Sub != "auto-restart" {
		job, _, err := s.history.lastJob(ctx, u.Name)
		return job, err
	}
	job, result, err := s.startLocked(ctx, service, u, units.OriginAPI)
	if err != nil {
		return units.Job{}, err
	}
	s.follow(job, result)
	return job, nil
}

// startable is the definition of a service that can be started.
func (s *Supervisor) startable(ctx context.Context, id units.ID) (units.Service, error) {
	service, err := s.Definition(ctx, id)
	if err != nil {
		return service, err
	}
	if service.Wanted == units.WantedSpec {
		return service, units.Errorf(units.CodeNotStartable, "service %q is a definition only (wanted status spec)", id).
			WithRemedy("hero_proc service enable " + id.String())
	}
	if p, broken := s.graph.Load().Problem(id); broken {
		return service, &units.Error{Code: units.CodeBlocked, Message: p.Message, Remedy: p.Remedy}
	}
	return service, nil
}

// start asks systemd to start a service whose unit is not alive. The channel
// gives systemd's result.
func (s *Supervisor) start(ctx context.Context, service units.Service, u units.Unit, origin units.Origin) (units.Job, <-chan string, error) {
	s.control.Lock()
	defer s.control.Unlock()
	job, result, err := s.startLocked(ctx, service, u, origin)
	if err != nil {
		return job, nil, err
	}
	return job, s.tee(job, result), nil
}

// startLocked is start with control held.
func (s *Supervisor) startLocked(ctx context.Context, service units.Service, u units.Unit, origin units.Origin) (units.Job, <-chan string, error) {
	if !s.current(service) && !u.Alive() {
		if err := s.reload(ctx, service); err != nil {
			return units.Job{}, nil, err
		}
	}
	// A start by hand always tries, whatever the start limit says.
	for i := range service.Actions {
		if err := s.Systemd.ResetFailed(ctx, service.UnitOf(i)); err != nil {
			s.Logger.Debug("cannot reset a unit, ignoring: it was not failed", "unit", service.UnitOf(i), "error", err)
		}
	}
	job, err := s.history.begin(ctx, service, origin)
	if err != nil {
		return units.Job{}, nil, err
	}
	result, err := s.Systemd.Start(ctx, service.Unit(), "replace")
	if err != nil {
		s.endJob(ctx, job, units.PhaseFailed, "refused")
		return units.Job{}, nil, err
	}
	return job, result, nil
}

// Stop stops a service and answers at once with the job that is being ended;
// a job with no number when none was ever made.
func (s *Supervisor) Stop(ctx context.Context, id units.ID) (units.Job, error) {
	service, err := s.Definition(ctx, id)
	if err != nil || len(service.Actions) == 0 {
		return units.Job{}, err
	}
	job, _, err := s.history.lastJob(ctx, service.Unit())
	if err != nil {
		return units.Job{}, err
	}
	// The further actions stop with the primary one (PartOf=); one that was
	// started by itself is stopped by name.
	for i := range service.Actions {
		s.history.setStopping(service.UnitOf(i))
		if _, err := s.Systemd.Stop(ctx, service.UnitOf(i), "replace"); err != nil {
			return units.Job{}, err
		}
	}
	return job, nil
}

// Cancel stops what a job runs, and answers at once. A job that is over is
// left as it is.
func (s *Supervisor) Cancel(ctx context.Context, id int64) error {
	job, err := s.Store.Job(ctx, id)
	if err != nil || job.Phase.Terminal() {
		return err
	}
	u, err := s.Systemd.Unit(ctx, job.Unit)
	if err != nil {
		return err
	}
	if job.InvocationID != "" && job.InvocationID != u.InvocationID {
		return s.history.observe(ctx, u) // what it ran is gone
	}
	s.history.setStopping(job.Unit)
	_, err = s.Systemd.Stop(ctx, job.Unit, "replace")
	return err
}

// Restart stops a service and starts it with the definition that it has now,
// and with it, as systemd does, the services that require it. It answers at
// once with the new job.
func (s *Supervisor) Restart(ctx context.Context, id units.ID) (units.Job, error) {
	service, err := s.startable(ctx, id)
	if err != nil {
		return units.Job{}, err
	}
	_, alive, err := s.unitsOf(ctx, service)
	if err != nil {
		return units.Job{}, err
	}
	if !alive {
		return s.Start(ctx, id)
	}
	s.control.Lock()
	defer s.control.Unlock()
	u, err := s.Systemd.Unit(ctx, service.Unit())
	if err != nil {
		return units.Job{}, err
	}
	if err := s.history.observe(ctx, u); err != nil {
		return units.Job{}, err
	}
	job, err := s.history.begin(ctx, service, units.OriginAPI)
	if err != nil {
		return units.Job{}, err
	}
	if !s.current(service) {
		s.tasks.Go(func() { s.replace(service, job) })
		return job, nil
	}
	result, err := s.Systemd.Restart(ctx, service.Unit(), "replace")
	if err != nil {
		s.endJob(ctx, job, units.PhaseFailed, "refused")
		return units.Job{}, err
	}
	s.follow(job, result)
	return job, nil
}

// replace restarts a service whose definition has changed. systemd takes the
// new one only when the unit is down, and stopping it stops what requires it,
// so that is started again afterwards.
func (s *Supervisor) replace(service units.Service, job units.Job) {
	ctx, cancel := context.WithTimeout(s.life, jobTimeout)
	defer cancel()
	g := s.graph.Load()
	var again []units.ID
	for _, id := range g.StopsWith(service.ID) {
		if u, err := s.Systemd.Unit(ctx, id.Unit()); err == nil && u.Alive() {
			again = append(again, id)
		}
	}
	if err := s.stopAndWait(ctx, service); err != nil {
		s.Logger.Error("cannot restart a service", "service", service.ID, "error", err)
		s.endJob(ctx, job, units.PhaseFailed, "stop-failed")
		return
	}
	result, err := s.startReplaced(ctx, service)
	if err != nil {
		s.refuse(service.ID, err)
		s.endJob(ctx, job, units.PhaseFailed, "refused")
		return
	}
	s.finish(ctx, job, result)
	for _, id := range again {
		if _, err := s.Systemd.Start(ctx, id.Unit(), "fail"); err != nil {
			s.Logger.Error("cannot start a service again that was stopped with the one that it requires", "service", id, "requires", service.ID, "error", err)
		}
	}
}

func (s *Supervisor) startReplaced(ctx context.Context, service units.Service) (<-chan string, error) {
	s.control.Lock()
	defer s.control.Unlock()
	if err := s.reload(ctx, service); err != nil {
		return nil, err
	}
	return s.Systemd.Start(ctx, service.Unit(), "replace")
}

// follow waits in the background for the result of a job's start.
func (s *Supervisor) follow(job units.Job, result <-chan string) {
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, jobTimeout)
		defer cancel()
		s.finish(ctx, job, result)
	})
}

// tee is follow for somebody who wants to know the result too.
func (s *Supervisor) tee(job units.Job, result <-chan string) <-chan string {
	out := make(chan string, 1)
	s.tasks.Go(func() {
		defer close(out)
		ctx, cancel := context.WithTimeout(s.life, jobTimeout)
		defer cancel()
		if r, ok := s.finish(ctx, job, result); ok {
			out <- r
		}
	})
	return out
}

// finish waits for systemd's result and writes down what it means. It is
// false when there is none: the connection was lost, and the next resync says.
func (s *Supervisor) finish(ctx context.Context, job units.Job, result <-chan string) (string, bool) {
	var r string
	select {
	case got, ok := <-result:
		if !ok {
			return "", false
		}
		r = got
	case <-ctx.Done():
		return "", false
	}
	u, err := s.Systemd.Unit(ctx, job.Unit)
	if err == nil {
		err = s.history.observe(ctx, u)
	}
	if err != nil {
		s.Logger.Warn("cannot write the history, ignoring: the next change of the unit will", "unit", job.Unit, "error", err)
	}
	switch r {
	case "done", "canceled":
		// Done without an activation of its own: another start came first.
		s.endJob(ctx, job, units.PhaseCanceled, r)
	default:
		s.endJob(ctx, job, units.PhaseFailed, r)
	}
	return r, true
}

// endJob ends a job that has no activation; one that has is left to its unit.
func (s *Supervisor) endJob(ctx context.Context, job units.Job, phase units.Phase, result string) {
	if err := s.history.end(ctx, job.ID, phase, result); err != nil {
		s.Logger.Error("cannot write the history", "job", job.ID, "error", err)
	}
}
