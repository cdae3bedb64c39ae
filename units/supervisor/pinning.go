package supervisor

import (
	"context"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// pinPatience is how long pinning waits for a supervisor that is not ready yet.
const pinPatience = time.Second

// pinLater pins what runs, all of it together, once the supervisor is ready, or
// is long about it. Nothing waits for it: a unit that runs stays loaded by itself.
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
		ctx, cancel := context.WithTimeout(s.life, resyncTimeout)
		defer cancel()
		unlock, err := s.lock(ctx)
		if err == nil {
			defer unlock()
			err = s.Systemd.PinAll(ctx, names)
		}
		if err == nil {
			err = s.loadGone(ctx, names)
		}
		if err != nil && s.life.Err() == nil {
			s.Logger.Warn("cannot pin the units that run, ignoring: they are loaded again when the connection to systemd is lost and comes back", "error", err)
		}
	})
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
