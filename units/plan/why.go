package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// MaxLinks bounds the services of an explanation. Nobody reads a longer chain,
// and anybody may ask for it.
const MaxLinks = 100

// maxEvents bounds the events of an explanation, the newest of each kind.
const maxEvents = 10

// beforehand is how long before a job the decision to make it may have been
// reported, and announces are such decisions.
const beforehand = 10 * time.Second

var announces = []units.EventCode{units.EventUnhealthyRestart, units.EventStartedAgain, units.EventDependencyBack}

// early is how long before a start, as systemd notes it, what prepares it may
// have met something: systemd notes what it has forked, which may be quicker.
const early = time.Second

// WhyInput is all that an explanation depends on.
type WhyInput struct {
	ID    units.ID
	Graph *Graph
	// Statuses are those of the service, and of what [Suspects] names of it and
	// of these. One that is not registered has none.
	Statuses map[units.ID]units.Status
	// Problems are those that are known of the services.
	Problems map[units.ID]Problem
	// Jobs are the last ones of the services' units.
	Jobs map[string]units.Job
	// Events are what was reported of the services, the oldest first.
	Events []units.LogEntry
}

// Suspect is a service that may be the cause of another one's state.
type Suspect struct {
	ID       units.ID
	Relation units.Relation
}

// Suspects are the services that may be to blame for the state of this one,
// in the order of its definition. Whether they are, their own states say.
func Suspects(g *Graph, st units.Status) []Suspect {
	s, ok := g.Service(st.ID)
	up := st.State == units.StateRunning
	switch {
	case !ok, s.Wanted == units.WantedSpec:
		return nil
	case up: // and may be of no use all the same
	case st.State.Active(), st.State == units.StateFailed, st.State == units.StateUnknown, st.Unit.Alive():
		return nil // its own fault, or none
	}
	var all []Suspect
	add := func(relation units.Relation, ids []units.ID) {
		for _, id := range ids {
			if !slices.ContainsFunc(all, func(other Suspect) bool { return other.ID == id }) {
				all = append(all, Suspect{id, relation})
			}
		}
	}
	add(units.RelationRequires, refs(s.Context, s.Requires))
	switch {
	case up:
	case queued(st.Unit):
		add(units.RelationAfter, refs(s.Context, s.After))
		add(units.RelationWants, refs(s.Context, s.Wants))
	default:
		add(units.RelationConflicts, g.conflicts[s.ID])
	}
	return all
}

// queued says that systemd has a start of the unit that waits for others.
func queued(u units.Unit) bool {
	return u.JobID != 0 && (u.Active == "inactive" || u.Active == "failed")
}

// Explain follows the chain from a service to what is to blame for its state.
// A service comes once, however many ways lead to it, so a cycle ends it.
func Explain(in WhyInput) units.Explanation {
	w := walk{WhyInput: in, seen: map[units.ID]bool{in.ID: true}, unwell: map[units.ID]bool{}}
	w.visit(Suspect{ID: in.ID}, 0)
	out := units.Explanation{ID: in.ID, State: in.Statuses[in.ID].State, Links: w.links, More: w.more, Events: w.events()}
	out.Remedy = w.remedy()
	return out
}

// walk is one explanation in the making.
type walk struct {
	WhyInput
	seen  map[units.ID]bool
	links []units.Link
	more  int
	// unwell has what was found out about services that others require.
	unwell map[units.ID]bool
	// rivals are what decides between services that conflict.
	rivals []string
}

// visit adds the link of a service, and below it those of its causes.
func (w *walk) visit(s Suspect, depth int) {
	if len(w.links) >= MaxLinks {
		w.more++
		return
	}
	causes := w.causes(s.ID)
	at := len(w.links)
	link := w.link(s.ID, causes)
	link.Relation, link.Depth = s.Relation, depth
	w.links = append(w.links, link)
	w.actions(s.ID, depth+1)
	for _, c := range causes {
		if !w.seen[c.ID] {
			w.seen[c.ID] = true
			w.visit(c, depth+1)
		}
	}
	// A cause that was told before, or is left out, is one all the same.
	w.links[at].Root = len(causes) == 0 && len(w.links) == at+1
	if len(causes) > 0 && causes[0].Relation == units.RelationConflicts {
		w.rivals = append(w.rivals, link.Remedy)
	}
}

// causes are those of the suspects that are to blame.
func (w *walk) causes(id units.ID) []Suspect {
	st, ok := w.Statuses[id]
	if !ok {
		return nil
	}
	if p, broken := w.Problems[id]; broken && p.Code != units.EventDependencyMissing && p.Code != units.EventDependencyFailed {
		return nil
	}
	if st.Unit.Broken() || st.Unit.Active == "deactivating" {
		return nil
	}
	guilty := slices.DeleteFunc(Suspects(w.Graph, st), func(s Suspect) bool { return !w.blames(st, s) })
	// What it conflicts with matters only if nothing is missing.
	if len(guilty) > 0 && guilty[0].Relation == units.RelationRequires && !queued(st.Unit) {
		guilty = slices.DeleteFunc(guilty, func(s Suspect) bool { return s.Relation == units.RelationConflicts })
	}
	return guilty
}

