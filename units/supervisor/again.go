package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// startLater starts a unit in the background: that may have to wait for
// control, which the loop must not. It is for start to look again whether that
// is to be done, and to say so; asking for something else rules it out. A unit
// that was not started is decided about again: at once, or after a while if it
// could not be.
func (s *Supervisor) startLater(id units.ID, unit string, start func(context.Context) (started bool, err error)) {
	asked := s.asking(id)
	s.restarts.change(unit, func(e *restart) { e.busy, e.due = true, time.Time{} })
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, resyncTimeout)
		defer cancel()
		started := false
		unlock, err := s.lock(ctx)
		if err == nil {
			defer unlock()
			if !s.still(id, asked) {
				s.Logger.Info("a unit is not started again", "unit", unit, "reason", "something else was asked of the service since")
				s.restarts.change(unit, func(e *restart) { e.busy = false })
				return
			}
			started, err = start(ctx)
		}
		if err != nil && s.life.Err() == nil {
			s.Logger.Warn("cannot start a unit again, trying again later", "unit", unit, "error", err)
		}
		s.restarts.change(unit, func(e *restart) {
			e.busy, e.due = false, s.Now() // what came meanwhile was not decided about
			switch {
			case err != nil:
				e.due = e.due.Add(mendRetry)
			case started && e.noted:
				e.noted, e.tries = false, e.tries+1
			}
		})
	})
}

// retry starts a unit that systemd has given up, if that still is what is to be
// done. control is held.
func (s *Supervisor) retry(ctx context.Context, unit string) (started bool, err error) {
	service, i, ok := s.actionOf(unit)
	if !ok {
		return false, nil
	}
	u, err := s.Systemd.Unit(ctx, unit)
	if err != nil {
		return false, err
	}
	in, err := s.retryInput(ctx, service, i, u)
	if err != nil {
		return false, err
	}
	in.Due = in.Now
	d := plan.DecideRetry(in)
	if d.Action != plan.RetryNow {
		return false, nil
	}
	return true, s.startAgain(ctx, service, u, units.EventStartedAgain, d.Reason)
}

// comeBack starts a unit that was down because of what it requires, if that
// still is what is to be done. control is held.
func (s *Supervisor) comeBack(ctx context.Context, unit string) (started bool, err error) {
	service, i, ok := s.actionOf(unit)
	if !ok {
		return false, nil
	}
	u, err := s.Systemd.Unit(ctx, unit)
	if err != nil {
		return false, err
	}
	d, err := s.decideReturn(ctx, service, i, u, s.restarts.get(unit).job)
	if err != nil || !d.Start {
		return false, err
	}
	return true, s.startAgain(ctx, service, u, units.EventDependencyBack, d.Reason)
}

// startAgain starts one unit of a service by hero_proc's own decision, and reports it.
func (s *Supervisor) startAgain(ctx context.Context, service units.Service, u units.Unit, code units.EventCode, why string) error {
	before := s.restarts.get(u.Name).job
	s.restarts.change(u.Name, func(e *restart) { e.job = "" }) // what comes now is how this start ends
	if err := s.startGently(ctx, service, u); err != nil {
		s.restarts.change(u.Name, func(e *restart) { e.job = cmp.Or(e.job, before) })
		return err
	}
	s.reportRestart(code, service, u, fmt.Sprintf("%s was started again: %s", u.Name, why))
	return nil
}

// startGently gets in nobody's way: a job that systemd has for the unit
// meanwhile is left to be. control is held.
func (s *Supervisor) startGently(ctx context.Context, service units.Service, u units.Unit) error {
	if u.Name != service.Unit() {
		if err := s.Systemd.ResetFailed(ctx, u.Name); err != nil {
			return err
		}
		_, err := s.startUnit(ctx, u, "fail")
		return err
	}
	if err := s.loadDown(ctx, service, u); err != nil {
		return err
	}
	for k := range service.Actions {
		if err := s.Systemd.ResetFailed(ctx, service.UnitOf(k)); unreachable(err) {
			return err
		}
	}
	job, result, err := s.beginOrJoin(ctx, service, u, units.OriginBoot, "fail")
	if err != nil {
		return err
	}
	s.follow(job, result)
	return nil
}

// startUnit starts a unit. One that systemd is to start after a delay would
// have a start wait for that.
func (s *Supervisor) startUnit(ctx context.Context, u units.Unit, mode string) (<-chan string, error) {
	if u.Sub == "auto-restart" {
		return s.Systemd.Restart(ctx, u.Name, mode)
	}
	return s.Systemd.Start(ctx, u.Name, mode)
}

// resetRequired forgets the failures of what a service requires, which a start
// of it starts as well.
func (s *Supervisor) resetRequired(ctx context.Context, id units.ID) {
	g := s.graph.Load()
	seen := map[units.ID]bool{id: true}
	for next := []units.ID{id}; len(next) > 0; next = next[1:] {
		for _, dep := range g.Requires(next[0]) {
			if seen[dep] {
				continue
			}
			seen[dep] = true
			next = append(next, dep)
			if u, err := s.Systemd.Unit(ctx, dep.Unit()); err != nil || u.Active != "failed" {
				continue
			}
			if service, ok := g.Service(dep); ok {
				s.resetFailed(ctx, service)
				s.restarts.forget(allUnits(service)...)
			}
		}
	}
}

// restartTimer is the loop's timer for what is to be looked at again; it rests
// while that is nothing.
func (s *Supervisor) setRestartTimer(timer *time.Timer) {
	if at, ok := s.restarts.next(); ok {
		timer.Reset(max(0, at.Sub(s.Now())))
	} else {
		timer.Stop()
	}
}
