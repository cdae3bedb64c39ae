package supervisor

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// openRuns are the ad-hoc runs that are not over, by their units. The store
// has them too.
type openRuns struct {
	mu   sync.Mutex
	open map[string]units.OpenRun
}

func (o *openRuns) track(r units.OpenRun) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[string]units.OpenRun{}
	}
	o.open[r.Unit()] = r
}

func (o *openRuns) cancel(unit string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r, ok := o.open[unit]; ok {
		r.Canceled = true
		o.open[unit] = r
	}
}

func (o *openRuns) drop(unit string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, unit)
}

func (o *openRuns) has(unit string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.open[unit]
	return ok
}

func (o *openRuns) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open)
}

// all are the runs in the order in which they were begun.
func (o *openRuns) all() []units.OpenRun {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.SortedFunc(maps.Values(o.open), func(a, b units.OpenRun) int { return cmp.Compare(a.Run, b.Run) })
}
