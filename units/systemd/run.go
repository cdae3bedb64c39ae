package systemd

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// Run runs a unit of Type=oneshot that is pinned (AddRef=) to its end, and
// gives the unit as it was then, with what it has said last. After that it is
// gone. When the context ends before, it is stopped.
func (m *Manager) Run(ctx context.Context, u transient.Unit) (ended units.Unit, said string, err error) {
	job, err := m.queue(ctx, "run "+u.Name, func(ctx context.Context, s *session) (<-chan string, error) {
		return s.jobs.queue(func() (int, error) { return s.sd.StartTransientUnitAux(ctx, u.Name, "fail", properties(u), nil, nil) })
	})
	// Also when the call has failed: it may have been too late to say so, or the
	// unit may be one that an earlier call has left.
	defer m.forget(context.WithoutCancel(ctx), u.Name)
	if err != nil {
		return ended, "", err
	}
	if _, err = await(ctx, job); err != nil {
		return ended, "", failure("run "+u.Name, err)
	}
	properties, err := m.properties(ctx, u.Name)
	if err != nil {
		return ended, "", err
	}
	return unitOf(u.Name, properties), get[string](properties, "StatusText"), nil
}

// forget stops a unit, if it runs, and takes back the pins on it.
func (m *Manager) forget(ctx context.Context, unit string) {
	err := m.call(ctx, "forget "+unit, func(ctx context.Context, s *session) error {
		if there, err := s.loaded(ctx, []string{unit}); err != nil || len(there) == 0 {
			return err
		} else if there[0].Active == "activating" || there[0].JobID != 0 {
			if _, err := s.stop(ctx, unit, "replace"); err != nil {
				return err
			}
		}
		return s.unpin(ctx, unit)
	})
	if err != nil {
		m.log.Debug("cannot take a unit away that has run, ignoring: the next one of its name does", "unit", unit, "error", err)
	}
}
