package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Problem is why a service can't be started, found before systemd is asked.
type Problem struct {
	Code    units.EventCode
	Message string
	Remedy  string
}

// Graph is the registered services and what they need of each other. It is
// made once from one reading of the store and never changes.
type Graph struct {
	services map[units.ID]units.Service
	digests  map[units.ID]string
	sizes    map[string]int
	invalid  map[units.ID]error
	ids, all []units.ID // that can be read, and with the others; by name
	// order has every service that can be read, what comes first first; the
	// members of a cycle stand in the order of their names.
	order    []units.ID
	problems map[units.ID]Problem
	// The dependencies, resolved once.
	requires, before, requiredBy, conflicts map[units.ID][]units.ID
}

// NewGraph finds the order of the services, and those that can't start: the
// ones whose definition can't be read, that require something which is not
// there, that are part of a cycle, or that require one of these.
func NewGraph(rows []units.Registered) *Graph {
	g := &Graph{
		services: make(map[units.ID]units.Service, len(rows)),
		digests:  make(map[units.ID]string, len(rows)),
		sizes:    map[string]int{},
		invalid:  map[units.ID]error{},
		problems: map[units.ID]Problem{},
		requires: map[units.ID][]units.ID{}, before: map[units.ID][]units.ID{}, requiredBy: map[units.ID][]units.ID{},
		conflicts: map[units.ID][]units.ID{},
		ids:       make([]units.ID, 0, len(rows)),
		all:       make([]units.ID, 0, len(rows)),
		order:     make([]units.ID, 0, len(rows)),
	}
	for _, r := range rows {
		g.all = append(g.all, r.Service.ID)
		if r.Err != nil {
			g.invalid[r.Service.ID] = r.Err
			g.problems[r.Service.ID] = Problem{
				Code:    units.EventDefinitionInvalid,
				Message: fmt.Sprintf("the definition of service %q can't be used: %v", r.Service.ID, r.Err),
				Remedy:  fmt.Sprintf("hero_proc service remove %s\nhero_proc service set %s --exec 'COMMAND'", r.Service.ID, r.Service.ID),
			}
			continue
		}
		g.ids = append(g.ids, r.Service.ID)
		g.services[r.Service.ID] = r.Service
		g.digests[r.Service.ID] = r.Digest
		if r.Digest == "" {
			g.digests[r.Service.ID] = r.Service.Digest()
		}
		g.sizes[r.Service.Context]++
	}
	slices.SortFunc(g.ids, compareIDs)
	slices.SortFunc(g.all, compareIDs)
	g.resolve(g.ids)
	g.findCycles(g.ids)
	for _, id := range g.ids {
		g.findMissing(id)
	}
	g.spread()
	return g
}

func compareIDs(a, b units.ID) int {
	return cmp.Or(strings.Compare(a.Context, b.Context), strings.Compare(a.Name, b.Name))
}

// Service is the definition of a service; false when there is none that can be read.
func (g *Graph) Service(id units.ID) (units.Service, bool) {
	s, ok := g.services[id]
	return s, ok
}

// Digest is that of a service's definition, worked out once.
func (g *Graph) Digest(id units.ID) string { return g.digests[id] }

// Size is how many services a context has.
func (g *Graph) Size(context string) int { return g.sizes[context] }

// Problem is why the service can't be started; false when nothing is in its way.
func (g *Graph) Problem(id units.ID) (Problem, bool) {
	p, ok := g.problems[id]
	return p, ok
}

// IDs are all services, also those that can't be read, in the order of their names.
func (g *Graph) IDs() []units.ID { return g.all }

// Order is every service that can be read, dependencies first.
func (g *Graph) Order() []units.ID { return g.order }