// blames says whether the other service is to blame for the state of this one.
func (w *walk) blames(st units.Status, s Suspect) bool {
	other, registered := w.Statuses[s.ID]
	switch {
	case st.State == units.StateRunning:
		return w.isUnwell(s.ID)
	case s.Relation == units.RelationConflicts:
		return st.Wanted == units.WantedStart && (other.State.Active() || other.Unit.Alive())
	case queued(st.Unit):
		return registered && (other.Unit.Active == "activating" || queued(other.Unit))
	case registered && other.State.Active():
		return false
	case st.State == units.StateBlocked:
		return true
	}
	// A service that is down keeps down only what was to be up: what somebody
	// wanted, what failed with it, or what systemd stopped together with it.
	job := w.Jobs[st.Unit.Name]
	switch job.Phase {
	case units.PhaseCanceled:
		return w.Jobs[other.Unit.Name].Phase == units.PhaseCanceled
	case units.PhaseFailed:
		return job.Result == "dependency"
	default:
		return st.Wanted == units.WantedStart && job.Phase != units.PhaseSucceeded
	}
}

// isUnwell says that a service is no good to those that require it: it is not
// up, or not well, or what it requires itself isn't.
func (w *walk) isUnwell(id units.ID) bool {
	if known, ok := w.unwell[id]; ok {
		return known
	}
	w.unwell[id] = false // a cycle
	st, read := w.Statuses[id]
	_, registered := w.Graph.Service(id)
	switch {
	case !read:
		w.unwell[id] = !registered // the end of a very long chain was not read
	case st.State == units.StateRunning:
		w.unwell[id] = slices.ContainsFunc(w.Graph.Requires(id), w.isUnwell)
	default:
		w.unwell[id] = st.State != units.StateExited && st.State != units.StateUnknown
	}
	return w.unwell[id]
}

// actions adds the actions of a service that is up which are down.
func (w *walk) actions(id units.ID, depth int) {
	st := w.Statuses[id]
	s, ok := w.Graph.Service(id)
	if !ok || st.State != units.StateDegraded {
		return
	}
	for i, a := range st.Actions {
		u := a.Unit
		if i == s.Primary() || u.Active == "active" || u.Active == "reloading" {
			continue
		}
		link := units.Link{
			ID: id, Depth: depth, Relation: units.RelationAction, Action: a.Name, Unit: u.Name, State: st.State, Root: true,
			Since: u.ChangedAt, InvocationID: u.InvocationID, Remedy: "journalctl -u " + u.Name + "\nhero_proc service restart " + id.String(),
		}
		switch {
		case !u.Loaded():
			link.What, link.Why = "is not loaded", "systemd does not have "+u.Name
		case u.Broken():
			p := Unusable(id, u)
			link.What, link.Why, link.Remedy = "can't be started", p.Message, p.Remedy
		case u.Active == "failed":
			link.What, link.Why = "has failed", outcome(u)
		case u.Active == "activating":
			link.What, link.Why = "is starting", "it is not ready yet ("+u.Sub+")"
		default:
			link.What = "is " + u.Active
		}
		w.links = append(w.links, link)
	}
}

// events are those of the services in the chain that are still to the point:
// since the last job was asked for, and of each kind the newest. Once a service
// is registered, nobody asks whether it was.
func (w *walk) events() []units.LogEntry {
	type kind struct {
		service units.ID
		code    units.EventCode
	}
	told := map[kind]bool{}
	var all []units.LogEntry
	for _, e := range slices.Backward(w.Events) {
		k := kind{e.Service, e.Code}
		job := w.Jobs[e.Service.Unit()]
		since := job.Created
		switch {
		case slices.Contains(announces, e.Code):
			since = since.Add(-beforehand)
		case e.Source == units.SourcePrepare:
			since = since.Add(-early)
		}
		// A further attempt doesn't say when its run began.
		old := job.Attempt == 1 && e.Time.Before(since)
		_, registered := w.Statuses[e.Service]
		if !w.seen[e.Service] || told[k] || old || e.Code == units.EventNotRegistered && registered || len(all) == maxEvents {
			continue
		}
		told[k] = true
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b units.LogEntry) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return all
}

// remedy is what mends the roots, and then starts the service.
func (w *walk) remedy() string {
	var lines []string
	add := func(text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	for _, l := range w.links {
		if l.Root {
			add(l.Remedy)
		}
	}
	for _, r := range w.rivals {
		add(r)
	}
	st, registered := w.Statuses[w.ID]
	waits := st.Unit.Alive() || queued(st.Unit) || len(w.rivals) > 0 || w.comesBack(st)
	if registered && !waits && len(w.links) > 1 && st.Wanted != units.WantedSpec {
		add("hero_proc service start " + w.ID.String())
	}
	return strings.Join(lines, "\n")
}
