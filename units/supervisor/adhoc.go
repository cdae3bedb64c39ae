package supervisor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// maxRuns bounds the ad-hoc runs that are going: each has a pinned unit.
const maxRuns = 1000

// RunJob starts an ad-hoc run and answers at once with its job. streams are
// its standard streams, nil for none and the journal; they are the caller's to
// close.
func (s *Supervisor) RunJob(ctx context.Context, def map[string]any, streams *units.Streams) (units.Job, error) {
	what, err := units.DecodeRun(def, func(id units.ID) (units.Service, error) { return s.withSecrets(ctx, id) })
	if err != nil {
		return units.Job{}, err
	}
	if what.Action.Process && streams != nil {
		return units.Job{}, units.Errorf(units.CodeInvalidArgument, "a process is started again after a reboot, and then its caller's streams are gone; run it without them")
	}
	// Not before the boot has loaded the services, nor while all is read again.
	unlock, err := s.lock(ctx)
	if err != nil {
		return units.Job{}, err
	}
	defer unlock()
	if s.runs.count() >= maxRuns {
		return units.Job{}, units.Errorf(units.CodeLimitsExceeded, "%d ad-hoc runs are going, which is the limit; let some end first", maxRuns).
			WithRemedy("hero_proc job list")
	}
	job, err := s.Store.BeginRun(ctx, what, s.machine(), s.Now())
	if err != nil {
		return units.Job{}, err
	}
	s.runs.track(units.OpenRun{Run: job.Run, What: what, Boot: s.machine()})
	if err := s.launch(ctx, what, job, streams); err != nil {
		return units.Job{}, err
	}
	return job, nil
}

// withSecrets is the definition of a service, with the paths of the credentials
// that hero_proc has generated for it.
func (s *Supervisor) withSecrets(ctx context.Context, id units.ID) (units.Service, error) {
	service, err := s.Definition(ctx, id)
	service.Actions = slices.Clone(service.Actions)
	for i := range service.Actions {
		a := &service.Actions[i]
		a.Credentials = maps.Clone(a.Credentials)
		for name, path := range a.Credentials {
			if path == units.GeneratedCredential {
				a.Credentials[name] = s.Store.CredentialPath(id, name)
			}
		}
	}
	return service, err
}

// machine tells the machine's boots from each other; "" is not known. It is when
// systemd came up, and not the kernel's boot ID: in a container, what has a
// /proc of its own, as our unit does, sees the host's.
func (s *Supervisor) machine() string {
	booted := s.Systemd.Booted()
	if booted.IsZero() {
		return ""
	}
	return strconv.FormatInt(booted.UnixMicro(), 10)
}

// launch asks systemd to start a run's job. control is held.
func (s *Supervisor) launch(ctx context.Context, what units.AdHoc, job units.Job, streams *units.Streams) error {
	s.history.began(job)
	result, err := s.Systemd.StartTransient(ctx, transient.Run(what, job.Run, streams, s.Systemd.Version()))
	if err != nil {
		err = s.notStarted(ctx, job, err)
		_ = s.closeRun(ctx, job.Unit) // if it is over; else it is done later
		return err
	}
	s.follow(job, result)
	return nil
}

// followed says whether the unit is that of a registered service, or of an
// ad-hoc run that is not over.
func (s *Supervisor) followed(unit string) bool {
	if ref, ok := units.ParseUnit(unit); ok && ref.Run != 0 {
		return s.runs.has(unit)
	}
	return s.registered(unit)
}

