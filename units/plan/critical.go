package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// apart is how long after everything was done a unit has to begin to be that
// of a later start of hero_proc's. Within one, what waits for others begins as
// soon as these are done.
const apart = 10 * time.Second

// AnalyzeBoot says what the last boot of the machine waited for. jobs are those
// of the runs that a boot began, since the machine came up at booted. What
// waits for what is as the definitions have it by now.
func AnalyzeBoot(g *Graph, jobs []units.Job, booted time.Time) units.BootAnalysis {
	all := bootUnits(jobs)
	at := make(map[string]int, len(all))
	for i, u := range all {
		at[u.Unit] = i
	}
	last := -1
	for i := range all {
		u := &all[i]
		var held time.Time
		for _, name := range g.beforeUnit(u.Service, u.Action) {
			k, ok := at[name]
			if !ok || k >= i { // what began later held nobody back
				continue
			}
			done := all[k].Done()
			if !done.IsZero() && !done.After(u.Began) && done.After(held) {
				held, u.WaitedFor = done, name
			}
		}
		if last < 0 || !u.Done().Before(all[last].Done()) {
			last = i
		}
	}
	// What held a unit back began before, so this ends.
	for i := last; i >= 0 && !all[i].Done().IsZero(); {
		all[i].Critical = true
		next, ok := at[all[i].WaitedFor]
		if !ok {
			break
		}
		i = next
	}
	return units.BootAnalysis{Booted: booted, Units: all}
}

// bootUnits makes one of the attempts of each unit's first run, in the order in
// which they began, and leaves out what a later start of hero_proc began.
func bootUnits(jobs []units.Job) []units.BootUnit {
	jobs = slices.Clone(jobs)
	slices.SortStableFunc(jobs, func(a, b units.Job) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	byUnit := map[string]*units.BootUnit{}
	runs := map[string]int64{}
	for _, j := range jobs {
		u, known := byUnit[j.Unit]
		if !known {
			u = &units.BootUnit{Service: j.Service, Action: j.Action, Unit: j.Unit, Began: j.Created}
			if j.Started.IsZero() {
				u.Ended = j.Ended
			}
			byUnit[j.Unit], runs[j.Unit] = u, j.Run
		}
		if j.Run != runs[j.Unit] {
			continue
		}
		u.Attempts++
		u.Phase = j.Phase
		if u.Ready.IsZero() {
			u.Ready = j.Started
		}
	}
	all := make([]units.BootUnit, 0, len(byUnit))
	for _, u := range byUnit {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b units.BootUnit) int {
		return cmp.Or(a.Began.Compare(b.Began), strings.Compare(a.Unit, b.Unit))
	})
	var done time.Time // of all so far
	for i, u := range all {
		if i > 0 && u.Began.After(done.Add(apart)) {
			return all[:i]
		}
		for _, t := range []time.Time{u.Began, u.Done()} {
			if t.After(done) {
				done = t
			}
		}
		if u.Done().IsZero() && !u.Phase.Terminal() {
			return all // it may still hold back the rest
		}
	}
	return all
}

// beforeUnit are the units that an action's unit comes after; "" is the
// primary action.
func (g *Graph) beforeUnit(id units.ID, action string) []string {
	s, ok := g.services[id]
	if !ok {
		return nil
	}
	var names []string
	for _, dep := range g.before[id] {
		names = append(names, dep.Unit())
	}
	for i, a := range s.Actions {
		if a.Name != action && (action != "" || i != s.Primary()) {
			continue
		}
		for k, other := range s.Actions {
			if slices.Contains(a.DependsOn, other.Name) {
				names = append(names, s.UnitOf(k))
			}
		}
	}
	return names
}

// Dependencies are what the services say of each other, in the order of the
// services' names and of their definitions.
func (g *Graph) Dependencies() []units.Dependency {
	var all []units.Dependency
	for _, id := range g.ids {
		s := g.services[id]
		for _, list := range []struct {
			relation units.Relation
			names    []string
		}{
			{units.RelationRequires, s.Requires}, {units.RelationAfter, s.After},
			{units.RelationWants, s.Wants}, {units.RelationConflicts, s.Conflicts},
		} {
			for _, on := range refs(id.Context, list.names) {
				all = append(all, units.Dependency{Service: id, On: on, Relation: list.relation})
			}
		}
	}
	return all
}
