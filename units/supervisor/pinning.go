package supervisor

import (
	"context"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

const (
	// pinPatience is how long pinning waits for a supervisor that is not ready
	// yet: longer than one whose hero_db is up takes with a thousand services.
	pinPatience = 500 * time.Millisecond
	// pinRetry is when what could not be pinned is tried again, and then after
	// twice as long each time, up to pinRetryMax.
	pinRetry, pinRetryMax = 100 * time.Millisecond, time.Minute
)

// pinLater pins what runs, all of it together, once the supervisor is ready, or
// is long about it. Nothing waits for it: a unit that runs stays loaded by itself.
// One that is stopped before that by others than hero_proc is gone for a moment.
func (s *Supervisor) pinLater(names []string) {
	if len(names) == 0 {
		return
	}
	s.tasks.Go(func() {
		select {
		case <-s.up:
		case <-time.After(pinPatience):
		case <-s.life.Done():
			return
		}
		for wait := pinRetry; ; wait = min(2*wait, pinRetryMax) {
			err := s.pinNow(names)
			if err == nil {
				return
			}
			s.Logger.Warn("cannot pin the units that run, trying again: one that ends until then can't be started by systemctl", "error", err)
			select {
			case <-time.After(wait):
			case <-s.life.Done():
				return
			}
		}
	})
}

// pinNow pins units, and loads those again that have gone.
func (s *Supervisor) pinNow(names []string) error {
	ctx, cancel := context.WithTimeout(s.life, resyncTimeout)
	defer cancel()
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// Some may have been removed since.
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, _, ok := s.actionOf(name)
		return !ok
	})
	if err := s.Systemd.PinAll(ctx, names); err != nil {
		return err
	}
	return s.loadGone(ctx, names)
}

// stopUnit asks systemd to stop a unit, which stays loaded when it is down, so
// that it can be started again.
func (s *Supervisor) stopUnit(ctx context.Context, name string) (<-chan string, error) {
	if err := s.pin(ctx, []string{name}); unreachable(err) {
		return nil, err
	}
	s.history.setStopping(name)
	return s.Systemd.Stop(ctx, name, "replace")
}

// loadDown has a service that is down, as u says, loaded as it is registered. It
// may have an older definition, or be gone, as it ended before it was pinned: then
// all of its units are, as they name each other. control is held.
func (s *Supervisor) loadDown(ctx context.Context, service units.Service, u units.Unit) error {
	if u.Active != "inactive" && u.Active != "failed" || s.current(service) && u.Loaded() {
		return nil
	}
	return s.reload(ctx, service)
}

// loadGone loads those of the units again that ended, and so went, before they
// were pinned. control is held.
func (s *Supervisor) loadGone(ctx context.Context, names []string) error {
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		return err
	}
	loaded := make(map[string]units.Unit, len(listed))
	for _, u := range listed {
		u.Digest = s.digest(u.Name)
		loaded[u.Name] = u
	}
	gone := map[units.ID]bool{}
	for _, name := range names {
		if ref, ok := units.ParseUnit(name); ok && !loaded[name].Loaded() {
			gone[ref.ID] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	steps := plan.Boot(s.graph.Load(), loaded, func(units.ID) bool { return false })
	return s.load(ctx, slices.DeleteFunc(steps, func(step plan.BootStep) bool { return !gone[step.Service.ID] }), loaded)
}
