package systemd

import (
	"context"
	"slices"
	"strings"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

const jobDone = "done"

// Make makes all units of the set, or none, and starts its main unit, which the
// context bounds. A main unit that is a slice is only there to make the others:
// nobody waits for it, and it is stopped again, in the background.
//
// Units that are there already can't be made (UnitExists); see Unload.
func (m *Manager) Make(ctx context.Context, set transient.Set) error {
	return m.call(ctx, "make "+set.Main.Name, func(ctx context.Context, s *session) error {
		set, keepers := s.keptTogether(set)
		return s.makeAll(ctx, set, keepers)
	})
}

// makeAll makes a set; keepers are those that are in it.
func (s *session) makeAll(ctx context.Context, set transient.Set, keepers []keeper) error {
	all := append([]transient.Unit{set.Main}, set.Aux...)
	names := make([]string, len(all))
	for i, u := range all {
		names[i] = u.Name
	}
	aux := make([]sddbus.PropertyCollection, len(set.Aux))
	for i, u := range set.Aux {
		aux[i] = sddbus.PropertyCollection{Name: u.Name, Properties: properties(u)}
	}
	main := set.Main.Name
	job, err := s.jobs.queue(func() (int, error) {
		return s.sd.StartTransientUnitAux(ctx, main, "fail", properties(set.Main), aux, nil)
	})
	if err != nil {
		if codeOf(err) == units.CodeRefused {
			s.undo(ctx, names)
		}
		return err
	}
	s.pins.made(all)
	s.pins.keep(keepers, func(string) bool { return true })
	if strings.HasSuffix(main, ".slice") {
		go s.discard(main, job)
		return nil
	}
	result, err := await(ctx, job)
	if err == nil && result != jobDone {
		err = units.Errorf(units.CodeStartFailed, "cannot start %s: systemd's result of the job is %q", main, result)
	}
	return err
}

// patterns select units of those names, and maybe others: systemd compares each
// unit with each pattern, so that one for all is much faster than many names.
func patterns(names []string) []string {
	if len(names) <= fewUnits {
		return names
	}
	list := []string{units.UnitPattern}
	for _, name := range names {
		if _, ok := units.ParseUnit(name); !ok {
			list = append(list, name)
		}
	}
	return list
}

// fewUnits is up to how many units are named one by one.
const fewUnits = 16

// undo takes away what a refused set has left. systemd makes its units one
// after the other, and forgets those that it had made when it came to the
// wrong one, but not if they are pinned (AddRef=) or others name them. What we
// have had before is pinned, and stays.
func (s *session) undo(ctx context.Context, names []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	made := slices.DeleteFunc(slices.Clone(names), s.pins.has)
	if err := s.unload(ctx, made); err != nil {
		s.log.Debug("cannot take away what a refused set has left, ignoring", "set", names[0], "error", err)
	}
}

func properties(u transient.Unit) []sddbus.Property {
	list := make([]sddbus.Property, len(u.Properties))
	for i, p := range u.Properties {
		if fd, ok := p.Value.(transient.FD); ok {
			p.Value = dbus.UnixFD(fd)
		}
		list[i] = sddbus.Property{Name: p.Name, Value: dbus.MakeVariant(p.Value)}
	}
	return list
}

// discardTimeout bounds the end of a slice that has made others: systemd may
// have thousands of them to start first.
const discardTimeout = 10 * time.Minute

// discard stops a unit once its start is over.
func (s *session) discard(name string, start <-chan string) {
	ctx, cancel := context.WithTimeout(s.conn.Context(), discardTimeout)
	defer cancel()
	_, err := await(ctx, start)
	if err == nil {
		_, err = s.stop(ctx, name, "replace")
	}
	if err != nil {
		s.log.Debug("cannot stop "+name+", ignoring", "error", err)
	}
}

func await(ctx context.Context, job <-chan string) (string, error) {
	select {
	case result, ok := <-job:
		if !ok {
			return "", errNoConnection
		}
		return result, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Start queues the start of a unit; mode is as in systemctl(1), --job-mode=.
// The channel gets the job's result (done, canceled, timeout, failed,
// dependency, skipped, …) and is closed. It is closed without a result when
// the connection breaks; the job goes on all the same.
func (m *Manager) Start(ctx context.Context, unit, mode string) (<-chan string, error) {
	return m.queue(ctx, "start "+unit, func(ctx context.Context, s *session) (<-chan string, error) {
		return s.jobs.queue(func() (int, error) { return s.sd.StartUnitContext(ctx, unit, mode, nil) })
	})
}

// Stop queues the stop of a unit, as Start does its start. Stopping what
// isn't there is done at once.
func (m *Manager) Stop(ctx context.Context, unit, mode string) (<-chan string, error) {
	return m.queue(ctx, "stop "+unit, func(ctx context.Context, s *session) (<-chan string, error) {
		return s.stop(ctx, unit, mode)
	})
}

// Restart queues a stop, if the unit is up, and a start, as Start does.
func (m *Manager) Restart(ctx context.Context, unit, mode string) (<-chan string, error) {
	return m.queue(ctx, "restart "+unit, func(ctx context.Context, s *session) (<-chan string, error) {
		return s.jobs.queue(func() (int, error) { return s.sd.RestartUnitContext(ctx, unit, mode, nil) })
	})
}

// TryRestart is Restart of a unit that is up. One that is not, is left as it
// is, and the result is done.
func (m *Manager) TryRestart(ctx context.Context, unit, mode string) (<-chan string, error) {
	return m.queue(ctx, "restart "+unit, func(ctx context.Context, s *session) (<-chan string, error) {
		return s.jobs.queue(func() (int, error) { return s.sd.TryRestartUnitContext(ctx, unit, mode, nil) })
	})
}

func (m *Manager) queue(ctx context.Context, what string, f func(context.Context, *session) (<-chan string, error)) (job <-chan string, err error) {
	err = m.call(ctx, what, func(ctx context.Context, s *session) (err error) {
		job, err = f(ctx, s)
		return err
	})
	return job, err
}

func (s *session) stop(ctx context.Context, unit, mode string) (<-chan string, error) {
	job, err := s.jobs.queue(func() (int, error) { return s.sd.StopUnitContext(ctx, unit, mode, nil) })
	if isDBus(err, noSuchUnit) {
		return resultOf(jobDone), nil
	}
	return job, err
}

// Pin keeps a loaded unit loaded, whether it runs or not, until Unpin or the
// end of the connection.
func (m *Manager) Pin(ctx context.Context, unit string) error {
	return m.call(ctx, "pin "+unit, func(ctx context.Context, s *session) error {
		return s.pin(ctx, unit)
	})
}

// Unpin takes back every pin on a unit: systemd counts them, and AddRef= is
// one too. A unit that isn't pinned, or isn't there, is none the worse for it.
func (m *Manager) Unpin(ctx context.Context, unit string) error {
	return m.call(ctx, "unpin "+unit, func(ctx context.Context, s *session) error {
		return s.unpin(ctx, unit)
	})
}

// ResetFailed makes a failed unit inactive and forgets its start limit. A
// unit that isn't there has nothing to forget.
func (m *Manager) ResetFailed(ctx context.Context, unit string) error {
	return m.call(ctx, "reset "+unit, func(ctx context.Context, s *session) error {
		return s.resetFailed(ctx, unit)
	})
}