// Broken are the services with a problem, in the order of their names.
func (g *Graph) Broken() []units.ID {
	ids := make([]units.ID, 0, len(g.problems))
	for id := range g.problems {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// Requires are the services that this one requires, as its definition names them.
func (g *Graph) Requires(id units.ID) []units.ID { return g.requires[id] }

// RequiredBy are the services that require this one directly, in the order of their names.
func (g *Graph) RequiredBy(id units.ID) []units.ID { return g.requiredBy[id] }

// resolve turns the names in the definitions into services.
func (g *Graph) resolve(ids []units.ID) {
	for _, id := range ids {
		s := g.services[id]
		if len(s.Requires)+len(s.After)+len(s.Wants)+len(s.Conflicts) == 0 {
			continue // as most are
		}
		g.requires[id] = refs(id.Context, s.Requires)
		g.before[id] = slices.Concat(g.requires[id], refs(id.Context, s.After), refs(id.Context, s.Wants))
		for _, other := range refs(id.Context, s.Conflicts) {
			g.conflicts[id] = append(g.conflicts[id], other)
			g.conflicts[other] = append(g.conflicts[other], id)
		}
		for _, dep := range g.requires[id] {
			if !slices.Contains(g.requiredBy[dep], id) {
				g.requiredBy[dep] = append(g.requiredBy[dep], id)
			}
		}
	}
}

// rival is a service of the set that this one conflicts with, in either's
// definition.
func (g *Graph) rival(id units.ID, up map[units.ID]bool) (units.ID, bool) {
	for _, other := range g.conflicts[id] {
		if up[other] && other != id {
			return other, true
		}
	}
	return units.ID{}, false
}

// StopsWith are all services that systemd stops when this one is stopped:
// those that require it, and those that require these. Dependencies come first.
func (g *Graph) StopsWith(id units.ID) []units.ID {
	hit := map[units.ID]bool{id: true}
	var with []units.ID
	for _, other := range g.order {
		if other == id {
			continue
		}
		for _, r := range g.Requires(other) {
			if hit[r] {
				hit[other] = true
				with = append(with, other)
				break
			}
		}
	}
	return with
}

// refs resolves dependencies; a name that is none can't be in a valid definition.
func refs(context string, names []string) []units.ID {
	ids := make([]units.ID, 0, len(names))
	for _, name := range names {
		if id, err := units.ParseRef(context, name); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// findCycles orders the services and finds the strongly connected components
// of the ordering (Tarjan's algorithm, without recursion: a chain may be as
// long as the store).
func (g *Graph) findCycles(ids []units.ID) {
	type frame struct {
		id   units.ID
		next []units.ID
	}
	index := make(map[units.ID]int, len(ids))
	low := make(map[units.ID]int, len(ids))
	onStack := make(map[units.ID]bool, len(ids))
	var stack []units.ID
	visit := func(id units.ID) frame {
		index[id] = len(index) + 1
		low[id] = index[id]
		stack = append(stack, id)
		onStack[id] = true
		return frame{id, g.before[id]}
	}
	for _, root := range ids {
		if index[root] != 0 {
			continue
		}
		work := []frame{visit(root)}
		for len(work) > 0 {
			top := &work[len(work)-1]
			if len(top.next) > 0 {
				dep := top.next[0]
				top.next = top.next[1:]
				if _, ok := g.services[dep]; !ok {
					continue
				}
				if index[dep] == 0 {
					work = append(work, visit(dep))
				} else if onStack[dep] {
					low[top.id] = min(low[top.id], index[dep])
				}
				continue
			}
			id := top.id
			work = work[:len(work)-1]
			if len(work) > 0 {
				parent := work[len(work)-1].id
				low[parent] = min(low[parent], low[id])
			}
			if low[id] != index[id] {
				continue
			}
			at := slices.Index(stack, id)
			component := slices.Clone(stack[at:])
			stack = stack[:at]
			for _, member := range component {
				onStack[member] = false
			}
			slices.SortFunc(component, compareIDs)
			g.order = append(g.order, component...)
			if len(component) > 1 || slices.Contains(g.before[id], id) {
				g.addCycle(component)
			}
		}
	}
}

// maxShown bounds how many members of a cycle a message names.
const maxShown = 10

func (g *Graph) addCycle(members []units.ID) {
	path := g.cyclePath(members)
	names := make([]string, 0, maxShown+2)
	for i, id := range path {
		if i == maxShown && len(path) > maxShown+2 {
			names = append(names, fmt.Sprintf("%d more", len(path)-i-1), path[len(path)-1].String())
			break
		}
		names = append(names, id.String())
	}
	cycle := strings.Join(names, " after ")
	in := make(map[units.ID]bool, len(members))
	for _, id := range members {
		in[id] = true
	}
	for _, id := range members {
		g.problems[id] = Problem{
			Code:    units.EventDependencyCycle,
			Message: fmt.Sprintf("service %q can't start: it is in a dependency cycle: %s", id, cycle),
			Remedy:  fmt.Sprintf("hero_proc service show %s\n%s", id, g.Without(id, func(dep units.ID) bool { return in[dep] })),
		}
	}
}

// cyclePath walks one cycle through the first member, and back to it.
func (g *Graph) cyclePath(members []units.ID) []units.ID {
	first := members[0]
	in := make(map[units.ID]bool, len(members))
	for _, id := range members {
		in[id] = true
	}
	from := map[units.ID]units.ID{}
	queue := []units.ID{first}
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		for _, dep := range g.before[id] {
			if dep == first {
				path := []units.ID{first}
				for ; id != first; id = from[id] {
					path = append(path, id)
				}
				path = append(path, first)
				slices.Reverse(path)
				return path
			}
			if _, seen := from[dep]; !seen && in[dep] {
				from[dep] = id
				queue = append(queue, dep)
			}
		}
	}
	return members
}

// findMissing finds what the service requires and can't have.
func (g *Graph) findMissing(id units.ID) {
	if _, broken := g.problems[id]; broken {
		return
	}
	for _, dep := range g.Requires(id) {
		var why, remedy string
		s, ok := g.services[dep]
		switch {
		case ok && s.Wanted == units.WantedSpec:
			why = "which is a definition only (wanted status spec)"
			remedy = fmt.Sprintf("hero_proc service enable %s", dep)
		case ok:
			continue
		case g.invalid[dep] != nil:
			why = "whose definition can't be used"
			remedy = fmt.Sprintf("hero_proc service set %s --exec 'COMMAND'", dep)
		default:
			why = "which is not registered"
			remedy = fmt.Sprintf("hero_proc service set %s --exec 'COMMAND'", dep)
		}
		g.problems[id] = Problem{
			Code:    units.EventDependencyMissing,
			Message: fmt.Sprintf("service %q can't start: it requires %q, %s", id, dep, why),
			Remedy:  remedy + fmt.Sprintf("\nhero_proc service start %s", id),
		}
		return
	}
}

// spread carries problems on to what requires their services. The order has
// dependencies first, so one pass is enough.
func (g *Graph) spread() {
	for _, id := range g.order {
		if _, broken := g.problems[id]; broken {
			continue
		}
		for _, dep := range g.Requires(id) {
			p, broken := g.problems[dep]
			if !broken {
				continue
			}
			g.problems[id] = Problem{
				Code:    units.EventDependencyFailed,
				Message: fmt.Sprintf("service %q can't start: it requires %q, which can't start (%s)", id, dep, p.Code),
				Remedy:  fmt.Sprintf("hero_proc service status %s", dep),
			}
			break
		}
	}
}
