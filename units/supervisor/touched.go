package supervisor

import (
	"maps"
	"slices"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxTouched bounds what is remembered for a reader that doesn't come.
const maxTouched = 10000

// touched collects what may read differently from before, for whoever tells
// the API's clients.
type touched struct {
	wake chan struct{}

	mu       sync.Mutex
	services map[units.ID]bool
	jobs     map[int64]bool
	all      bool
}

func newTouched() *touched {
	return &touched{wake: make(chan struct{}, 1), services: map[units.ID]bool{}, jobs: map[int64]bool{}}
}

func (t *touched) mark(services []units.ID, jobs []int64, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range services {
		t.services[id] = true
	}
	for _, id := range jobs {
		t.jobs[id] = true
	}
	if all || len(t.services)+len(t.jobs) > maxTouched {
		t.all = true
		clear(t.services)
		clear(t.jobs)
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *touched) take() units.Touched {
	t.mu.Lock()
	defer t.mu.Unlock()
	got := units.Touched{
		Services: slices.Collect(maps.Keys(t.services)),
		Jobs:     slices.Collect(maps.Keys(t.jobs)),
		All:      t.all,
	}
	clear(t.services)
	clear(t.jobs)
	t.all = false
	return got
}

// Touched has a value when there is something for TakeTouched.
func (s *Supervisor) Touched() <-chan struct{} { return s.touched.wake }

// TakeTouched says what may read differently since it was last called. Who reads the
// services after it joins no reading that began before.
func (s *Supervisor) TakeTouched() units.Touched {
	defer s.reading.Forget("services")
	return s.touched.take()
}

// touch marks services, and those that read as blocked because of them.
func (s *Supervisor) touch(ids ...units.ID) {
	g := s.graph.Load()
	var all []units.ID
	for _, id := range ids {
		all = append(append(all, id), g.RequiredBy(id)...)
	}
	s.touched.mark(all, nil, false)
}
