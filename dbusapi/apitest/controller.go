package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Controller is a small supervisor in memory. It registers what is valid, and
// what it starts runs at once; it runs no program. Its clock is its own: each
// thing that happens is a second later, from 2025-01-01 UTC.
type Controller struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	touch    chan struct{} // has a value when touched has
	touched  units.Touched
	now      time.Time
	services map[units.ID]*entry
	jobs     map[int64]units.Job
	logs     []units.LogEntry
	health   units.Health
	held     map[units.ID]bool
	failing  map[units.ID]string
	runs     int64
}

type entry struct {
	definition units.Service
	loaded     units.Service // what its unit was made of
	digest     string        // of the definition
	loadedAs   string        // digest of what is loaded
	job        int64         // the last one, 0 before the first
}

// NewController makes one with nothing registered.
func NewController() *Controller {
	c := &Controller{
		changed:  make(chan struct{}),
		touch:    make(chan struct{}, 1),
		now:      time.Unix(1735689600, 0),
		services: map[units.ID]*entry{},
		jobs:     map[int64]units.Job{},
		held:     map[units.ID]bool{},
		failing:  map[units.ID]string{},
	}
	c.health = units.Health{Version: "1.2.3", Systemd: 252, Started: c.now, Ready: true, HeroDB: "not-registered", HeroDBReason: "no service hero_db is registered"}
	return c
}

// SetHealth replaces what Health says. The services are counted in any case.
func (c *Controller) SetHealth(h units.Health) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health = h
	c.wake()
}

// Hold makes the service's next jobs stay pending until [Controller.Release].
func (c *Controller) Hold(id units.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[id] = true
}

// Release lets a held job become what it would have been.
func (c *Controller) Release(id units.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, id)
	if e := c.services[id]; e != nil && c.jobs[e.job].Phase == units.PhasePending {
		c.advance(e)
	}
	c.wake(id)
}

// Fail makes the service's later starts fail with a result of systemd's, such
// as "exit-code", and what runs of it fail now. With "" they succeed again.
func (c *Controller) Fail(id units.ID, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing[id] = result; result == "" {
		delete(c.failing, id)
	} else if e := c.services[id]; e != nil && c.jobs[e.job].Phase == units.PhaseRunning {
		c.advance(e)
	}
	c.wake(id)
}

// Health implements dbusapi.Controller, as does all that follows.
func (c *Controller) Health(services []units.Status) units.Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.health
	h.Services = map[units.State]int{}
	for _, s := range services {
		h.Services[s.State]++
	}
	return h
}

func (c *Controller) Services(context.Context) ([]units.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []units.Status{}
	for _, e := range c.services {
		list = append(list, c.status(e))
	}
	slices.SortFunc(list, func(a, b units.Status) int { return strings.Compare(a.String(), b.String()) })
	return list, nil
}

func (c *Controller) Status(_ context.Context, id units.ID) (units.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.entry(id)
	if err != nil {
		return units.Status{}, err
	}
	return c.status(e), nil
}

func (c *Controller) Definition(_ context.Context, id units.ID) (units.Service, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.entry(id)
	if err != nil {
		return units.Service{}, err
	}
	return e.definition, nil
}

func (c *Controller) Set(_ context.Context, def map[string]any, merge bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := units.ID{Context: units.DefaultContext}
	if context, ok := def["context"].(string); ok {
		id.Context = context
	}
	id.Name, _ = def["name"].(string)
	e := c.services[id]
	var s units.Service
	var err error
	if merge && e != nil {
		s, err = units.MergeService(e.definition, def)
	} else {
		s, err = units.DecodeService(def)
	}
	if err != nil {
		return err
	}
	if e == nil {
		e = &entry{}
		c.services[s.ID] = e
	}
	e.definition, e.digest = s, s.Digest()
	if !c.alive(e) {
		e.loaded, e.loadedAs = s, e.digest
	}
	c.touched.All = true
	c.wake()
	return nil
}

func (c *Controller) Remove(_ context.Context, id units.ID, stop bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.entry(id)
	if err != nil {
		return err
	}
	if c.alive(e) && !stop {
		return units.Errorf(units.CodeInUse, "cannot remove service %q: it is running", id).
			WithRemedy("hero_proc service stop " + id.Name + " --context " + id.Context)
	}
	c.end(e)
	delete(c.services, id)
	c.touched.All = true
	c.wake(id)
	return nil
}

func (c *Controller) Start(_ context.Context, id units.ID) (units.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.startable(id)
	if err != nil {
		return units.Job{}, err
	}
	if c.alive(e) {
		return c.jobs[e.job], nil
	}
	return c.start(e), nil
}

func (c *Controller) Stop(_ context.Context, id units.ID) (units.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.entry(id)
	if err != nil {
		return units.Job{}, err
	}
	c.end(e)
	c.wake(id)
	return c.jobs[e.job], nil
}

func (c *Controller) Restart(_ context.Context, id units.ID) (units.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.startable(id)
	if err != nil {
		return units.Job{}, err
	}
	c.end(e)
	return c.start(e), nil
}

// Touched and TakeTouched remember all that happens for a reader that doesn't
// come: a test doesn't last.
func (c *Controller) Touched() <-chan struct{} { return c.touch }

func (c *Controller) TakeTouched() units.Touched {
	c.mu.Lock()
	defer c.mu.Unlock()
	touched := c.touched
	c.touched = units.Touched{}
	return touched
}

// What follows is called with the lock held.

func (c *Controller) tick() time.Time {
	c.now = c.now.Add(time.Second)
	return c.now
}

