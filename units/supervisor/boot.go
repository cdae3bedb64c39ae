package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// patience is how long the boot waits for a bus that went away under it.
const patience = 10 * time.Second

// boot brings up what is wanted. Nothing in it can stop it: each failure is
// reported, and the next step is taken. When the bus goes away under it, it is
// done again, as all of it can be.
func (s *Supervisor) boot(ctx context.Context) {
	// Whatever was reported before READY=1 is on disk by then too.
	defer s.flush(ctx)
	for _, e := range s.Found {
		s.report(e)
	}
	s.reportAllNoted()
	s.reportBrokenDefinitions()
	err := s.bringUp(ctx, true)
	for units.CodeOf(err) == units.CodeUnavailable && s.back(ctx) {
		err = s.bringUp(ctx, false)
	}
	if err != nil && ctx.Err() == nil {
		s.incomplete = true
		s.setHeroDB(string(units.EventBootStepFailed), err.Error())
		s.reportStep(units.SourceHeroDB, fmt.Errorf("the services could not be started yet: %w", err))
	}
}

// bringUp recovers, loads and starts what is wanted, and ensures hero_db. Its
// error is that systemd could not be reached. loading says that control is
// held already, since Load.
func (s *Supervisor) bringUp(ctx context.Context, loading bool) error {
	unlock := func() { <-s.control }
	if !loading {
		var err error
		if unlock, err = s.lock(ctx); err != nil {
			return err
		}
	}
	s.Notify("STATUS=Looking at what runs")
	loaded, settle, err := s.recover(ctx, loading)
	if err == nil {
		s.Notify("STATUS=Starting the registered services")
		err = s.load(ctx, plan.Boot(s.graph.Load(), loaded, s.mayStart), loaded)
		settle()
	}
	if err == nil {
		s.mendAll(ctx, loaded)
	}
	unlock()
	if err != nil || ctx.Err() != nil {
		return err
	}
	if err := s.ensureHeroDB(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if unlock, err = s.lock(ctx); err != nil {
		return err
	}
	defer unlock()
	return s.settleRuns(ctx)
}

// mayStart leaves hero_db alone where the operator has opted out.
func (s *Supervisor) mayStart(id units.ID) bool {
	return !s.Policy.NoAutostartDB || id != s.Policy.HeroDB
}

// back waits until the connection to systemd is there again; it is false when
// that takes too long.
func (s *Supervisor) back(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case <-s.Systemd.Wake():
			c := s.Systemd.Take()
			s.reportBus(c)
			if c.Back {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// recover reads every unit of hero_proc's, and brings the history up to date
// with them: what runs is adopted by its invocation, what has ended is closed
// with what the journal tells of its end. first says that nobody has looked
// before: where then nothing is left of the units that have ended, as after a boot
// of the machine, settle does the latter, so that no start waits for the journal.
// Its error is systemd's; a history that can't be written stops nothing.
func (s *Supervisor) recover(ctx context.Context, first bool) (loaded map[string]units.Unit, settle func(), err error) {
	at := s.Now()
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot list the units: %w", err)
	}
	if err := s.recoverRuns(ctx, listed); err != nil {
		return nil, nil, err
	}
	live, err := s.Store.LiveJobs(ctx)
	if err != nil {
		s.reportStep(units.SourceRecovery, fmt.Errorf("cannot read the live jobs: %w", err))
	}
	all, seen, err := s.readChanged(ctx, listed, live)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the units: %w", err)
	}
	loaded = make(map[string]units.Unit, len(all))
	for _, u := range all {
		loaded[u.Name] = u
		if !s.runs.has(u.Name) {
			s.setDigest(u.Name, u.Digest)
		}
	}
	known := map[string]bool{}
	for _, j := range live {
		known[j.Unit] = true
	}
	seen = slices.DeleteFunc(seen, func(u units.Unit) bool { return !known[u.Name] && !s.followed(u.Name) })
	var gone []units.Unit
	changed := len(seen) > 0
	for _, j := range live {
		u, ok := loaded[j.Unit]
		if !ok && j.InvocationID != "" {
			gone = append(gone, units.Unit{Name: j.Unit, Load: "not-found", Active: "inactive"})
		}
		changed = changed || j.InvocationID == "" || ok && u.InvocationID != j.InvocationID
	}
	// Where all is as the history has it, nothing waits for the journal: what
	// began and ended unseen is looked for once the supervisor is ready. A start
	// that was asked for may be over, and its unit gone.
	settle = func() {}
	switch {
	case !changed && len(gone) == 0:
		s.mayLack = true
	case !changed && first:
		settle = func() {
			s.settle(ctx, filling{live: live, loaded: loaded, at: at, starting: true})
			s.setMark(ctx, at)
		}
	default:
		changed = true
		s.settle(ctx, filling{live: live, loaded: loaded, at: at, seen: append(seen, gone...)})
	}
	s.checks.seeAll(s.graph.Load(), s.Now(), loaded)
	// A start that was asked for and never came to an activation, and that
	// systemd knows nothing of, went down with its connection, or with the
	// daemon before this one.
	for _, j := range live {
		u := loaded[j.Unit]
		if j.InvocationID == "" && u.JobID == 0 && (!u.Alive() || j.Created.Before(s.started)) {
			s.history.end(ctx, j, units.PhaseLost, "")
		}
	}
	if changed {
		s.setMark(ctx, at)
	}
	s.Logger.Info("recovered", "units", len(loaded), "live_jobs", len(live))
	return loaded, settle, nil
}

// registered says whether a unit is that of a registered service.
func (s *Supervisor) registered(unit string) bool {
	ref, ok := units.ParseUnit(unit)
	if !ok || ref.Run != 0 {
		return false
	}
	_, ok = s.graph.Load().Service(ref.ID)
	return ok
}

// reportBrokenDefinitions reports what is wrong in the store's own terms.
func (s *Supervisor) reportBrokenDefinitions() {
	g := s.graph.Load()
	for _, id := range g.Broken() {
		p, _ := g.Problem(id)
		s.reportProblem(id, p)
	}
}

// load does what the plan says: adopt, pin, load the rest in one call to systemd, and
// start in another what can be. What can't is known when all is loaded: an
// administrator's drop-in can make a unit unusable, which refuses no call. Where
// nothing needs anything else, one call does both. A set
// that systemd refuses is loaded service by service, so that a definition that it
// doesn't take costs only itself. Its error is that systemd could not be
// reached. control is held.
func (s *Supervisor) load(ctx context.Context, steps []plan.BootStep, loaded map[string]units.Unit) error {
	var missing []plan.BootStep
	var gone, adopted []string
	defer func() { s.pinLater(adopted) }()
	for _, step := range steps {
		s.Logger.Debug("boot plan", "service", step.Service.ID, "treatment", step.Treatment, "start", step.Start, "reason", step.Reason)
		if step.Problem != nil {
			s.reportProblem(step.Service.ID, *step.Problem)
		}
		names := loadedUnits(step.Service, loaded)
		if step.Treatment == plan.Load {
			gone = append(gone, names...)
		} else if step.Treatment == plan.Adopt {
			adopted = append(adopted, names...)
		} else if err := s.pin(ctx, names); unreachable(err) {
			return err
		} else if err != nil {
			// It was not alive, and went, or a part of it did, while we looked.
			step.Make, gone = allUnits(step.Service), append(gone, names...)
		}
		for _, name := range step.Reset {
			if err := s.Systemd.ResetFailed(ctx, name); unreachable(err) {
				return err
			} else if err != nil {
				s.Logger.Warn("cannot reset a unit that has failed, ignoring: systemd may refuse its start", "unit", name, "error", err)
			}
		}
		if len(step.Make) > 0 {
			missing = append(missing, step)
		}
	}
	if len(gone) > 0 {
		if err := s.Systemd.Unload(ctx, gone...); unreachable(err) {
			return err
		} else if err != nil {
			s.Logger.Warn("cannot unload the units of older definitions, ignoring", "error", err)
		}
	}
	s.hush(ctx, steps)
	begun, err := s.loadAll(ctx, missing, plan.AtOnce(steps))
	if err != nil {
		return err
	}
	unusable, err := s.reportUnusable(ctx, missing)
	if err != nil && len(begun) > 0 && units.CodeOf(err) == units.CodeTimeout {
		s.Logger.Warn("cannot tell which units systemd can't use, ignoring: it still starts what it can", "error", err)
	} else if err != nil {
		return err
	}
	for id := range unusable {
		s.history.notBooting(id.Unit())
	}
	if len(begun) == 0 {
		begun = s.notBlocked(steps, unusable)
		if err := s.startAll(ctx, begun); err != nil {
			return err
		}
	}
	if len(begun) > 0 && !s.hushed {
		// Nobody tells of a start that systemd has dropped.
		s.backlog.add(units.Changes{Units: begun}, s.Now())
	}
	return nil
}

// unreachable says that it is no use to go on asking systemd: it went away, or
// does not answer in time.
func unreachable(err error) bool {
	code := units.CodeOf(err)
	return err != nil && (code == units.CodeUnavailable || code == units.CodeTimeout || code == units.CodeCanceled)
}

// reportUnusable reports the units that systemd has made and can't use: a unit
// that is only pulled in is no reason for it to refuse the call.
func (s *Supervisor) reportUnusable(ctx context.Context, made []plan.BootStep) (map[units.ID]plan.Problem, error) {
	if len(made) == 0 {
		return nil, nil
	}
	listed, err := s.Systemd.Broken(ctx)
	if err != nil {
		return nil, err
	}
	unusable := map[units.ID]plan.Problem{}
	broken := map[string]units.Unit{}
	for _, u := range listed {
		broken[u.Name] = u
	}
	for _, step := range made {
		for _, name := range step.Make {
			if u, ok := broken[name]; ok {
				p := plan.Unusable(step.Service.ID, u)
				unusable[step.Service.ID] = p
				s.reportProblem(step.Service.ID, p)
				break
			}
		}
	}
	return unusable, nil
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
	g := s.graph.Load()
	for _, step := range steps {
		slice := step.Service.SliceOf(g.Size(step.Service.Context))
		for _, ignored := range transient.Ignored(step.Service, s.Systemd.Version()) {
			s.Logger.Warn("systemd can't do all of a definition, ignoring", "service", step.Service.ID, "reason", ignored)
		}
		for _, u := range s.unitsFor(step.Service, g.Digest(step.Service.ID)) {
			if slices.Contains(step.Make, u.Name) {
				us = append(us, u.In(slice))
			}
		}
	}
	if err := s.Systemd.Make(ctx, transient.BootSet(s.setName(), us, starts)); err != nil {
		return err
	}
	var ids []units.ID
	s.mu.Lock()
	for _, step := range steps {
		ids = append(ids, step.Service.ID)
		delete(s.refused, step.Service.ID)
		digest := g.Digest(step.Service.ID)
		for _, name := range step.Make {
			s.digests[name] = digest
		}
	}
	s.mu.Unlock()
	if s.ready.Load() { // which tells of everything
		s.touch(ids...)
	}
	return nil
}

// setName is a name for the throw-away slice that a set is made under. It has
// no dash, which would make it a part of another slice, and no context's
// slice can have it.
func (s *Supervisor) setName() string {
	return fmt.Sprintf("hero_proc_load%d_%d.slice", s.started.UnixNano(), s.makes.Add(1))
}

// refuse notes, and reports, that a service could not be loaded.
func (s *Supervisor) refuse(ctx context.Context, id units.ID, err error) {
	p := plan.Problem{
		Code:    units.EventDefinitionRefused,
		Message: fmt.Sprintf("service %q could not be loaded: %v", id, err),
		Remedy:  fmt.Sprintf("hero_proc service show %s\nhero_proc service set %s --exec 'COMMAND'", id, id),
	}
	// systemd has forgotten a masked unit by now, but not its file.
	state, ferr := s.Systemd.FileState(ctx, id.Unit())
	if u, err := s.Systemd.Unit(ctx, id.Unit()); err == nil && u.Broken() {
		p = plan.Unusable(id, u)
	} else if ferr == nil && strings.HasPrefix(state, "masked") {
		p = plan.Unusable(id, units.Unit{Name: id.Unit(), Load: "masked"})
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
// units that were not running may be gone and every pin is. Nothing is
// started, unless the loss came before the boot was done.
func (s *Supervisor) resync(ctx context.Context, jobs map[string]string) error {
	// These are told only once.
	s.mend(ctx, nil, jobs)
	if _, err := s.listen(ctx); err != nil {
		return err
	}
	if s.incomplete {
		if err := s.bringUp(ctx, false); err != nil {
			return err
		}
		s.incomplete = false
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resyncTimeout)
	defer cancel()
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	loaded, _, err := s.recover(ctx, false)
	if err != nil {
		return err
	}
	nothing := func(units.ID) bool { return false }
	if err := s.load(ctx, plan.Boot(s.graph.Load(), loaded, nothing), loaded); err != nil {
		return err
	}
	s.reportAllNoted()
	s.mendAll(ctx, loaded)
	s.touched.mark(nil, nil, true)
	return s.settleRuns(ctx)
}

// summary is the one line that systemctl status shows.
func (s *Supervisor) summary(ctx context.Context) string {
	services, err := s.Services(ctx)
	if err != nil {
		return "Ready; " + err.Error()
	}
	health := s.Health(services)
	heroDB := health.HeroDB
	for _, st := range services {
		if st.ID == s.Policy.HeroDB && st.Wanted == units.WantedStart {
			heroDB = string(st.State)
		}
	}
	parts := []string{"hero_db: " + heroDB}
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
