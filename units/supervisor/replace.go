package supervisor

import (
	"context"
	"errors"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// busRetry is how often what needs the bus is tried again while it is away.
const busRetry = 100 * time.Millisecond

var (
	errConnectionLost = errors.New("the connection to systemd was lost")
	errOverruled      = units.Errorf(units.CodeCanceled, "something else was asked of the service meanwhile")
)

// replace restarts a service whose definition has changed. systemd takes the
// new one only when the unit is down, and stopping it stops what requires it,
// so that is started again afterwards. asked is the request's number: a later
// one has the last word.
func (s *Supervisor) replace(service units.Service, job units.Job, asked uint64) {
	ctx, cancel := context.WithTimeout(s.life, jobTimeout)
	defer cancel()
	var again []units.ID
	for _, id := range s.graph.Load().StopsWith(service.ID) {
		if u, err := s.Systemd.Unit(ctx, id.Unit()); err == nil && u.Alive() {
			again = append(again, id)
		}
	}
	var result <-chan string
	err := s.throughBusLoss(ctx, func() error { return s.stopAndWait(ctx, service.ID) })
	if err == nil {
		err = s.throughBusLoss(ctx, func() (err error) {
			result, err = s.startReplaced(ctx, service.ID, asked)
			return err
		})
	}
	s.history.letGo(job.ID)
	switch {
	case errors.Is(err, errOverruled):
		s.history.end(ctx, job, units.PhaseCanceled, "overruled")
		return
	case err != nil:
		s.Logger.Error("cannot restart a service", "service", service.ID, "error", err)
		_ = s.notStarted(ctx, job, err) // nobody waits for it
		if ctx.Err() == nil && !unreachable(err) {
			s.refuse(ctx, service.ID, err)
		}
	default:
		s.finish(ctx, job, result)
	}
	for _, id := range again {
		err := s.throughBusLoss(ctx, func() error {
			_, err := s.Systemd.Start(ctx, id.Unit(), "fail")
			return err
		})
		if err != nil {
			s.Logger.Error("cannot start a service again that was stopped with the one that it requires", "service", id, "requires", service.ID, "error", err)
		}
	}
}

// throughBusLoss does something again for as long as systemd can't be reached.
func (s *Supervisor) throughBusLoss(ctx context.Context, do func() error) error {
	for {
		err := do()
		if units.CodeOf(err) != units.CodeUnavailable {
			return err
		}
		select {
		case <-time.After(busRetry):
		case <-ctx.Done():
			return err
		}
	}
}

// startReplaced loads and starts the definition that the service has now, if
// nothing else was asked of it meanwhile.
func (s *Supervisor) startReplaced(ctx context.Context, id units.ID, asked uint64) (<-chan string, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if !s.still(id, asked) {
		return nil, errOverruled
	}
	service, err := s.startable(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.reload(ctx, service); err != nil {
		return nil, err
	}
	return s.Systemd.Start(ctx, service.Unit(), "replace")
}

// unitsNotDown are the units of a service that are alive or on their way down,
// those of its older definitions too.
func (s *Supervisor) unitsNotDown(ctx context.Context, id units.ID) ([]string, error) {
	listed, err := s.Systemd.UnitsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range listed {
		if u.Alive() || u.Active == "deactivating" || u.JobID != 0 {
			names = append(names, u.Name)
		}
	}
	return names, nil
}

// stopAndWait stops all units of a service and waits until systemd has done so.
func (s *Supervisor) stopAndWait(ctx context.Context, id units.ID) error {
	names, err := s.unitsNotDown(ctx, id)
	if err != nil {
		return err
	}
	waits := make([]<-chan string, len(names))
	for i, name := range names {
		s.history.setStopping(name)
		if waits[i], err = s.Systemd.Stop(ctx, name, "replace"); err != nil {
			return err
		}
	}
	for i, name := range names {
		select {
		case result, ok := <-waits[i]:
			if ok && result != "done" {
				return units.Errorf(units.CodeRefused, "cannot stop %s: systemd's result is %s", name, result)
			}
			if !ok {
				return units.Errorf(units.CodeUnavailable, "cannot tell whether %s was stopped: %w", name, errConnectionLost)
			}
		case <-ctx.Done():
			return units.Errorf(units.CodeTimeout, "%s is still stopping: %w", name, context.Cause(ctx))
		}
		// What follows may take the unit away, and with it how it ended.
		u, err := s.Systemd.Unit(ctx, name)
		if err != nil {
			return err
		}
		_ = s.history.observe(ctx, u)
	}
	return nil
}