// wake tells those who wait, and that services and their last jobs may read
// differently.
func (c *Controller) wake(ids ...units.ID) {
	close(c.changed)
	c.changed = make(chan struct{})
	for _, id := range ids {
		c.touched.Services = append(c.touched.Services, id)
		if e := c.services[id]; e != nil && e.job != 0 {
			c.touched.Jobs = append(c.touched.Jobs, e.job)
		}
	}
	select {
	case c.touch <- struct{}{}:
	default:
	}
}

func (c *Controller) entry(id units.ID) (*entry, error) {
	if e := c.services[id]; e != nil {
		return e, nil
	}
	return nil, units.NoSuchService(id)
}

func (c *Controller) startable(id units.ID) (*entry, error) {
	e, err := c.entry(id)
	if err != nil {
		return nil, err
	}
	if e.definition.Wanted == units.WantedSpec {
		return nil, units.Errorf(units.CodeNotStartable, "cannot start service %q: it is a definition only", id).
			WithRemedy("hero_proc service set " + id.Name + " --context " + id.Context + " --status stop")
	}
	if missing := c.missing(e); missing != "" {
		return nil, units.Errorf(units.CodeBlocked, "cannot start service %q: it requires %q, which is not registered", id, missing)
	}
	return e, nil
}

func (c *Controller) missing(e *entry) string {
	for _, name := range e.definition.Requires {
		if ref, err := units.ParseRef(e.definition.Context, name); err == nil && c.services[ref] == nil {
			return ref.String()
		}
	}
	return ""
}

func (c *Controller) alive(e *entry) bool { return e.job != 0 && !c.jobs[e.job].Phase.Terminal() }

func (c *Controller) start(e *entry) units.Job {
	s := e.definition
	e.loaded, e.loadedAs = s, e.digest
	id := int64(len(c.jobs) + 1)
	job := units.Job{ID: id, Run: id, Service: s.ID, Unit: s.Unit(), Attempt: 1, Phase: units.PhasePending, Created: c.tick()}
	if i := s.Primary(); i >= 0 {
		job.Action = s.Actions[i].Name
	}
	job.InvocationID = fmt.Sprintf("%032x", id)
	e.job, c.jobs[id] = id, job
	if !c.held[s.ID] {
		c.advance(e)
	}
	c.wake(s.ID)
	return c.jobs[id]
}

// advance makes of the job what the service comes to.
func (c *Controller) advance(e *entry) {
	job := c.jobs[e.job]
	i := e.loaded.Primary()
	switch result := c.failing[job.Service]; {
	case result != "":
		job.Phase, job.Result, job.ExitCode, job.ExitStatus = units.PhaseFailed, result, 1, 1
	case i >= 0 && e.loaded.Actions[i].Process:
		job.Phase, job.Started, job.MainPID = units.PhaseRunning, c.tick(), uint32(1000+job.ID)
	default:
		job.Phase, job.Started, job.Result, job.ExitCode = units.PhaseSucceeded, c.tick(), "success", 1
	}
	if job.Phase.Terminal() {
		job.Ended, job.MainPID = c.tick(), 0
	}
	c.jobs[job.ID] = job
}

// end stops what runs.
func (c *Controller) end(e *entry) {
	if !c.alive(e) {
		return
	}
	job := c.jobs[e.job]
	job.Phase, job.Result, job.Ended, job.MainPID = units.PhaseCanceled, "success", c.tick(), 0
	job.ExitCode, job.ExitStatus = 2, 15
	c.jobs[job.ID] = job
}

// reading is how each phase of the last job reads as a state.
var reading = map[units.Phase]struct {
	state       units.State
	active, sub string
}{
	"":                   {units.StateInactive, "inactive", "dead"},
	units.PhasePending:   {units.StateActivating, "activating", "start"},
	units.PhaseRunning:   {units.StateRunning, "active", "running"},
	units.PhaseSucceeded: {units.StateExited, "inactive", "dead"},
	units.PhaseFailed:    {units.StateFailed, "failed", "failed"},
	units.PhaseCanceled:  {units.StateInactive, "inactive", "dead"},
	units.PhaseLost:      {units.StateUnknown, "inactive", "dead"},
}

func (c *Controller) status(e *entry) units.Status {
	s := e.definition
	st := units.Status{ID: s.ID, Description: s.Description, Wanted: s.Wanted, State: units.StateInactive, HealthState: units.HealthNone}
	if s.Wanted == units.WantedSpec {
		return st
	}
	job := c.jobs[e.job]
	as := reading[job.Phase]
	st.State = as.state
	st.Stale = c.alive(e) && e.loadedAs != e.digest
	st.Unit = units.Unit{
		Name: s.Unit(), Load: "loaded", Active: as.active, Sub: as.sub, Result: job.Result,
		InvocationID: job.InvocationID, MainPID: job.MainPID, ExitCode: job.ExitCode, ExitStatus: job.ExitStatus,
		ActiveSince: job.Started, ExitedAt: job.Ended, ChangedAt: slices.MaxFunc([]time.Time{job.Created, job.Started, job.Ended}, time.Time.Compare),
		Digest: e.loadedAs,
	}
	switch missing := c.missing(e); {
	case st.State == units.StateFailed:
		st.Reason = "unit " + s.Unit() + " failed: " + st.Unit.Outcome()
		st.Remedy = "journalctl -u " + s.Unit() + " -e"
	case missing != "" && st.State == units.StateInactive:
		st.State, st.Reason = units.StateBlocked, fmt.Sprintf("requires %q, which is not registered", missing)
	}
	for i, a := range s.Actions {
		unit := st.Unit
		if i != s.Primary() {
			unit = units.Unit{Name: s.UnitOf(i), Load: "loaded", Active: as.active, Sub: as.sub}
		}
		st.Actions = append(st.Actions, units.ActionStatus{Name: a.Name, Unit: unit})
	}
	return st
}
