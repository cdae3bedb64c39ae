package supervisor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// restarts is what the supervisor remembers of units that systemd has given up,
// that could not start because of others, or whose restarts are to be forgotten.
// It has an entry for these alone.
type restarts struct {
	// kick has a value when the next time to look at one may have changed.
	kick chan struct{}

	mu      sync.Mutex
	entries map[string]*restart
	// halted has the services that were stopped through hero_proc, which for
	// one that is down already leaves no trace at systemd.
	halted map[units.ID]bool
}

// restart is what is remembered of one unit.
type restart struct {
	job   string // how its last job ended; "" is not known
	tries int    // starts by hero_proc since it was last well
	// noted says that it is known, and was said, that systemd has given it up.
	noted bool
	due   time.Time // of the next start by hero_proc, or of the next decision
	// busy says that a start of it is under way in the background, which goes
	// by what is remembered by then.
	busy bool
	// seen is when its invocation was first seen to be up, reset when its
	// restarts are forgotten.
	invocation string
	seen       time.Time
	reset      time.Time
}

func newRestarts() *restarts {
	return &restarts{kick: make(chan struct{}, 1), entries: map[string]*restart{}, halted: map[units.ID]bool{}}
}

// get is what is remembered of a unit.
func (r *restarts) get(unit string) restart {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.entries[unit]; e != nil {
		return *e
	}
	return restart{}
}

