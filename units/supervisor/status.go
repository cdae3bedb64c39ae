package supervisor

import (
	"context"
	"maps"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// Health is what the supervisor says of itself, with the services that were read.
func (s *Supervisor) Health(services []units.Status) units.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := units.Health{
		Version: s.Version, Systemd: s.Systemd.Version(), Started: s.started, Ready: s.ready.Load(),
		HeroDB: s.heroDB, HeroDBReason: s.heroDBReason, LogsDropped: s.Queue.Dropped(),
		Services: map[units.State]int{}, Probes: s.checks.count(),
	}
	for _, st := range services {
		h.Services[st.State]++
	}
	return h
}

// Services reads all services at once, from one listing of systemd's. Where
// the listing shows that something is wrong, the unit is read in full. Those
// who ask at the same time share one reading: nobody can keep systemd busy by
// asking often.
func (s *Supervisor) Services(ctx context.Context) ([]units.Status, error) {
	shared := s.reading.DoChan("services", func() (any, error) {
		ctx, cancel := context.WithTimeout(s.life, readTimeout)
		defer cancel()
		return s.readServices(ctx)
	})
	select {
	case r := <-shared:
		if r.Err != nil {
			return nil, r.Err
		}
		return slices.Clone(r.Val.([]units.Status)), nil
	case <-ctx.Done():
		return nil, units.Errorf(units.CodeTimeout, "systemd has not answered: %w", context.Cause(ctx))
	}
}

// readTimeout bounds one reading that several share.
const readTimeout = 10 * time.Second

func (s *Supervisor) readServices(ctx context.Context) ([]units.Status, error) {
	g := s.graph.Load()
	loaded := map[string]units.Unit{}
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		s.Logger.Debug("cannot list the units", "error", err)
		return s.unknown(g, err), nil
	}
	for _, u := range listed {
		if u.Active == "failed" || u.Sub == "auto-restart" {
			if full, err := s.Systemd.Unit(ctx, u.Name); err == nil {
				u = full
			}
		}
		u.Digest = s.digest(u.Name)
		loaded[u.Name] = u
	}
	said := s.said(ctx, slices.Collect(maps.Values(loaded))...)
	all := make([]units.Status, 0, len(g.IDs()))
	for _, id := range g.IDs() {
		all = append(all, s.status(g, id, loaded, said))
	}
	return all, nil
}

// Status reads one service in full; as with Services, one reading is shared.
func (s *Supervisor) Status(ctx context.Context, id units.ID) (units.Status, error) {
	if err := id.Check(); err != nil {
		return units.Status{}, err
	}
	shared := s.reading.DoChan("service "+id.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(s.life, readTimeout)
		defer cancel()
		return s.readStatus(ctx, id)
	})
	select {
	case r := <-shared:
		st, _ := r.Val.(units.Status)
		return st, r.Err
	case <-ctx.Done():
		return units.Status{}, units.Errorf(units.CodeTimeout, "systemd has not answered: %w", context.Cause(ctx))
	}
}

func (s *Supervisor) readStatus(ctx context.Context, id units.ID) (units.Status, error) {
	g := s.graph.Load()
	service, ok := g.Service(id)
	if !ok {
		if _, invalid := g.Problem(id); !invalid {
			return units.Status{}, units.NoSuchService(id)
		}
	}
	names := []string{}
	for i := range service.Actions {
		names = append(names, service.UnitOf(i))
	}
	for _, dep := range g.Requires(id) {
		names = append(names, dep.Unit())
	}
	loaded := map[string]units.Unit{}
	for _, name := range names {
		u, err := s.Systemd.Unit(ctx, name)
		if err != nil {
			st := s.status(g, id, nil, nil)
			st.State, st.Reason = units.StateUnknown, "systemd could not be asked: "+err.Error()
			return st, nil
		}
		loaded[name] = u
	}
	return s.status(g, id, loaded, s.said(ctx, slices.Collect(maps.Values(loaded))...)), nil
}

// maxSaid bounds what a unit says of itself, in bytes: any program may.
const maxSaid = 1000

// said is what those of the units that may have something to explain say of
// themselves. Without it a state reads less well, and is as true.
func (s *Supervisor) said(ctx context.Context, us ...units.Unit) plan.Said {
	said := plan.Said{}
	for _, u := range us {
		if !plan.MayExplain(u) {
			continue
		}
		if text, err := s.Systemd.StatusText(ctx, u.Name); err == nil {
			said[u.Name] = units.Line(text, maxSaid)
		}
	}
	return said
}

