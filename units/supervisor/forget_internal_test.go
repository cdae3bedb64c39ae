package supervisor

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// met has the same to say of every unit.
type met struct{ Notes }

func (met) Take(string) ([]units.Event, error) {
	return []units.Event{{Code: units.EventPortTaken, Message: "taken"}}, nil
}

// reported counts the events that come to the log.
type reported struct {
	LogQueue
	Journal
	n *int
}

func (r reported) Append(units.Event) { *r.n++ }

func (reported) Send(units.Event) error { return nil }

// Services, and their actions, come and go; what is remembered is of those that
// are there.
func TestWhatIsRememberedIsOfWhatIsRegistered(t *testing.T) {
	t.Parallel()
	reports := 0
	s := New(Options{Notes: met{}, Logger: slog.New(slog.DiscardHandler), Now: time.Now, Queue: reported{n: &reports}, Journal: reported{}})
	h := s.history
	kept := func() int {
		return len(s.noted) + len(s.asked) + len(s.refused) +
			len(h.last) + len(h.seen) + len(h.missed) + len(h.ending) + len(h.stopping) + len(h.booting) + len(h.restarts)
	}
	set := func(name, action string) units.Service {
		service := units.Service{ID: units.ID{Context: "core", Name: name}, Actions: []units.Action{units.NewAction("main"), units.NewAction(action)}}
		s.rows[service.ID] = units.Registered{Service: service}
		s.redraw()
		return service
	}
	s.rows = map[units.ID]units.Registered{}
	for i := range 100 {
		service := set(fmt.Sprintf("s%d", i), "more")
		for range 2 { // it is said once
			s.takeNote(service.Unit())
		}
		s.ask(service.ID)
		s.refused[service.ID] = plan.Problem{}
		for j, unit := range allUnits(service) {
			if j == 0 { // the other one never had a job
				h.last[unit], h.ending[unit] = units.Job{Phase: units.PhaseFailed}, units.Job{}
			}
			h.seen[unit], h.missed[unit], h.stopping[unit], h.booting[unit], h.restarts[unit] = 1, true, true, time.Now(), 1
		}
		if kept() != 15 || reports != i+1 {
			t.Fatalf("of %s %d things are kept, and %d were reported of %d", service.ID, kept(), reports, i+1)
		}
		delete(s.rows, service.ID)
		s.redraw()
		if kept() != 0 {
			t.Fatalf("of %s, which is gone, %d things are kept", service.ID, kept())
		}
	}
	for i := range 100 {
		service := set("web", fmt.Sprintf("a%d", i))
		s.takeNote(service.UnitOf(1))
	}
	s.takeNote("hero-core-gone.service")
	if len(s.noted) != 1 {
		t.Errorf("of the actions that web has had are kept: %v", s.noted)
	}
	// What still runs of a definition that has changed is followed to its end.
	old := set("web", "old").UnitOf(1)
	h.last[old] = units.Job{Phase: units.PhaseRunning}
	if set("web", "new"); len(h.last) != 1 {
		t.Errorf("of the action that runs are kept %v", h.last)
	}
	h.last[old] = units.Job{Phase: units.PhaseCanceled}
	if set("web", "newer"); len(h.last) != 0 {
		t.Errorf("of the action that has ended are kept %v", h.last)
	}
}

// A request is another one than that of a service that had the name before.
func TestRequestsOfAnEarlierServiceAreOverruled(t *testing.T) {
	t.Parallel()
	s := New(Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	id := units.ID{Context: "core", Name: "web"}
	before := s.ask(id)
	s.forgetGone()
	if s.still(id, before) || s.ask(id) == before {
		t.Errorf("request %d of a service that is gone holds for the one of its name", before)
	}
}