// change changes what is remembered of a unit. What says nothing is forgotten.
func (r *restarts) change(unit string, f func(*restart)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[unit]
	if e == nil {
		e = &restart{}
	}
	f(e)
	if e.tries == 0 && !e.noted && !e.busy && e.due.IsZero() && e.reset.IsZero() && (e.job == "" || e.job == "done" || e.job == "canceled") {
		delete(r.entries, unit)
	} else {
		r.entries[unit] = e
	}
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// forget is for what somebody starts, or what is no more.
func (r *restarts) forget(names ...string) {
	for _, name := range names {
		r.change(name, func(e *restart) { *e = restart{} })
	}
}

func (r *restarts) halt(id units.ID, halted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if halted {
		r.halted[id] = true
	} else {
		delete(r.halted, id)
	}
}

func (r *restarts) isHalted(id units.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.halted[id]
}

// units are those that something is remembered of and that which selects, by name.
func (r *restarts) units(which func(restart) bool) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, e := range r.entries {
		if which(*e) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// at is when to look at the unit again; the zero time is not by itself.
func (e restart) at() time.Time {
	if e.due.IsZero() || !e.reset.IsZero() && e.reset.Before(e.due) {
		return e.reset
	}
	return e.due
}

// next is when to look at some unit again; ok is false when at none.
func (r *restarts) next() (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if t := e.at(); !t.IsZero() && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	return at, ok
}

// mend decides about the units that were read, and about those that wait for
// one of them. jobs has the results of jobs that came to an end.
func (s *Supervisor) mend(ctx context.Context, seen []units.Unit, jobs map[string]string) {
	for unit, result := range jobs {
		if s.registered(unit) {
			s.restarts.change(unit, func(e *restart) { e.job = result })
		}
	}
	names := map[string]bool{}
	for _, u := range seen {
		names[u.Name] = true
		s.mendUnit(ctx, u)
	}
	for _, unit := range s.restarts.units(func(e restart) bool { return e.job == plan.JobDependency }) {
		service, i, ok := s.actionOf(unit)
		if !ok || names[unit] {
			continue
		}
		if slices.ContainsFunc(requiredUnits(service, i), func(name string) bool { return names[name] }) {
			if s.mendNamed(ctx, unit) != nil {
				ctx = over // the others are for later too
			}
		}
	}
}

// over is for what is not to be tried now.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// mendAll decides about all units that there is something to decide about:
// signals may have been missed.
func (s *Supervisor) mendAll(ctx context.Context, loaded map[string]units.Unit) {
	var up []units.Unit
	for _, u := range loaded {
		if u.Alive() && u.Restarts > 0 && s.registered(u.Name) {
			up = append(up, u)
		}
	}
	s.mend(ctx, up, nil)
	s.mendWhich(ctx, func(restart) bool { return true })
}

// mendDue decides about the units whose time has come.
func (s *Supervisor) mendDue(ctx context.Context) {
	now := s.Now()
	s.mendWhich(ctx, func(e restart) bool { at := e.at(); return !at.IsZero() && !now.Before(at) })
}

func (s *Supervisor) mendWhich(ctx context.Context, which func(restart) bool) {
	for _, unit := range s.restarts.units(which) {
		if s.mendNamed(ctx, unit) != nil {
			ctx = over // the others are for later too: the loop has to come round
		}
	}
}

// mendRetry is how long after systemd could not be asked a unit is looked at again.
const mendRetry = 5 * time.Second

// mendNamed looks at a unit, and again later if systemd could not be asked,
// which is its error.
func (s *Supervisor) mendNamed(ctx context.Context, unit string) error {
	err := ctx.Err()
	var u units.Unit
	if err == nil {
		u, err = s.Systemd.Unit(ctx, unit)
	}
	if err != nil {
		s.Logger.Debug("cannot read a unit that may have to be started again, trying again", "unit", unit, "error", err)
		later := s.Now().Add(mendRetry)
		s.restarts.change(unit, func(e *restart) {
			if e.due.IsZero() || e.due.Before(later) {
				e.due = later
			}
			if !e.reset.IsZero() && e.reset.Before(later) {
				e.reset = later
			}
		})
		return err
	}
	s.mendUnit(ctx, u)
	return nil
}

// mendUnit decides about one unit, and does what is decided.
func (s *Supervisor) mendUnit(ctx context.Context, u units.Unit) {
	service, i, ok := s.actionOf(u.Name)
	if !ok {
		s.restarts.forget(u.Name)
		return
	}
	e := s.restarts.get(u.Name)
	if e.busy {
		return
	}
	if e.job == plan.JobDependency {
		s.mendReturn(ctx, service, i, u)
		return
	}
	if u.Alive() && s.restarts.isHalted(service.ID) && u.Name == service.Unit() {
		s.restarts.halt(service.ID, false) // somebody has started it by other means
	}
	in, err := s.retryInput(ctx, service, i, u)
	if err != nil {
		s.Logger.Debug("cannot decide whether a unit is started again, ignoring: its next change will", "unit", u.Name, "error", err)
		return
	}
	switch d := plan.DecideRetry(in); d.Action {
	case plan.RetryNone:
		if e.noted {
			s.Logger.Info("a unit that systemd had given up is not started again", "unit", u.Name, "reason", d.Reason)
			s.restarts.change(u.Name, func(e *restart) {
				e.noted, e.due, e.tries = false, time.Time{}, 0 // somebody else has seen to it
				if !u.Alive() {
					e.job = ""
				}
			})
		} else if !e.due.IsZero() {
			s.restarts.change(u.Name, func(e *restart) { e.due = time.Time{} })
		}
	case plan.RetryNever, plan.RetryLater:
		if e.noted {
			break
		}
		s.restarts.change(u.Name, func(e *restart) {
			if e.noted = true; d.Action == plan.RetryLater {
				e.due = in.Now.Add(d.Wait)
			}
		})
		s.reportRestart(units.EventRestartsSpent, service, u,
			fmt.Sprintf("systemd has given up %s, which failed as often as its start limit allows: its result is %s; %s", u.Name, s.said(ctx, u).Outcome(u), spentThen(d)))
	case plan.RetryNow:
		s.startLater(service.ID, u.Name, func(ctx context.Context) (bool, error) { return s.retry(ctx, u.Name) })
	}
	s.mendReset(ctx, service, i, u)
}

func spentThen(d plan.RetryDecision) string {
	if d.Action == plan.RetryNever {
		return "hero_proc does not start it again: " + d.Reason
	}
	return d.Reason
}

func (s *Supervisor) retryInput(ctx context.Context, service units.Service, i int, u units.Unit) (plan.RetryInput, error) {
	e := s.restarts.get(u.Name)
	in := plan.RetryInput{
		Wanted: service.Wanted, Action: service.Actions[i], Unit: u, Job: e.job,
		Noted: e.noted, Overruled: s.restarts.isHalted(service.ID), Blocked: s.problem(service.ID),
		Primary: u, Tries: e.tries, Now: s.Now(),
	}
	if e.noted {
		in.Due = e.due
	}
	if u.Name == service.Unit() || u.Active != "failed" && !e.noted {
		return in, nil
	}
	var err error
	in.Primary, err = s.Systemd.Unit(ctx, service.Unit())
	return in, err
}

// mendReset forgets the restarts of a unit once it has been up for long enough.
func (s *Supervisor) mendReset(ctx context.Context, service units.Service, i int, u units.Unit) {
	e := s.restarts.get(u.Name)
	if e.invocation != u.InvocationID {
		e.seen = time.Time{}
	}
	now := s.Now()
	d := plan.DecideReset(plan.ResetInput{Action: service.Actions[i], Unit: u, Tries: e.tries, Seen: e.seen, Now: now})
	switch {
	case d.Reset:
		if err := s.Systemd.ResetFailed(ctx, u.Name); err != nil {
			s.Logger.Debug("cannot reset a unit, trying again", "unit", u.Name, "error", err)
			s.restarts.change(u.Name, func(e *restart) { e.reset = now.Add(mendRetry) })
			return
		}
		s.restarts.forget(u.Name)
		s.reportRestart(units.EventRestartsReset, service, u, fmt.Sprintf("the restarts of %s no longer count (%d by systemd, %d by hero_proc): %s", u.Name, u.Restarts, e.tries, d.Reason))
	case d.At != e.reset || d.At.IsZero() != e.reset.IsZero():
		s.restarts.change(u.Name, func(e *restart) {
			if e.reset = d.At; e.invocation != u.InvocationID {
				e.invocation, e.seen = u.InvocationID, now
			}
		})
	}
}

// mendReturn decides about a unit that could not start because of what it requires.
func (s *Supervisor) mendReturn(ctx context.Context, service units.Service, i int, u units.Unit) {
	e := s.restarts.get(u.Name)
	d, err := s.decideReturn(ctx, service, i, u, e.job)
	switch {
	case err != nil:
		s.Logger.Debug("cannot decide whether a unit is started, ignoring: the next change will", "unit", u.Name, "error", err)
	case d.Start:
		s.startLater(service.ID, u.Name, func(ctx context.Context) (bool, error) { return s.comeBack(ctx, u.Name) })
	case !d.Waits:
		s.Logger.Info("a unit that was down because of what it requires is not started by hero_proc", "unit", u.Name, "reason", d.Reason)
		s.restarts.change(u.Name, func(e *restart) { e.job, e.due = "", time.Time{} })
	case !e.due.IsZero():
		s.restarts.change(u.Name, func(e *restart) { e.due = time.Time{} })
	}
}

func (s *Supervisor) decideReturn(ctx context.Context, service units.Service, i int, u units.Unit, job string) (plan.ReturnDecision, error) {
	in := plan.ReturnInput{Service: service, Unit: u, Job: job, Overruled: s.restarts.isHalted(service.ID), Blocked: s.problem(service.ID)}
	for _, name := range requiredUnits(service, i) {
		r, err := s.Systemd.Unit(ctx, name)
		if err != nil {
			return plan.ReturnDecision{}, err
		}
		in.Requires = append(in.Requires, r)
	}
	return plan.DecideReturn(in), nil
}

// reportRestart reports what was done, or will not be done, about a unit.
func (s *Supervisor) reportRestart(code units.EventCode, service units.Service, u units.Unit, why string) {
	info, _ := code.Info()
	s.report(units.Event{
		Source: units.SourceRestart, Code: code, Level: info.Level, Service: service.ID,
		Message: fmt.Sprintf("service %q: %s", service.ID, why),
		Remedy:  fmt.Sprintf("journalctl -u %s\nhero_proc service start %s", u.Name, service.ID),
		Unit:    u.Name, Result: u.Result,
	})
	s.touch(service.ID)
}

// actionOf is the registered service, and the action of it, that a unit is of.
func (s *Supervisor) actionOf(unit string) (service units.Service, i int, ok bool) {
	ref, ok := units.ParseUnit(unit)
	if !ok {
		return service, 0, false
	}
	if service, ok = s.graph.Load().Service(ref.ID); !ok || service.Wanted == units.WantedSpec {
		return service, 0, false
	}
	for i := range service.Actions {
		if service.UnitOf(i) == unit {
			return service, i, true
		}
	}
	return service, 0, false
}

// requiredUnits are the units that an action's unit requires.
func requiredUnits(service units.Service, i int) []string {
	var names []string
	for _, ref := range service.Requires {
		if id, err := units.ParseRef(service.Context, ref); err == nil {
			names = append(names, id.Unit())
		}
	}
	for k, a := range service.Actions {
		if slices.Contains(service.Actions[i].DependsOn, a.Name) {
			names = append(names, service.UnitOf(k))
		}
	}
	return names
}

// intends is what hero_proc will do about a unit by itself, for people; "" is nothing.
func (s *Supervisor) intends(unit string) string {
	switch e := s.restarts.get(unit); {
	case e.job == plan.JobDependency:
		return "hero_proc starts it once that is up"
	case e.noted && !e.due.IsZero():
		return "hero_proc starts it again at " + e.due.UTC().Format(time.RFC3339)
	default:
		return ""
	}
}
