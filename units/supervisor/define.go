package supervisor

import (
	"context"
	"fmt"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// Set registers a service, or changes it: def is the whole definition, or
// with merge only what is to be changed. systemd is asked first whether it
// takes the definition; when it doesn't, nothing has changed. A unit that runs
// keeps its old definition until it is restarted.
func (s *Supervisor) Set(ctx context.Context, def map[string]any, merge bool) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	next, err := s.define(def, merge)
	if err != nil {
		return err
	}
	if err := s.probe(ctx, next); err != nil {
		return err
	}
	if err := s.generate(ctx, next); err != nil {
		return err
	}
	next, err = s.Store.UpdateService(ctx, next.ID, func(*units.Service) (units.Service, error) { return next, nil })
	if err != nil {
		return err
	}
	s.rows[next.ID] = units.Registered{Service: next, Digest: next.Digest()}
	s.redraw()
	s.Logger.Info("service set", "service", next.ID, "wanted", next.Wanted)
	alive, err := s.unitsNotDown(ctx, next.ID)
	switch {
	case err != nil || s.current(next) && next.Wanted != units.WantedSpec:
		return err
	case len(alive) > 0:
		return s.retryWith(ctx, next)
	}
	return s.reload(ctx, next)
}

// retryWith gives a service that systemd keeps starting in vain its new
// definition at once: the old one is what is wrong with it. One that runs is
// left as it is.
func (s *Supervisor) retryWith(ctx context.Context, service units.Service) error {
	u, err := s.readSettled(ctx, service.Unit())
	if err != nil || u.Sub != "auto-restart" || service.Wanted == units.WantedSpec {
		return err
	}
	job, asked := s.history.beginHeld(ctx, service, units.OriginAPI), s.ask(service.ID)
	s.tasks.Go(func() { s.replace(service, job, asked) })
	return nil
}

// define is the definition that the call asks for. control is held, and the
// daemon is the store's only writer, so what is known of it is what it has.
func (s *Supervisor) define(def map[string]any, merge bool) (units.Service, error) {
	id := units.ID{Context: units.DefaultContext}
	if v, ok := def["context"].(string); ok {
		id.Context = v
	}
	// A name that is none is for DecodeService to refuse.
	id.Name, _ = def["name"].(string)
	if old, ok := s.graph.Load().Service(id); ok && merge {
		return units.MergeService(old, def)
	}
	return units.DecodeService(def)
}

// probe has systemd check a definition, under names that no service can have,
// and takes the units away again.
func (s *Supervisor) probe(ctx context.Context, service units.Service) error {
	if service.Wanted == units.WantedSpec {
		return nil
	}
	us := s.unitsFor(service, service.Digest())
	names := make([]string, len(us))
	for i := range us {
		us[i].Name = fmt.Sprintf("hero_proc_check%d_%d.service", s.started.UnixNano(), s.makes.Add(1))
		names[i] = us[i].Name
	}
	if err := s.Systemd.Make(ctx, transient.BootSet(s.setName(), us, nil)); err != nil {
		if units.CodeOf(err) != units.CodeRefused {
			return err
		}
		return &units.Error{Code: units.CodeInvalidDefinition, Err: err,
			Message: fmt.Sprintf("systemd does not take the definition of service %q: %v", service.ID, err)}
	}
	if err := s.Systemd.Unload(ctx, names...); err != nil {
		s.Logger.Warn("cannot unload the units of a check, ignoring", "service", service.ID, "error", err)
	}
	return nil
}

// current says whether all units of the service are loaded with its definition.
func (s *Supervisor) current(service units.Service) bool {
	digest := service.Digest()
	for _, name := range allUnits(service) {
		if s.digest(name) != digest {
			return false
		}
	}
	return true
}

// reload takes the units of a service that isn't alive away, those of its
// older definitions too, and loads the one that it has now. control is held.
func (s *Supervisor) reload(ctx context.Context, service units.Service) error {
	if err := s.unload(ctx, service.ID); err != nil {
		return err
	}
	if service.Wanted == units.WantedSpec {
		return nil
	}
	return s.make(ctx, []plan.BootStep{{Service: service, Make: allUnits(service)}}, nil)
}

// unload takes away every unit of a service, none of which is alive.
func (s *Supervisor) unload(ctx context.Context, id units.ID) error {
	listed, err := s.Systemd.UnitsOf(ctx, id)
	if err != nil {
		return err
	}
	names := make([]string, len(listed))
	for i, u := range listed {
		names[i] = u.Name
	}
	if len(names) == 0 {
		return nil
	}
	if err := s.Systemd.Unload(ctx, names...); err != nil {
		return fmt.Errorf("cannot unload the units of service %q: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		delete(s.digests, name)
	}
	delete(s.refused, id)
	return nil
}

// Remove takes a service out of the store and its units out of systemd. One
// that runs is refused unless stop says to stop it first; one that others
// require is refused.
func (s *Supervisor) Remove(ctx context.Context, id units.ID, stop bool) error {
	if err := id.Check(); err != nil {
		return err
	}
	if err := s.removable(id); err != nil {
		return err
	}
	unlock, err := s.lockStopped(ctx, id, stop)
	if err != nil {
		return err
	}
	defer unlock()
	// Things may have changed while it was stopping.
	if err := s.removable(id); err != nil {
		return err
	}
	s.ask(id)
	if err := s.Store.RemoveService(ctx, id); err != nil {
		return err
	}
	delete(s.rows, id)
	s.restarts.halt(id, false)
	s.redraw()
	s.Logger.Info("service removed", "service", id)
	return s.unload(ctx, id)
}

// lockStopped takes control while nothing of the service is alive; with stop,
// it stops what is.
func (s *Supervisor) lockStopped(ctx context.Context, id units.ID, stop bool) (unlock func(), err error) {
	for {
		if stop {
			s.ask(id)
			if err := s.stopAndWait(ctx, id); err != nil {
				return nil, err
			}
		}
		if unlock, err = s.lock(ctx); err != nil {
			return nil, err
		}
		alive, err := s.unitsNotDown(ctx, id)
		if err == nil && len(alive) == 0 {
			return unlock, nil
		}
		unlock()
		switch {
		case err != nil:
			return nil, err
		case !stop:
			return nil, units.Errorf(units.CodeInUse, "service %q is running", id).
				WithRemedy("hero_proc service remove --stop " + id.String())
		}
	}
}

func (s *Supervisor) removable(id units.ID) error {
	g := s.graph.Load()
	_, valid := g.Service(id)
	if _, broken := g.Problem(id); !valid && !broken {
		return units.NoSuchService(id)
	}
	var names, remedy []string
	for _, by := range g.RequiredBy(id) {
		if by != id {
			names = append(names, by.String())
			remedy = append(remedy, g.Without(by, func(dep units.ID) bool { return dep == id }))
		}
	}
	if len(names) > 0 {
		return units.Errorf(units.CodeInUse, "service %q is required by %s", id, strings.Join(names, ", ")).
			WithRemedy(strings.Join(remedy, "\n"))
	}
	return nil
}
