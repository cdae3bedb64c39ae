package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// boot brings up what is wanted. Nothing in it can stop it: each failure is
// reported, and the next step is taken.
func (s *Supervisor) boot(ctx context.Context) {
	// Whatever was reported before READY=1 is on disk by then too.
	defer s.flush(ctx)
	for _, e := range s.Found {
		s.report(e)
	}
	s.Notify("STATUS=Looking at what runs")
	if err := s.reread(ctx); err != nil {
		// Without the store nothing is known of what should run: to say that
		// hero_db isn't registered would be a guess.
		s.setHeroDB(string(units.EventBootStepFailed), err.Error())
		s.reportStep(units.SourceHeroDB, fmt.Errorf("cannot read the registered services: %w", err))
		return
	}
	loaded, err := s.recover(ctx)
	if err != nil {
		s.reportStep(units.SourceRecovery, err)
	}
	s.Notify("STATUS=Starting the registered services")
	s.autostart(ctx, loaded)
	s.ensureHeroDB(ctx)
}

// recover reads every unit of hero_proc's, and brings the history up to date
// with them: what runs is adopted by its invocation, what has ended is closed.
func (s *Supervisor) recover(ctx context.Context) (map[string]units.Unit, error) {
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the units: %w", err)
	}
	live, err := s.Store.LiveJobs(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the live jobs: %w", err)
	}
	known := map[string]bool{}
	for _, j := range live {
		known[j.Unit] = true
	}
	loaded := make(map[string]units.Unit, len(listed))
	var seen []units.Unit
	for _, l := range listed {
		u, err := s.Systemd.Unit(ctx, l.Name)
		if err != nil {
			return loaded, fmt.Errorf("cannot read %s: %w", l.Name, err)
		}
		if !u.Loaded() {
			continue
		}
		loaded[u.Name] = u
		s.setDigest(u.Name, u.Digest)
		if known[u.Name] || s.registered(u.Name) {
			seen = append(seen, u)
		}
	}
	for _, j := range live {
		if _, ok := loaded[j.Unit]; !ok && j.InvocationID != "" {
			seen = append(seen, units.Unit{Name: j.Unit, Load: "not-found", Active: "inactive"})
		}
	}
	if err := s.history.observe(ctx, seen...); err != nil {
		return loaded, fmt.Errorf("cannot bring the history up to date: %w", err)
	}
	// A start that was asked for and never came to an activation, and that
	// systemd knows nothing of, went down with its connection.
	for _, j := range live {
		if u := loaded[j.Unit]; j.InvocationID == "" && !u.Alive() && u.JobID == 0 {
			if err := s.history.end(ctx, j.ID, units.PhaseLost, ""); err != nil {
				return loaded, fmt.Errorf("cannot close job %d: %w", j.ID, err)
			}
		}
	}
	s.Logger.Info("recovered", "units", len(loaded), "live_jobs", len(live))
	return loaded, nil
}

// registered says whether a unit is that of a registered service.
func (s *Supervisor) registered(unit string) bool {
	ref, ok := units.ParseUnit(unit)
	if !ok {
		return false
	}
	_, ok = s.graph.Load().Service(ref.ID)
	return ok
}

// autostart loads everything that is registered, and starts what is wanted.
func (s *Supervisor) autostart(ctx context.Context, loaded map[string]units.Unit) {
	g := s.graph.Load()
	for _, id := range g.Broken() {
		p, _ := g.Problem(id)
		s.reportProblem(id, p)
	}
	s.control.Lock()
	defer s.control.Unlock()
	s.load(ctx, plan.Boot(g, loaded, true), loaded)
}

// load does what the plan says: adopt, pin, and load the rest in one call to
// systemd. A set that systemd refuses is loaded service by service, so that a
// definition that it doesn't take costs only itself.
func (s *Supervisor) load(ctx context.Context, steps []plan.BootStep, loaded map[string]units.Unit) {
	var missing []plan.BootStep
	var gone, starts []string
	for _, step := range steps {
		s.Logger.Debug("boot plan", "service", step.Service.ID, "treatment", step.Treatment, "start", step.Start, "reason", step.Reason)
		if step.Start {
			starts = append(starts, step.Service.Unit())
		}
		names := loadedUnits(step.Service, loaded)
		if step.Treatment == plan.Pin && s.pin(ctx, names) != nil {
			// It was not alive, and went while we looked.
			step.Treatment, step.Make = plan.Load, allUnits(step.Service)
		}
		switch step.Treatment {
		case plan.Adopt:
			_ = s.pin(ctx, names) // said there; what runs stays loaded without
		case plan.Load:
			gone = append(gone, names...)
		case plan.Pin:
		}
		if len(step.Make) > 0 {
			missing = append(missing, step)
		}
	}
	if len(gone) > 0 {
		if err := s.Systemd.Unload(ctx, gone...); err != nil {
			s.Logger.Warn("cannot unload the units of older definitions, ignoring", "error", err)
		}
	}
	s.history.setBooting(starts)
	err := s.make(ctx, missing, starts)
	if err == nil {
		s.reportBroken(ctx, missing)
		return
	}
	if units.CodeOf(err) != units.CodeRefused {
		s.reportStep(units.SourceAutostart, fmt.Errorf("cannot load the registered services: %w", err))
		return
	}
	s.Logger.Info("systemd refused to load the services in one call, loading each by itself", "error", err)
	for _, step := range steps {
		var one []plan.BootStep
		var start []string
		if i := slices.IndexFunc(missing, func(m plan.BootStep) bool { return m.Service.ID == step.Service.ID }); i >= 0 {
			one = missing[i : i+1]
		}
		if step.Start {
			start = append(start, step.Service.Unit())
		}
		if err := s.make(ctx, one, start); err != nil {
			s.refuse(step.Service.ID, err)
		}
	}
	s.reportBroken(ctx, missing)
}

