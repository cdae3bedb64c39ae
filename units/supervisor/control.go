package supervisor

import (
	"context"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// jobTimeout bounds how long a queued job is followed. systemd's own timeouts
// end it much earlier; one without any (TimeoutStartSec=infinity) is followed
// on by its unit's changes.
const jobTimeout = time.Hour

// Start starts a service and answers at once with the job of its primary
// action. Of a service that is up already only the actions that are down are
// started.
func (s *Supervisor) Start(ctx context.Context, id units.ID) (units.Job, error) {
	if err := id.Check(); err != nil {
		return units.Job{}, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return units.Job{}, err
	}
	defer unlock()
	service, err := s.startable(ctx, id)
	if err != nil {
		return units.Job{}, err
	}
	u, err := s.readSettled(ctx, service.Unit())
	if err != nil {
		return units.Job{}, err
	}
	if u.Alive() && u.Sub != "auto-restart" {
		if err := s.startOthers(ctx, service); err != nil {
			return units.Job{}, err
		}
		return s.history.lastJob(ctx, u.Name)
	}
	s.askUp(ctx, service)
	job, result, err := s.startLocked(ctx, service, u, units.OriginAPI)
	if err != nil {
		return units.Job{}, err
	}
	s.follow(job, result)
	return job, nil
}

// askUp notes that somebody wants a service to be started, which always tries:
// neither start limits nor what was decided before stand in the way.
func (s *Supervisor) askUp(ctx context.Context, service units.Service) uint64 {
	s.restarts.halt(service.ID, false)
	s.restarts.forget(allUnits(service)...)
	s.resetRequired(ctx, service.ID)
	return s.ask(service.ID)
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
	unlock, err := s.lock(ctx)
	if err != nil {
		return units.Job{}, nil, err
	}
	defer unlock()
	job, result, err := s.startLocked(ctx, service, u, origin)
	if err != nil {
		return job, nil, err
	}
	return job, s.tee(job, result), nil
}

// startLocked is start with control held.
func (s *Supervisor) startLocked(ctx context.Context, service units.Service, u units.Unit, origin units.Origin) (units.Job, <-chan string, error) {
	if err := s.loadDown(ctx, service, u); err != nil {
		return units.Job{}, nil, err
	}
	s.resetFailed(ctx, service)
	return s.beginOrJoin(ctx, service, u, origin, "replace")
}

// beginOrJoin asks systemd to start the primary unit of a service, which was down as
// u says, with its job in the history first. Who joins a job that there is ends
// none.
func (s *Supervisor) beginOrJoin(ctx context.Context, service units.Service, u units.Unit, origin units.Origin, mode string) (units.Job, <-chan string, error) {
	job, joined := s.history.beginOrJoin(ctx, service, u, origin)
	result, err := s.startUnit(ctx, u, mode)
	if err != nil && !joined {
		err = s.notStarted(ctx, job, err)
	}
	if err != nil {
		return units.Job{}, nil, err
	}
	return job, result, nil
}

// resetFailed forgets failures and start limits: a start by hand always tries.
func (s *Supervisor) resetFailed(ctx context.Context, service units.Service) {
	for _, name := range allUnits(service) {
		if err := s.Systemd.ResetFailed(ctx, name); err != nil {
			s.Logger.Debug("cannot reset a unit, ignoring: it was not failed", "unit", name, "error", err)
		}
	}
}

// Stop stops a service and answers at once with the job that is being ended;
// a job with no number when none was ever made.
func (s *Supervisor) Stop(ctx context.Context, id units.ID) (units.Job, error) {
	service, err := s.Definition(ctx, id)
	if err != nil || len(service.Actions) == 0 {
		return units.Job{}, err
	}
	// What goes on in the background gives up by this, or has started the unit
	// by the time that control is had.
	s.ask(id)
	s.restarts.halt(id, true)
	unlock, err := s.lock(ctx)
	if err != nil {
		return units.Job{}, err
	}
	defer unlock()
	if _, err := s.readSettled(ctx, service.Unit()); err != nil {
		return units.Job{}, err
	}
	job, err := s.history.lastJob(ctx, service.Unit())
	if err != nil {
		s.Logger.Error("cannot read the history, ignoring", "unit", service.Unit(), "error", err)
	}
	names, err := s.unitsNotDown(ctx, id)
	if err != nil {
		return units.Job{}, err
	}
	var results []<-chan string
	for _, name := range names {
		result, err := s.stopUnit(ctx, name)
		if err != nil {
			return units.Job{}, err
		}
		results = append(results, result)
	}
	s.followStop(id, results)
	return job, nil
}

// Cancel stops what a job runs, and answers at once. A job that is over is
// left as it is.
func (s *Supervisor) Cancel(ctx context.Context, id int64) error {
	job, _, err := s.history.get(ctx, id)
	if err != nil || job.Phase.Terminal() {
		return err
	}
	ref, _ := units.ParseUnit(job.Unit)
	if ref.Run == 0 {
		s.ask(job.Service)
		s.restarts.halt(job.Service, true)
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := s.Systemd.Unit(ctx, job.Unit)
	if err != nil {
		return err
	}
	if ref.Run == 0 && job.InvocationID != "" && job.InvocationID != u.InvocationID {
		_ = s.history.observe(ctx, u) // what it ran is gone
		return nil
	}
	if ref.Run != 0 {
		s.cancelRun(ctx, job)
	}
	_, err = s.stopUnit(ctx, job.Unit)
	return err
}

// Restart stops a service and starts it with the definition that it has now,
// and with it, as systemd does, the services that require it. It answers at
// once with the new job.
func (s *Supervisor) Restart(ctx context.Context, id units.ID) (units.Job, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return units.Job{}, err
	}
	defer unlock()
	service, err := s.startable(ctx, id)
	if err != nil {
		return units.Job{}, err
	}
	u, err := s.readSettled(ctx, service.Unit())
	if err != nil {
		return units.Job{}, err
	}
	alive, err := s.unitsNotDown(ctx, id)
	if err != nil {
		return units.Job{}, err
	}
	asked := s.askUp(ctx, service)
	// Of a unit whose start is still queued, as by a boot, there is nothing to
	// restart: systemd might begin with it just before it is asked to, and the
	// job would be that of what the restart ends.
	queued := u.Active == "inactive" && u.JobID != 0 && slices.Equal(alive, []string{u.Name}) && s.current(service)
	if len(alive) == 0 || queued {
		job, result, err := s.startLocked(ctx, service, u, units.OriginAPI)
		if err != nil {
			return units.Job{}, err
		}
		s.follow(job, result)
		return job, nil
	}
	if !s.current(service) {
		job := s.history.beginHeld(ctx, service, units.OriginAPI)
		s.tasks.Go(func() { s.replace(service, job, asked) })
		return job, nil
	}
	job := s.history.begin(ctx, service, units.OriginAPI)
	s.resetFailed(ctx, service)
	result, err := s.Systemd.Restart(ctx, service.Unit(), "replace")
	if err != nil {
		return units.Job{}, s.notStarted(ctx, job, err)
	}
	s.follow(job, result)
	return job, nil
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

// overtaken is systemd's result of a job that is done without an activation of
// its own: another start came first.
const overtaken = "done"

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
	switch {
	case err != nil:
		s.Logger.Warn("cannot tell what the end of a job of systemd's means, trying again later", "unit", job.Unit, "error", err)
		s.unanswered.add(job, r)
	case s.history.misses(job.Unit): // the job may be one of what is in the journal
		s.unanswered.add(job, r)
	default:
		s.endUnstarted(ctx, job, r)
	}
	return r, true
}

// endUnstarted ends a job that has come to no activation, with systemd's result
// of it; "" is that there is none.
func (s *Supervisor) endUnstarted(ctx context.Context, job units.Job, result string) {
	switch result {
	case "":
		s.history.end(ctx, job, units.PhaseLost, "")
	case overtaken, "canceled":
		s.history.end(ctx, job, units.PhaseCanceled, result)
	default:
		s.history.end(ctx, job, units.PhaseFailed, result)
	}
}
