package apitest

import (
	"context"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Explain blames each service for its own state: it follows no chain.
func (c *Controller) Explain(_ context.Context, id units.ID) (units.Explanation, error) {
	if err := id.Check(); err != nil {
		return units.Explanation{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	link := units.Link{ID: id, What: "is not registered", Root: true}
	if e := c.services[id]; e != nil {
		st, job := c.status(e), c.jobs[e.job]
		link.Unit, link.State, link.What, link.Why, link.Remedy = st.Unit.Name, st.State, "is "+string(st.State), st.Reason, st.Remedy
		link.Since, link.InvocationID = job.Ended, job.InvocationID
	}
	out := units.Explanation{ID: id, State: link.State, Links: []units.Link{link}, Remedy: link.Remedy}
	for _, e := range c.logs {
		if e.Service == id {
			out.Events = append(out.Events, e)
		}
	}
	return out, nil
}

// Dependencies are those of the definitions, in the order of their names.
func (c *Controller) Dependencies(context.Context) ([]units.Dependency, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []units.Dependency{}
	for id, e := range c.services {
		for relation, names := range map[units.Relation][]string{
			units.RelationRequires: e.definition.Requires, units.RelationAfter: e.definition.After,
			units.RelationWants: e.definition.Wants, units.RelationConflicts: e.definition.Conflicts,
		} {
			for _, name := range names {
				if on, err := units.ParseRef(id.Context, name); err == nil {
					all = append(all, units.Dependency{Service: id, On: on, Relation: relation})
				}
			}
		}
	}
	key := func(d units.Dependency) string {
		return d.Service.String() + " " + d.On.String() + " " + string(d.Relation)
	}
	slices.SortFunc(all, func(a, b units.Dependency) int { return strings.Compare(key(a), key(b)) })
	return all, nil
}

// AnalyzeBoot takes all jobs for those of the boot, and sees no chain in them.
func (c *Controller) AnalyzeBoot(context.Context) (units.BootAnalysis, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := units.BootAnalysis{Booted: c.health.Started}
	for id := int64(1); id <= int64(len(c.jobs)); id++ {
		j := c.jobs[id]
		out.Units = append(out.Units, units.BootUnit{
			Service: j.Service, Action: j.Action, Unit: j.Unit, Phase: j.Phase, Attempts: j.Attempt, Began: j.Created, Ready: j.Started,
		})
	}
	return out, nil
}