// reportBroken reports the units that systemd has made and can't use: a unit
// that is only pulled in is no reason for it to refuse the call.
func (s *Supervisor) reportBroken(ctx context.Context, made []plan.BootStep) {
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		s.reportStep(units.SourceAutostart, fmt.Errorf("cannot list the units: %w", err))
		return
	}
	broken := map[string]units.Unit{}
	for _, u := range listed {
		if u.Broken() {
			broken[u.Name] = u
		}
	}
	for _, step := range made {
		for _, name := range step.Make {
			if u, ok := broken[name]; ok {
				s.reportProblem(step.Service.ID, plan.Unusable(step.Service.ID, u))
				break
			}
		}
	}
}

func allUnits(service units.Service) []string {
	names := make([]string, len(service.Actions))
	for i := range service.Actions {
		names[i] = service.UnitOf(i)
	}
	return names
}

// loadedUnits are the names of those units of a service that systemd has.
func loadedUnits(service units.Service, loaded map[string]units.Unit) []string {
	return slices.DeleteFunc(allUnits(service), func(name string) bool { return !loaded[name].Loaded() })
}

func (s *Supervisor) pin(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := s.Systemd.Pin(ctx, name); err != nil {
			s.Logger.Warn("cannot pin a unit, ignoring: it is loaded anew if it went", "unit", name, "error", err)
			return err
		}
	}
	return nil
}

// make loads the services of the steps, and starts the units, in one call.
func (s *Supervisor) make(ctx context.Context, steps []plan.BootStep, starts []string) error {
	if len(steps) == 0 && len(starts) == 0 {
		return nil
	}
	var us []transient.Unit
	for _, step := range steps {
		for _, u := range transient.Service(step.Service, s.Systemd.Version()) {
			if slices.Contains(step.Make, u.Name) {
				us = append(us, u)
			}
		}
	}
	if err := s.Systemd.Make(ctx, transient.BootSet(s.setName(), us, starts)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, step := range steps {
		delete(s.refused, step.Service.ID)
		digest := step.Service.Digest()
		for _, name := range step.Make {
			s.digests[name] = digest
		}
	}
	return nil
}

// setName is a name for the throw-away slice that a set is made under. It has
// no dash, which would make it a part of another slice, and no context's
// slice can have it.
func (s *Supervisor) setName() string {
	s.makes++
	return fmt.Sprintf("hero_proc_load%d_%d.slice", s.started.UnixNano(), s.makes)
}

// refuse notes, and reports, that a service could not be loaded.
func (s *Supervisor) refuse(id units.ID, err error) {
	code := units.EventDefinitionRefused
	if units.CodeOf(err) != units.CodeRefused {
		code = units.EventBootStepFailed
	}
	p := plan.Problem{
		Code:    code,
		Message: fmt.Sprintf("service %q could not be loaded: %v", id, err),
		Remedy:  fmt.Sprintf("hero_proc service show %s\nhero_proc service set %s --exec 'COMMAND'", id, id),
	}
	s.mu.Lock()
	s.refused[id] = p
	s.mu.Unlock()
	s.touch(id)
	s.reportProblem(id, p)
}

func (s *Supervisor) setDigest(unit, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.digests[unit] = digest
}

// resync puts everything right after the connection to systemd was lost:
// units that were not running may be gone and every pin is. Nothing is started.
func (s *Supervisor) resync(ctx context.Context) error {
	s.control.Lock()
	defer s.control.Unlock()
	loaded, err := s.recover(ctx)
	if err != nil {
		return err
	}
	s.load(ctx, plan.Boot(s.graph.Load(), loaded, false), loaded)
	s.touched.mark(nil, nil, true)
	return nil
}

// summary is the one line that systemctl status shows.
func (s *Supervisor) summary(ctx context.Context) string {
	health, err := s.Health(ctx)
	if err != nil {
		return "Ready; " + err.Error()
	}
	parts := []string{"hero_db: " + health.HeroDB}
	total := 0
	for _, state := range []units.State{
		units.StateRunning, units.StateActivating, units.StateDegraded, units.StateFailed,
		units.StateBlocked, units.StateExited, units.StateInactive, units.StateUnknown,
	} {
		if n := health.Services[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
			total += n
		}
	}
	if total == 0 {
		parts = append(parts, "no services registered")
	}
	return strings.Join(parts, ", ")
}
