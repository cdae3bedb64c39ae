package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var whyNow = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// whyCase is a machine as an explanation sees it.
type whyCase struct {
	name     string
	services []units.Service
	// states has what differs from a service that runs.
	states map[string]units.Status
	jobs   map[string]units.Job
	events []units.LogEntry
	of     string // "a" unless given
	want   []string
	remedy string
	told   []string // the codes of the events
}

func svc(name string, change ...func(*units.Service)) units.Service {
	a := units.NewAction("main")
	a.Exec = []string{"/bin/" + name}
	s := units.Service{ID: units.ID{Context: "core", Name: name}, Wanted: units.WantedStart, Actions: []units.Action{a}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func requires(names ...string) func(*units.Service) {
	return func(s *units.Service) { s.Requires = names }
}

func wanted(w units.Wanted) func(*units.Service) { return func(s *units.Service) { s.Wanted = w } }

func is(state units.State, active, sub, reason string, change ...func(*units.Status)) units.Status {
	st := units.Status{State: state, Reason: reason, Unit: units.Unit{Load: "loaded", Active: active, Sub: sub}}
	for _, c := range change {
		c(&st)
	}
	return st
}

func with(change func(*units.Unit)) func(*units.Status) {
	return func(st *units.Status) { change(&st.Unit) }
}

var (
	inactive = is(units.StateInactive, "inactive", "dead", "")
	unwell   = is(units.StateFailed, "failed", "failed", "systemd's result is exit-code (exited with status 3)",
		func(st *units.Status) { st.Remedy = "journalctl" }, with(func(u *units.Unit) { u.Result, u.InvocationID = "exit-code", "f" }))
	blocked  = is(units.StateBlocked, "inactive", "dead", "it is blocked")
	starting = is(units.StateActivating, "activating", "start-post", "not ready yet (start-post), waiting for tcp:a:1",
		with(func(u *units.Unit) { u.JobID, u.InvocationID = 7, "s" }))
	hangs = is(units.StateDegraded, "active", "running", "its probe fails", func(st *units.Status) {
		st.Remedy, st.Unit.InvocationID = "mend", "h"
		st.Actions = []units.ActionStatus{{Name: "other"}, {Name: "main", Unit: st.Unit}}
		st.Health = []units.ActionHealth{{Action: "other", State: units.HealthHealthy}, {Action: "main", State: units.HealthUnhealthy, Since: whyNow}}
	})
	spent = is(units.StateFailed, "failed", "failed", "systemd's result is protocol; hero_proc starts it again at noon",
		func(st *units.Status) { st.Intends = "hero_proc starts it again at noon" }, with(func(u *units.Unit) { u.Result, u.Restarts = "protocol", 3 }))
	waiting = is(units.StateActivating, "inactive", "dead", startQueued, with(func(u *units.Unit) { u.JobID = 8 }))
)

func whyJob(phase units.Phase, invocation, result string) units.Job {
	j := units.Job{ID: 1, Attempt: 1, Phase: phase, InvocationID: invocation, Result: result, Created: whyNow.Add(-time.Minute)}
	if phase.Terminal() {
		j.Ended = whyNow
	}
	return j
}

func ready(r units.Ready) func(*units.Service) {
	return func(s *units.Service) { s.Actions[0].Ready = r }
}

func event(id int64, service string, code units.EventCode, at time.Duration) units.LogEntry {
	return units.LogEntry{ID: id, Event: units.Event{Time: whyNow.Add(at), Code: code, Service: units.ID{Context: "core", Name: service}}}
}

// met is what the preparation of a start has met.
func met(id int64, service string, code units.EventCode, at time.Duration) units.LogEntry {
	e := event(id, service, code, at)
	e.Source = units.SourcePrepare
	return e
}

func refusal(id int64, code units.EventCode, what, remedy string) units.LogEntry {
	e := event(id, "a", code, 0)
	e.Message, e.Remedy = "it was "+units.NotStarted+what, remedy
	return e
}

// explain reads what the supervisor would, which is no more than it has to.
func (c whyCase) explain() units.Explanation {
	rows := make([]units.Registered, len(c.services))
	for i, s := range c.services {
		rows[i].Service = s
	}
	g := NewGraph(rows)
	in := WhyInput{ID: units.ID{Context: "core", Name: "a"}, Graph: g, Events: c.events,
		Statuses: map[units.ID]units.Status{}, Problems: map[units.ID]Problem{}, Jobs: map[string]units.Job{}}
	queue := []units.ID{in.ID}
	for i := 0; i < len(queue); i++ {
		id := queue[i]
		s, ok := g.Service(id)
		if !ok {
			continue
		}
		st, given := c.states[id.Name]
		if !given {
			st = is(units.StateRunning, "active", "running", "")
		}
		st.ID, st.Wanted, st.Unit.Name = id, s.Wanted, id.Unit()
		in.Statuses[id] = st
		if p, broken := g.Problem(id); broken {
			in.Problems[id] = p
		}
		in.Jobs[id.Unit()] = c.jobs[id.Name]
		for _, suspect := range Suspects(g, st) {
			if !slices.Contains(queue, suspect.ID) {
				queue = append(queue, suspect.ID)
			}
		}
	}
	return Explain(in)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	said := map[units.State]bool{}
	for _, c := range whyCases {
		t.Run(c.name, func(t *testing.T) {
			e := c.explain()
			var got []string
			for _, l := range e.Links {
				text := fmt.Sprintf("%d %s %s", l.Depth, l.Relation, strings.TrimPrefix(l.ID.String(), "core/"))
				if l.Action != "" {
					text += " " + l.Action
				}
				text += ": " + l.What + " | " + l.Why
				if l.Root && (l.InvocationID != "" || l.Depth > 0) {
					text += " | root"
				}
				if l.InvocationID != "" {
					text += " | " + l.InvocationID
				}
				got = append(got, text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the chain is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if e.Remedy != c.remedy {
				t.Errorf("the remedy is %q, want %q", e.Remedy, c.remedy)
			}
			var told []string
			for _, ev := range e.Events {
				told = append(told, fmt.Sprintf("%d %s", ev.ID, ev.Code))
			}
			if !slices.Equal(told, c.told) {
				t.Errorf("the events are %q, want %q", told, c.told)
			}
			roots := 0
			for _, l := range e.Links {
				if l.Root {
					roots++
				}
			}
			if roots == 0 || e.State != e.Links[0].State {
				t.Errorf("%d roots, state %q", roots, e.State)
			}
		})
		for _, st := range c.states {
			said[st.State] = true
		}
	}
	said[units.StateRunning] = true
	for _, s := range units.States {
		if !said[s] {
			t.Errorf("no case has a service that is %s; there are %v", s, slices.Sorted(maps.Keys(said)))
		}
	}
}

// A chain as long as the store is cut, and says by how much.
func TestExplainIsBounded(t *testing.T) {
	t.Parallel()
	c := whyCase{states: map[string]units.Status{}}
	name := func(i int) string {
		if i == 0 {
			return "a"
		}
		return fmt.Sprintf("n%d", i)
	}
	for i := range 3 * MaxLinks {
		c.services = append(c.services, svc(name(i), requires(name(i+1))))
		c.states[name(i)] = inactive
	}
	c.services = append(c.services, svc(name(3*MaxLinks)))
	c.states[name(3*MaxLinks)] = inactive
	if e := c.explain(); len(e.Links) != MaxLinks || e.More != 1 {
		t.Errorf("%d links and %d more; want %d and 1", len(e.Links), e.More, MaxLinks)
	}
	// However long a chain of what runs is, there is nothing to say about it.
	c.states = nil
	if e := c.explain(); len(e.Links) != 1 || e.More != 0 {
		t.Errorf("of what runs there are %d links and %d more; want 1 and 0", len(e.Links), e.More)
	}
}
