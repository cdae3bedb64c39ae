package supervisor

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// How many probes are asked at once. Those that systemd runs cost a process,
// and a unit, each.
const (
	maxByNetwork = 32
	maxAsUnits   = 4
)

// checks are the probes of what runs, and when each is to be asked next. One
// scheduler asks them all.
type checks struct {
	wake chan struct{} // has a value when what is due may have changed

	mu sync.Mutex
	// up has the units of registered services that are active.
	up map[string]activation
	of map[string]*check // by the action's unit
	// past is what is to be known of a unit beyond one activation.
	past     map[string]*past
	inFlight [2]int // by network, and as units
	counts   units.ProbeCounts
}

// activation is one of a unit, and what it was made of.
type activation struct {
	invocation string
	since      time.Time // when it got ready
	digest     string
}

// is says whether both are the same one. When it got ready was read from systemd
// or from the store, which is the same time, but not the same value.
func (a activation) is(b activation) bool {
	return a.invocation == b.invocation && a.digest == b.digest
}

// check is the probe of one activation of an action.
type check struct {
	units.HealthCheck
	activation
	id     units.ID
	index  int // of the action
	action string
	unit   string

	// checks.mu is held to touch what follows.
	pulse  plan.Pulse
	due    time.Time
	asking bool
	// done is what was last decided about it, if it is unhealthy.
	done plan.HealthDecision
}

// past is what was done about a unit that was unhealthy.
type past struct {
	restarts []time.Time
	// seeded is the window for which restarts has those before the daemon's start.
	seeded time.Duration
	// reported says that it is well again is news.
	reported bool
}

func newChecks() *checks {
	return &checks{wake: make(chan struct{}, 1), up: map[string]activation{}, of: map[string]*check{}, past: map[string]*past{}}
}

// see takes notice of units, as they were read in full. A probe asks what is
// up, as it is registered, and made of what is registered: what runs with an
// older definition may listen elsewhere.
func (c *checks) see(g *plan.Graph, now time.Time, us ...units.Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range us {
		c.note(u)
		c.refresh(g, u.Name, now)
	}
	c.nudge()
}

// seeAll is see for all units that there are.
func (c *checks) seeAll(g *plan.Graph, now time.Time, all map[string]units.Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.up
	c.up = map[string]activation{}
	for _, u := range all {
		c.note(u)
	}
	for _, names := range []map[string]activation{before, maps.Clone(c.up)} {
		for name := range names {
			c.refresh(g, name, now)
		}
	}
	c.nudge()
}

// note notes whether a unit is up. mu is held.
func (c *checks) note(u units.Unit) {
	if ref, _ := units.ParseUnit(u.Name); ref.Run != 0 {
		return // an ad-hoc run has no probe
	}
	if u.Active == "active" || u.Active == "reloading" {
		c.up[u.Name] = activation{u.InvocationID, u.ActiveSince, u.Digest}
	} else {
		delete(c.up, u.Name)
	}
}

// redraw brings the probes in line with changed definitions.
func (c *checks) redraw(g *plan.Graph, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.up {
		c.refresh(g, name, now)
	}
	maps.DeleteFunc(c.past, func(name string, _ *past) bool {
		ref, _ := units.ParseUnit(name)
		_, ok := g.Service(ref.ID)
		return !ok
	})
	c.nudge()
}

func (c *checks) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// refresh makes the probe of a unit what it should be. mu is held.
func (c *checks) refresh(g *plan.Graph, name string, now time.Time) {
	ref, _ := units.ParseUnit(name)
	service, ok := g.Service(ref.ID)
	if !ok {
		delete(c.up, name)
	}
	up, isUp := c.up[name]
	i := actionOf(service, name)
	if !isUp || i < 0 || up.digest != g.Digest(ref.ID) {
		delete(c.of, name)
		return
	}
	want, ok := service.Actions[i].HealthCheck()
	if !ok {
		delete(c.of, name)
		return
	}
	if old := c.of[name]; old != nil && old.activation.is(up) && reflect.DeepEqual(old.HealthCheck, want) {
		return
	}
	// At a time of its own, so that what was started together is not asked together.
	due := now.Add(rand.N(want.Interval))
	c.of[name] = &check{HealthCheck: want, activation: up, id: ref.ID, index: i, action: service.Actions[i].Name, unit: name, due: due}
}

