package supervisor

import (
	"context"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// originHealth is the origin of a run that begins because an action was
// unhealthy: hero_proc has started it, since it is wanted.
const originHealth = units.OriginBoot

// judged does what a new answer calls for. asked is the number of what was last
// asked of the service before the probe was.
func (s *Supervisor) judged(ctx context.Context, one *check, before, after plan.Pulse, asked uint64) {
	switch {
	case after.State == units.HealthHealthy && s.checks.recovered(one):
		s.report(*plan.Recovered(one.id, one.unit, s.checks.healthOf(one)))
	case after.State == units.HealthUnhealthy:
		s.unhealthy(ctx, one, asked)
	case after.State == units.HealthUnknown && before.State != "" && before.State != after.State:
		s.Logger.Warn("cannot ask for the health of a service, trying again", "service", one.id, "action", one.action, "error", after.Says)
	}
	if before.State != after.State || before.Says != after.Says {
		s.touch(one.id)
	}
}

// recovered says whether it is news that a unit is well, which it then is no more.
func (c *checks) recovered(one *check) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.done = plan.HealthDecision{}
	p := c.past[one.unit]
	if p == nil || !p.reported {
		return false
	}
	p.reported = false
	return true
}

func (c *checks) healthOf(one *check) units.ActionHealth {
	c.mu.Lock()
	defer c.mu.Unlock()
	return one.health()
}

// unhealthy decides about an action that is unhealthy, does it, and reports it.
func (s *Supervisor) unhealthy(ctx context.Context, one *check, asked uint64) {
	service, _ := s.graph.Load().Service(one.id)
	in := plan.UnhealthyInput{
		State: units.HealthUnhealthy, On: one.On, Wanted: service.Wanted, Settling: s.Now().Sub(one.since) < one.Grace,
		Budget: one.Restarts, Window: one.Window, GaveUp: s.checks.gaveUp(one),
		Restarts: s.restartsOf(ctx, one),
	}
	d := plan.DecideUnhealthy(in)
	switch {
	case d.Action == plan.HealthRestart:
		// Whether that is still so is known for sure while nobody else can act.
		var err error
		if d, err = s.restartUnhealthy(ctx, service, one, in, asked); err != nil {
			d = plan.HealthDecision{Action: plan.HealthWarn, Reason: "can't be restarted: " + err.Error()}
		}
	case d.Action != plan.HealthLeave && s.checks.isNews(one, d):
		// It may be on its way down, or another activation, of which the loop
		// has not heard yet: such as by the restart that was decided before.
		if err := s.look(ctx, one, &in, asked); err != nil {
			s.Logger.Debug("cannot look at a unit that is unhealthy, ignoring: its next answer comes", "unit", one.unit, "error", err)
			return
		}
		d = plan.DecideUnhealthy(in)
	}
	s.Logger.Debug("health", "service", one.id, "action", one.action, "decision", d.Action, "reason", d.Reason)
	if h, news := s.checks.decided(one, d); news {
		if e := d.Reported(one.id, one.unit, h); e != nil {
			s.report(*e)
		}
		s.touch(one.id)
	}
}

// restartUnhealthy restarts an action's unit, unless it is no longer to be.
func (s *Supervisor) restartUnhealthy(ctx context.Context, service units.Service, one *check, in plan.UnhealthyInput, asked uint64) (plan.HealthDecision, error) {
	ctx, cancel := context.WithTimeout(ctx, resyncTimeout)
	defer cancel()
	unlock, err := s.lock(ctx)
	if err != nil {
		return plan.HealthDecision{}, err
	}
	defer unlock()
	if err := s.look(ctx, one, &in, asked); err != nil {
		return plan.HealthDecision{}, err
	}
	d := plan.DecideUnhealthy(in)
	if d.Action != plan.HealthRestart {
		return d, nil
	}
	job := s.history.beginAction(ctx, service, one.index, originHealth)
	// Of what somebody stops at this moment, by whatever way, it starts nothing.
	result, err := s.Systemd.TryRestart(ctx, one.unit, "fail")
	if err != nil {
		return d, s.notStarted(ctx, job, err)
	}
	s.checks.restarted(one, s.Now())
	s.follow(job, result)
	return d, nil
}

// look adds what systemd says of the unit at this moment.
func (s *Supervisor) look(ctx context.Context, one *check, in *plan.UnhealthyInput, asked uint64) error {
	u, err := s.Systemd.Unit(ctx, one.unit)
	if err != nil {
		return err
	}
	in.Stopped = !s.still(one.id, asked) || u.InvocationID != one.invocation
	in.Busy = u.Active != "active" || u.JobID != 0
	return nil
}

// restarted counts a restart.
func (c *checks) restarted(one *check, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Restarts++
	p := c.pastOf(one.unit)
	p.restarts = append(p.restarts, now)
}

// pastOf is what was done about a unit. mu is held.
func (c *checks) pastOf(unit string) *past {
	p := c.past[unit]
	if p == nil {
		p = &past{}
		c.past[unit] = p
	}
	return p
}

func (c *checks) gaveUp(one *check) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return one.done.Action == plan.HealthGiveUp
}

// isNews says that something else was decided last.
func (c *checks) isNews(one *check, d plan.HealthDecision) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return one.done != d
}

// decided notes what was decided, and says whether that is news.
func (c *checks) decided(one *check, d plan.HealthDecision) (units.ActionHealth, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := one.done != d
	one.done = d
	if d.Action != plan.HealthLeave {
		c.pastOf(one.unit).reported = true
	}
	return one.health(), news
}

// restartsOf counts the restarts of a unit within its window. Those of before
// the daemon's start are in the log, as they were reported.
func (s *Supervisor) restartsOf(ctx context.Context, one *check) uint32 {
	begin := s.Now().Add(-one.Window)
	if s.checks.unseeded(one) {
		entries, err := s.Store.Logs(ctx, units.LogFilter{Source: units.SourceHealth, Since: begin, Until: s.started, Limit: units.MaxLogLimit})
		if err != nil {
			s.Logger.Warn("cannot read how often a service was restarted before, ignoring: those restarts do not count", "service", one.id, "error", err)
		} else {
			s.checks.seed(one, entries)
		}
	}
	return s.checks.countSince(one, begin)
}

func (c *checks) unseeded(one *check) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pastOf(one.unit).seeded < one.Window
}

// seed adds the restarts that the log has, which are those of an earlier daemon.
func (c *checks) seed(one *check, entries []units.LogEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pastOf(one.unit)
	p.seeded = one.Window
	for _, e := range entries {
		known := slices.ContainsFunc(p.restarts, e.Time.Equal)
		if e.Code == units.EventUnhealthyRestart && e.Unit == one.unit && !known {
			p.restarts = append(p.restarts, e.Time)
		}
	}
}

// countSince counts the restarts since begin, and forgets the older ones.
func (c *checks) countSince(one *check, begin time.Time) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pastOf(one.unit)
	p.restarts = slices.DeleteFunc(p.restarts, func(t time.Time) bool { return t.Before(begin) })
	return uint32(len(p.restarts))
}
