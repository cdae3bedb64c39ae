package systemd

import (
	"slices"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxDirty bounds what is remembered when nobody takes it. Beyond it, reading
// everything is cheaper than knowing what.
const maxDirty = 10_000

// changes collects what the signals say, until somebody takes it.
type changes struct {
	wake chan struct{} // buffer of 1

	mu         sync.Mutex
	names      map[string]struct{}
	results    map[string]string // of the last job of a unit
	all        bool
	lost, back bool
	// held: systemd reloads. It tells of every unit that it is gone, which is
	// not so; all is read again after it.
	held bool
}

func newChanges() changes {
	return changes{wake: make(chan struct{}, 1), names: make(map[string]struct{}), results: make(map[string]string)}
}

// mark says that a unit has to be read again, if it can be hero_proc's.
func (c *changes) mark(unit string) {
	if _, ok := units.ParseUnit(unit); !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held || c.all {
		return
	}
	c.names[unit] = struct{}{}
	if len(c.names) > maxDirty {
		c.readAll()
	}
	c.notify()
}

// over says how a unit's job has ended, and that the unit has to be read again.
// Nobody but the signal tells the result, so a reload doesn't keep it away.
func (c *changes) over(unit, result string) {
	if _, ok := units.ParseUnit(unit); !ok {
		return
	}
	c.mu.Lock()
	if len(c.results) < maxDirty || c.results[unit] != "" {
		c.results[unit] = result
	}
	c.mu.Unlock()
	c.mark(unit)
}

// hold begins and ends a reload.
func (c *changes) hold(held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = held
	if !held {
		c.readAll()
		c.notify()
	}
}

func (c *changes) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	c.notify()
}

func (c *changes) regain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back, c.held = true, false
	c.readAll()
	c.notify()
}

func (c *changes) readAll() {
	c.all = true
	clear(c.names)
}

func (c *changes) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *changes) take() units.Changes {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := units.Changes{All: c.all, Lost: c.lost, Back: c.back}
	for name := range c.names {
		taken.Units = append(taken.Units, name)
	}
	slices.Sort(taken.Units)
	if len(c.results) > 0 {
		taken.Jobs, c.results = c.results, make(map[string]string)
	}
	clear(c.names)
	c.all, c.lost, c.back = false, false, false
	return taken
}
