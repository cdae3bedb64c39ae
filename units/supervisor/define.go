package supervisor

import (
	"context"
	"errors"
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
	s.control.Lock()
	defer s.control.Unlock()
	next, err := s.define(def, merge)
	if err != nil {
		return err
	}
	if err := s.probe(ctx, next); err != nil {
		return err
	}
	_, err = s.Store.UpdateService(ctx, next.ID, func(*units.Service) (units.Service, error) { return next, nil })
	if err != nil {
		return err
	}
	if err := s.reread(ctx); err != nil {
		return err
	}
	s.Logger.Info("service set", "service", next.ID, "wanted", next.Wanted)
	loaded, alive, err := s.unitsOf(ctx, next)
	if err != nil || alive {
		return err
	}
	if loaded && next.Wanted != units.WantedSpec && s.current(next) {
		return nil
	}
	return s.reload(ctx, next)
}

// define is the definition that the call asks for.
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
	us := transient.Service(service, s.Systemd.Version())
	names := make([]string, len(us))
	for i := range us {
		s.makes++
		us[i].Name = fmt.Sprintf("hero_proc_check%d_%d.service", s.started.UnixNano(), s.makes)
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

// unitsOf says whether any of the service's units is loaded, and whether any
// is alive or on its way down.
func (s *Supervisor) unitsOf(ctx context.Context, service units.Service) (loaded, alive bool, err error) {
	for i := range service.Actions {
		u, err := s.Systemd.Unit(ctx, service.UnitOf(i))
		if err != nil {
			return false, false, err
		}
		loaded = loaded || u.Loaded()
		alive = alive || u.Alive() || u.Active == "deactivating"
	}
	return loaded, alive, nil
}

// current says whether all units of the service are loaded with its definition.
func (s *Supervisor) current(service units.Service) bool {
	digest := service.Digest()
	for i := range service.Actions {
		if s.digest(service.UnitOf(i)) != digest {
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
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, u := range listed {
		if ref, ok := units.ParseUnit(u.Name); ok && ref.ID == id && ref.Run == 0 {
			names = append(names, u.Name)
		}
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
	service, valid := s.graph.Load().Service(id)
	if valid {
		_, alive, err := s.unitsOf(ctx, service)
		switch {
		case err != nil:
			return err
		case alive && !stop:
			return units.Errorf(units.CodeInUse, "service %q is running", id).
				WithRemedy("hero_proc service remove --stop " + id.String())
		case alive:
			if err := s.stopAndWait(ctx, service); err != nil {
				return err
			}
		}
	}
	s.control.Lock()
	defer s.control.Unlock()
	// Things may have changed while it was stopping.
	if err := s.removable(id); err != nil {
		return err
	}
	if err := s.Store.RemoveService(ctx, id); err != nil {
		return err
	}
	if err := s.reread(ctx); err != nil {
		return err
	}
	s.Logger.Info("service removed", "service", id)
	return s.unload(ctx, id)
}

func (s *Supervisor) removable(id units.ID) error {
	g := s.graph.Load()
	_, valid := g.Service(id)
	if _, broken := g.Problem(id); !valid && !broken {
		return units.NoSuchService(id)
	}
	var names []string
	for _, by := range g.RequiredBy(id) {
		if by != id {
			names = append(names, by.String())
		}
	}
	if len(names) > 0 {
		return units.Errorf(units.CodeInUse, "service %q is required by %s", id, strings.Join(names, ", ")).
			WithRemedy("hero_proc service remove " + strings.Join(names, " "))
	}
	return nil
}

// stopAndWait stops a service and waits until systemd has done so.
func (s *Supervisor) stopAndWait(ctx context.Context, service units.Service) error {
	for i := range service.Actions {
		name := service.UnitOf(i)
		s.history.setStopping(name)
		done, err := s.Systemd.Stop(ctx, name, "replace")
		if err != nil {
			return err
		}
		select {
		case result, ok := <-done:
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
		if err := s.history.observe(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

var errConnectionLost = errors.New("the connection to systemd was lost")