// closeEnded closes those runs whose units have ended. Its error is that it is
// no use to go on; the rest is done with a later tick.
func (s *Supervisor) closeEnded(ctx context.Context, us ...units.Unit) error {
	for _, u := range us {
		if !u.Alive() && u.Active != "deactivating" && u.JobID == 0 && s.runs.has(u.Name) {
			if err := s.closeRun(ctx, u.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeRun lets go of a run's unit once its end was written down; what can't
// be done now is tried again with the next tick.
func (s *Supervisor) closeRun(ctx context.Context, unit string) error {
	ref, _ := units.ParseUnit(unit)
	if !s.history.settled(ctx, unit) {
		return nil
	}
	if err := s.Store.EndRuns(ctx, ref.Run); err != nil {
		s.Logger.Error("cannot write the end of a run, trying again later", "unit", unit, "error", err)
		return err
	}
	if err := s.Systemd.Release(ctx, unit); err != nil {
		s.Logger.Warn("cannot release the unit of a run that is over, trying again later", "unit", unit, "error", err)
		if unreachable(err) {
			return err
		}
		return nil
	}
	s.runs.drop(unit)
	s.history.forget(unit)
	return nil
}

// retryRuns closes the runs that could not be closed when they ended. again says
// that there are some which are to be started again.
func (s *Supervisor) retryRuns(ctx context.Context) (again bool) {
	for _, r := range s.runs.all() {
		if !s.history.settled(ctx, r.Unit()) {
			continue
		}
		u, err := s.Systemd.Unit(ctx, r.Unit())
		if err != nil {
			return again // it is no use to go on
		}
		last, err := s.history.lastJob(ctx, r.Unit())
		if err != nil {
			return again
		}
		if treatment, _ := plan.DecideRun(r, s.machine(), u, last); treatment == plan.QueueRun {
			again = true
		} else if err := s.closeEnded(ctx, u); err != nil {
			return again
		}
	}
	return again
}

// recoverRuns takes up the runs that the store says are not over, and pins
// those that are still loaded.
func (s *Supervisor) recoverRuns(ctx context.Context, listed []units.Unit) error {
	open, err := s.Store.OpenRuns(ctx)
	if err != nil {
		s.reportStep(units.SourceProcessJobs, fmt.Errorf("cannot read the ad-hoc runs: %w", err))
		return nil
	}
	loaded := map[string]bool{}
	for _, u := range listed {
		loaded[u.Name] = u.Loaded()
	}
	for _, r := range open {
		s.runs.track(r)
		if !loaded[r.Unit()] {
			continue
		}
		if err := s.Systemd.Pin(ctx, r.Unit()); unreachable(err) {
			return fmt.Errorf("cannot pin %s: %w", r.Unit(), err)
		} else if err != nil {
			s.Logger.Debug("cannot pin the unit of a run, ignoring: it has gone", "unit", r.Unit(), "error", err)
		}
	}
	return nil
}

// settleRuns does what plan decides of the runs that are not known to be over:
// process jobs that died with the machine are queued again. Its error is that
// systemd could not be reached. control is held.
func (s *Supervisor) settleRuns(ctx context.Context) error {
	for _, r := range s.runs.all() {
		u, err := s.Systemd.Unit(ctx, r.Unit())
		if unreachable(err) {
			return err
		} else if err != nil {
			s.Logger.Warn("cannot read the unit of a run, ignoring: its next change, or the next start, will", "unit", r.Unit(), "error", err)
			continue
		}
		last, err := s.history.lastJob(ctx, r.Unit())
		if err != nil {
			s.Logger.Error("cannot read the history, ignoring: how a run ended is not known", "unit", r.Unit(), "error", err)
		}
		treatment, reason := plan.DecideRun(r, s.machine(), u, last)
		s.Logger.Debug("ad-hoc run", "run", r.Run, "unit", r.Unit(), "treatment", treatment, "reason", reason)
		switch treatment {
		case plan.FollowRun:
		case plan.CloseRun:
			if err := s.closeEnded(ctx, u); unreachable(err) {
				return err
			}
		case plan.DropRun:
			s.reportRun(units.EventRunNotQueued, r, "could not be started again after the machine was restarted: "+reason)
			if err := s.closeEnded(ctx, u); unreachable(err) {
				return err
			}
		case plan.QueueRun:
			job, err := s.beginAgain(ctx, r)
			if err != nil && !unreachable(err) {
				s.Logger.Warn("cannot start a run again that died with the machine, trying again later", "unit", r.Unit(), "error", err)
				continue
			}
			if err == nil {
				err = s.launch(ctx, r.What, job, nil)
			}
			if unreachable(err) {
				return err
			} else if err != nil {
				s.reportRun(units.EventRunNotQueued, r, "could not be started again after the machine was restarted: "+err.Error())
			} else {
				s.reportRun(units.EventRunQueuedAgain, r, "is started again: "+reason)
			}
		}
	}
	return nil
}

// beginAgain is the next attempt of a run, to be launched. control is held.
func (s *Supervisor) beginAgain(ctx context.Context, r units.OpenRun) (units.Job, error) {
	last, err := s.history.lastJob(ctx, r.Unit())
	if err != nil {
		return units.Job{}, err
	}
	if err := s.Systemd.Release(ctx, r.Unit()); err != nil {
		return units.Job{}, err
	}
	job := units.Job{
		Run: r.Run, Service: r.What.ID, Action: r.What.Action.Name, Unit: r.Unit(),
		Attempt: last.Attempt + 1, Phase: units.PhasePending, Created: s.Now(),
	}
	if err := s.Store.BeginRunAgain(ctx, &job, s.machine()); err != nil {
		return units.Job{}, err
	}
	r.Boot = s.machine()
	s.runs.track(r)
	return job, nil
}

func (s *Supervisor) reportRun(code units.EventCode, r units.OpenRun, what string) {
	info, _ := code.Info()
	s.report(units.Event{
		Source: units.SourceProcessJobs, Code: code, Level: info.Level, Service: r.What.ID, Unit: r.Unit(),
		Message: fmt.Sprintf("ad-hoc run %d, %q, %s", r.Run, r.What.ID, what),
		Remedy:  "journalctl -u " + r.Unit() + "\nhero_proc job list",
	})
}

// cancelRun notes that a run was asked to end: it is not to be started again,
// whatever happens to the machine before it has.
func (s *Supervisor) cancelRun(ctx context.Context, job units.Job) {
	s.runs.cancel(job.Unit)
	if err := s.Store.CancelRun(ctx, job.Run); err != nil {
		s.Logger.Error("cannot write that a run was canceled, ignoring: its end will be", "unit", job.Unit, "error", err)
	}
}