// status puts together what the store wants and what systemd has.
func (s *Supervisor) status(g *plan.Graph, id units.ID, loaded map[string]units.Unit, said plan.Said) units.Status {
	service, ok := g.Service(id)
	problem := s.problem(id)
	st := units.Status{ID: id, Description: service.Description, Wanted: service.Wanted}
	if !ok {
		st.HealthState = units.HealthNone
		st.State, st.Unit = units.StateBlocked, units.Unit{Name: id.Unit(), Load: "not-found", Active: "inactive"}
		if problem != nil {
			st.Reason, st.Remedy = problem.Message, problem.Remedy
		}
		return st
	}
	unit := func(name string) units.Unit {
		if u, ok := loaded[name]; ok {
			return u
		}
		return units.Unit{Name: name, Load: "not-found", Active: "inactive", Sub: "dead"}
	}
	digest := g.Digest(id)
	var actions []units.Unit
	for i, a := range service.Actions {
		u := unit(service.UnitOf(i))
		actions = append(actions, u)
		st.Actions = append(st.Actions, units.ActionStatus{Name: a.Name, Unit: u})
		if u.Loaded() && u.Digest != "" && u.Digest != digest {
			st.Stale = true
		}
	}
	var down, requires []units.Unit
	for _, dep := range g.Requires(id) {
		u := unit(dep.Unit())
		requires = append(requires, u)
		if u.Active == "failed" {
			down = append(down, u)
		}
	}
	st.Unit = units.Unit{Name: id.Unit(), Load: "not-found", Active: "inactive", Sub: "dead"}
	if p := service.Primary(); p >= 0 {
		st.Unit = actions[p]
	}
	st.Health = s.checks.health(service)
	st.HealthState = units.WorstHealth(st.Health)
	reading := plan.WithHealth(plan.Read(service, actions, down, problem, said), service, st.Health)
	awaits := s.restarts.get(st.Unit.Name).job == plan.JobDependency && !s.restarts.isHalted(id)
	reading, direct := plan.Awaiting(reading, service, requires, awaits, said), reading.State
	if queued, ok := plan.Queued(service, actions, requires, said); ok {
		reading = queued
	}
	st.State, st.Reason, st.Remedy = reading.State, reading.Reason, reading.Remedy
	switch {
	case reading.State == units.StateFailed, reading.State == units.StateBlocked && (len(down) > 0 || direct == units.StateInactive):
		if st.Intends = s.intends(st.Unit.Name); st.Intends != "" {
			st.Reason += "; " + st.Intends
		}
	case reading.State == units.StateInactive && !s.restarts.isHalted(id):
		st.Intends = s.intends(st.Unit.Name)
	}
	return st
}

// unknown is every service when systemd can't be asked.
func (s *Supervisor) unknown(g *plan.Graph, err error) []units.Status {
	var all []units.Status
	for _, id := range g.IDs() {
		st := s.status(g, id, nil, nil)
		st.State, st.Reason, st.Remedy = units.StateUnknown, "systemd could not be asked: "+err.Error(), ""
		all = append(all, st)
	}
	return all
}

func (s *Supervisor) digest(unit string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digests[unit]
}

// Definition is what is registered.
func (s *Supervisor) Definition(ctx context.Context, id units.ID) (units.Service, error) {
	if err := id.Check(); err != nil {
		return units.Service{}, err
	}
	g := s.graph.Load()
	service, ok := g.Service(id)
	if !ok {
		if p, invalid := g.Problem(id); invalid {
			return service, &units.Error{Code: units.CodeInvalidDefinition, Message: p.Message, Remedy: p.Remedy}
		}
		return service, units.NoSuchService(id)
	}
	return service, nil
}

// Logs reads the supervisor's own events.
func (s *Supervisor) Logs(ctx context.Context, f units.LogFilter) ([]units.LogEntry, error) {
	return s.Store.Logs(ctx, f)
}

// PruneLogs deletes what the filter selects, and answers how many that were.
func (s *Supervisor) PruneLogs(ctx context.Context, f units.LogFilter) (int64, error) {
	// What was said before the call is to be there for it.
	if err := s.Queue.Flush(ctx); err != nil {
		s.Logger.Warn("cannot write the log before it is pruned, ignoring", "error", err)
	}
	return s.Store.PruneLogs(ctx, f)
}
