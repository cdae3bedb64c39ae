package systemd

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// StartTransient makes one unit and queues its start; the channel is that of
// [Manager.Start]. File descriptors among its properties are systemd's own
// copies from then on.
func (m *Manager) StartTransient(ctx context.Context, u transient.Unit) (<-chan string, error) {
	return m.queue(ctx, "start "+u.Name, func(ctx context.Context, s *session) (<-chan string, error) {
		job, err := s.jobs.queue(func() (int, error) {
			return s.sd.StartTransientUnitAux(ctx, u.Name, "fail", properties(u), nil, nil)
		})
		switch {
		case isDBus(err, systemdName+".UnitExists"):
			return nil, err // somebody else's
		case err != nil && codeOf(err) == units.CodeRefused:
			s.undo(ctx, []string{u.Name})
			return nil, err
		case err != nil:
			return nil, err
		}
		s.pins.made([]transient.Unit{u})
		return job, nil
	})
}

// Release forgets a unit that has ended: its failure, and every pin on it. It
// is unloaded, unless somebody else refers to it. One that isn't there is fine.
func (m *Manager) Release(ctx context.Context, unit string) error {
	return m.call(ctx, "release "+unit, func(ctx context.Context, s *session) error {
		if err := s.resetFailed(ctx, unit); err != nil {
			return err
		}
		return s.unpin(ctx, unit)
	})
}