// actionOf is the index of the action that a unit is of, or -1.
func actionOf(s units.Service, unit string) int {
	return slices.IndexFunc(allUnits(s), func(name string) bool { return name == unit })
}

// next takes the probe that is to be asked now. Without one, it says how long
// it is until there is; 0 is until something changes.
func (c *checks) next(now time.Time) (*check, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first *check
	for _, one := range c.of {
		if !one.asking && (first == nil || one.due.Before(first.due)) && c.inFlight[one.way()] < roomFor[one.way()] {
			first = one
		}
	}
	switch {
	case first == nil:
		return nil, 0
	case first.due.After(now):
		return nil, first.due.Sub(now)
	}
	first.asking = true
	c.inFlight[first.way()]++
	return first, 0
}

// roomFor is how many probes are asked at once, by the way in which.
var roomFor = [2]int{maxByNetwork, maxAsUnits}

func (c *check) way() int {
	if c.ByNetwork() {
		return 0
	}
	return 1
}

// answered takes an answer, and says what the probe makes of it all, and what
// it made of it before. It is false when nobody wants to know any more: the unit
// is not what it was.
func (c *checks) answered(one *check, answer plan.Answer, says string, now time.Time) (before, after plan.Pulse, current bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight[one.way()]--
	switch answer {
	case plan.Well:
		c.counts.Well++
	case plan.Unwell:
		c.counts.Unwell++
	case plan.Unasked:
		c.counts.Unasked++
	}
	c.nudge()
	if c.of[one.unit] != one {
		return before, after, false
	}
	before = one.pulse
	one.pulse = plan.Feel(before, one.HealthCheck, answer, says, now.Sub(one.since) < one.Grace, now)
	return before, one.pulse, true
}

// again has the probe asked again, after its interval and up to a tenth more or less.
func (c *checks) again(one *check, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.asking = false
	one.due = now.Add(one.Interval - one.Interval/10 + rand.N(one.Interval/5))
	c.nudge()
}

// count is what the probes have come to so far.
func (c *checks) count() units.ProbeCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.InFlight = c.inFlight[0] + c.inFlight[1]
	return counts
}

// health is that of the actions of a service that have a probe.
func (c *checks) health(s units.Service) (all []units.ActionHealth) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, a := range s.Actions {
		if a.Health == "" {
			continue
		}
		if one := c.of[s.UnitOf(i)]; one != nil {
			all = append(all, one.health())
			continue
		}
		check, _ := a.HealthCheck()
		h := units.ActionHealth{Action: a.Name, Probe: check.String(), State: units.HealthUnknown, Says: "it does not run"}
		if _, up := c.up[s.UnitOf(i)]; up {
			h.Says = "it runs with an older definition, and is not asked until it is restarted"
		}
		all = append(all, h)
	}
	return all
}

// health is what the check knows. checks.mu is held.
func (c *check) health() units.ActionHealth {
	h := units.ActionHealth{
		Action: c.action, Probe: c.String(), State: c.pulse.State, Since: c.pulse.Since,
		Failures: c.pulse.Failures, Says: c.pulse.Says,
	}
	if h.State == "" {
		h.State, h.Says = units.HealthUnknown, "it was not asked yet"
	}
	if h.State == units.HealthUnhealthy {
		h.Note = c.done.Reason
	} else if h.State == units.HealthHealthy && h.Failures > 0 {
		h.Note = fmt.Sprintf("it is unhealthy after %d in a row", c.Failures)
	}
	return h
}
