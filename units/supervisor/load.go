package supervisor

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// setSize is how many services are loaded with one call, and setsAtOnce how many
// of these calls are under way: while systemd makes the units of one, the next
// is put together.
const setSize, setsAtOnce = 512, 2

// loadAll loads the services of the steps. With atOnce it starts them, too, if one
// call loads all of them: begun are the units, which is all that the steps start.
func (s *Supervisor) loadAll(ctx context.Context, missing []plan.BootStep, atOnce bool) (begun []string, err error) {
	if len(missing) <= setSize {
		var starts []string
		if atOnce {
			starts = started(missing)
		}
		return s.loadSet(ctx, missing, starts)
	}
	sets, ctx := errgroup.WithContext(ctx)
	sets.SetLimit(setsAtOnce)
	for set := range slices.Chunk(missing, setSize) {
		sets.Go(func() error {
			_, err := s.loadSet(ctx, set, nil)
			return err
		})
	}
	return nil, sets.Wait()
}

func started(steps []plan.BootStep) (starts []string) {
	for _, step := range steps {
		if step.Start {
			starts = append(starts, step.Service.Unit())
		}
	}
	return starts
}

func (s *Supervisor) loadSet(ctx context.Context, missing []plan.BootStep, starts []string) (begun []string, err error) {
	s.history.setBooting(starts)
	if err = s.make(ctx, missing, starts); err == nil || unreachable(err) {
		return starts, err
	}
	for _, unit := range starts {
		s.history.notBooting(unit)
	}
	s.Logger.Info("systemd refused to load the services in one call, loading each by itself", "error", err)
	for i, step := range missing {
		err := s.make(ctx, missing[i:i+1], nil)
		if err != nil && !unreachable(err) {
			// Something may be left of the call that was refused, which is no
			// reason to be without the service.
			if err := s.Systemd.Unload(ctx, step.Make...); unreachable(err) {
				return nil, err
			}
			err = s.make(ctx, missing[i:i+1], nil)
		}
		if unreachable(err) {
			return nil, err
		} else if err != nil {
			s.refuse(ctx, step.Service.ID, err)
		}
	}
	return nil, nil
}

// startAll starts what is wanted, all of it with one call. Should systemd refuse
// that, each is started by itself.
func (s *Supervisor) startAll(ctx context.Context, starts []string) error {
	s.history.setBooting(starts)
	err := s.make(ctx, nil, starts)
	if err == nil && len(starts) > 0 {
		// systemd answers once it has begun with all of it, and is quicker at that
		// when nobody reads what its signals mark meanwhile.
		if _, err := s.Systemd.Broken(ctx); err != nil {
			s.Logger.Debug("cannot wait for systemd, ignoring: it has taken what it is to start", "error", err)
		}
	}
	if err == nil || unreachable(err) {
		return err
	}
	s.Logger.Info("systemd refused to start the services in one call, starting each by itself", "error", err)
	for _, unit := range starts {
		if _, err := s.Systemd.Start(ctx, unit, "fail"); unreachable(err) {
			return err
		} else if err != nil {
			s.history.notBooting(unit)
			s.reportStep(units.SourceAutostart, err)
		}
	}
	return nil
}

// notBlocked are the units of those that the steps start and that can be, and
// reports the others. systemd would start them: it refuses a unit that requires one
// which it can't use, but not where it is pulled in by a Wants=, as here.
func (s *Supervisor) notBlocked(steps []plan.BootStep, unusable map[units.ID]plan.Problem) (starts []string) {
	for _, step := range steps {
		id := step.Service.ID
		if !step.Start {
			continue
		}
		_, blocked := unusable[id]
		p := s.problem(id)
		if p == nil {
			p = s.graph.Load().Behind(id, unusable)
		}
		switch {
		case p == nil && !blocked:
			starts = append(starts, step.Service.Unit())
		case p != nil && p.Code == units.EventDependencyFailed: // its own were reported
			s.reportProblem(id, *p)
		}
	}
	return starts
}
