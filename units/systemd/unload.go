package systemd

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Unload takes transient units away, so that they can be made anew. It
// refuses, and changes nothing, when one of them is up or on its way
// ([units.CodeInUse]). One that isn't there is fine.
//
// systemd forgets a unit that nobody refers to. A unit that another loaded
// one names in a dependency stays, pinned or not; such a one is taken away by
// removing the file that systemd wrote for it, and a daemon-reload. The other
// units run on meanwhile, and keep their dependency.
func (m *Manager) Unload(ctx context.Context, names ...string) error {
	return m.call(ctx, "unload "+strings.Join(names, ", "), func(ctx context.Context, s *session) error {
		return s.unload(ctx, names)
	})
}

func (s *session) unload(ctx context.Context, names []string) error {
	there, err := s.loaded(ctx, names)
	if err != nil {
		return err
	}
	if err := allDown(there); err != nil {
		return err
	}
	for _, u := range there {
		if err := s.resetFailed(ctx, u.Name); err != nil {
			return err
		}
		if err := s.unpin(ctx, u.Name); err != nil {
			return err
		}
	}
	if there, err = s.loaded(ctx, names); err != nil || len(there) == 0 {
		return err
	}
	// Somebody may have started one of them meanwhile, and without its file it
	// would be lost to systemd.
	if err := allDown(there); err != nil {
		for _, u := range there {
			if e := s.pin(ctx, u.Name); e != nil {
				s.log.Debug("cannot pin a unit that was started, ignoring: it is loaded anew if it goes", "unit", u.Name, "error", e)
			}
		}
		return err
	}
	// One that is not ours is no reason to leave the others. Without a change
	// systemd has nothing to read again, and whoever listens would.
	var errs []error
	for _, u := range there {
		if err := s.removeFile(ctx, u.Name); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < len(there) {
		errs = append(errs, s.sd.ReloadContext(ctx))
	}
	return errors.Join(errs...)
}

func allDown(us []units.Unit) error {
	for _, u := range us {
		if u.Active != "inactive" && u.Active != "failed" || u.JobID != 0 {
			return units.Errorf(units.CodeInUse, "cannot unload %s: it is %s", u.Name, u.Active).
				WithRemedy("systemctl stop " + u.Name)
		}
	}
	return nil
}

// loaded lists those of the units that have a definition.
func (s *session) loaded(ctx context.Context, names []string) ([]units.Unit, error) {
	if len(names) == 0 {
		return nil, nil // systemd takes that for all
	}
	list, err := s.list(ctx, nil, names)
	return slices.DeleteFunc(list, func(u units.Unit) bool { return !u.Loaded() }), err
}

// removeFile removes the definition of a transient unit, and no other's.
func (s *session) removeFile(ctx context.Context, name string) error {
	properties, err := s.all(ctx, name)
	if err != nil {
		return err
	}
	file := get[string](properties, "FragmentPath")
	if !get[bool](properties, "Transient") {
		return units.Errorf(units.CodeRefused, "cannot unload %s: it is no transient unit, %s defines it", name, file)
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return units.Errorf(units.CodeInternal, "cannot unload %s, which another unit refers to: %w", name, err)
	}
	return nil
}

func (s *session) resetFailed(ctx context.Context, unit string) error {
	err := s.sd.ResetFailedUnitContext(ctx, unit)
	if isDBus(err, noSuchUnit) {
		return nil
	}
	return err
}
