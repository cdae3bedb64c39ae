package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) treeCommand() *cli.Command {
	return &cli.Command{
		Name:      "tree",
		Usage:     "show what services depend on, with their states",
		ArgsUsage: "[NAME] [--reverse] [--dot] [--context CONTEXT]",
		Description: `Below each service stands what it requires, wants and is after. What was shown
before is not shown again, and a cycle is named where it closes. Without a NAME,
it begins with the services that nothing depends on.

Example:
   hero_proc service tree web
   hero_proc service tree hero_db --reverse
   hero_proc service tree --dot | dot -Tsvg >services.svg`,
		Flags: []cli.Flag{
			contextFlag("the service's `CONTEXT`; without a NAME, only begin with services of it"),
			&cli.BoolFlag{Name: "reverse", Usage: "show what depends on it instead"},
			&cli.BoolFlag{Name: "dot", Usage: "print a graph in the language of graphviz"},
		},
		Action: quick(c.tree),
	}
}

func (c *call) tree(ctx context.Context, cc *cli.Context) error {
	var from *units.ID
	if cc.NArg() > 0 {
		id, err := oneID(cc)
		if err != nil {
			return err
		}
		from = &id
	}
	if c.json && cc.Bool("dot") {
		return usagef(cc, "--json and --dot are two forms of the same; want one of them")
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	services, err := api.Services(ctx)
	if err != nil {
		return err
	}
	dependencies, err := api.Dependencies(ctx)
	if err != nil {
		return err
	}
	f := newForest(services, dependencies, cc.Bool("reverse"))
	var roots []units.ID
	switch {
	case from != nil && !f.registered(*from):
		return units.NoSuchService(*from)
	case from != nil:
		roots = []units.ID{*from}
	default:
		roots = f.roots(chosen(cc))
	}
	nodes, edges := f.reach(roots)
	c.result["tree"] = f.view(nodes, edges)
	switch {
	case c.json:
	case cc.Bool("dot"):
		f.dot(c.Stdout, nodes, edges)
	case len(roots) == 0:
		c.hint("No service is registered.")
	default:
		c.printForest(f, roots)
	}
	return nil
}

// chosen is the context that was asked for by name, "" for none.
func chosen(cc *cli.Context) string {
	if cc.IsSet("context") {
		return cc.String("context")
	}
	return ""
}

// forest is the services and what leads from one to the next.
type forest struct {
	states map[units.ID]units.State
	next   map[units.ID][]edge
	ids    []units.ID // the registered ones, in the order of their names
	before map[units.ID]bool
	turned bool
}

// edge leads to a dependency; turned, to what depends on it.
type edge struct {
	to       units.ID
	relation units.Relation
	says     units.Dependency
}

func newForest(services []units.Status, dependencies []units.Dependency, reverse bool) *forest {
	f := &forest{states: map[units.ID]units.State{}, next: map[units.ID][]edge{}, before: map[units.ID]bool{}, turned: reverse}
	for _, s := range services {
		f.states[s.ID] = s.State
		f.ids = append(f.ids, s.ID)
	}
	slices.SortFunc(f.ids, compareIDs)
	for _, d := range dependencies {
		if d.Relation == units.RelationConflicts {
			continue // is no order
		}
		from, to := d.Service, d.On
		if reverse {
			from, to = to, from
		}
		f.next[from] = append(f.next[from], edge{to, d.Relation, d})
		f.before[to] = true
	}
	for _, edges := range f.next {
		slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(compareIDs(a.to, b.to), cmp.Compare(a.relation, b.relation)) })
	}
	return f
}

func compareIDs(a, b units.ID) int {
	return cmp.Or(strings.Compare(a.Context, b.Context), strings.Compare(a.Name, b.Name))
}

func (f *forest) registered(id units.ID) bool {
	_, ok := f.states[id]
	return ok
}

// roots are the services, of one context unless it is "", that nothing leads
// to; and where only a cycle does, the first of what would not be shown.
func (f *forest) roots(context string) []units.ID {
	var roots []units.ID
	shown := map[units.ID]bool{}
	show := func(id units.ID) {
		roots = append(roots, id)
		nodes, _ := f.reach([]units.ID{id})
		for _, n := range nodes {
			shown[n] = true
		}
	}
	for _, id := range f.ids {
		if !f.before[id] && (context == "" || id.Context == context) {
			show(id)
		}
	}
	for _, id := range f.ids {
		if !shown[id] && (context == "" || id.Context == context) {
			show(id)
		}
	}
	return roots
}

// reach is all that is reached from some services, and on which ways, each once.
func (f *forest) reach(from []units.ID) (nodes []units.ID, edges []units.Dependency) {
	seen := map[units.ID]bool{}
	for _, id := range from {
		if !seen[id] {
			seen[id] = true
			nodes = append(nodes, id)
		}
	}
	for i := 0; i < len(nodes); i++ {
		for _, e := range f.next[nodes[i]] {
			edges = append(edges, e.says)
			if !seen[e.to] {
				seen[e.to] = true
				nodes = append(nodes, e.to)
			}
		}
	}
	return nodes, edges
}

func (f *forest) word(id units.ID) string {
	if state, ok := f.states[id]; ok {
		return string(state)
	}
	return "not registered"
}

// printForest prints without recursion: a chain may be as long as the store.
func (c *call) printForest(f *forest, roots []units.ID) {
	type item struct {
		edge
		prefix string // before the branch
		last   bool   // of its siblings
		root   bool
		leave  bool // its subtree is done
	}
	var work []item
	for _, id := range slices.Backward(roots) {
		work = append(work, item{edge: edge{to: id}, root: true})
	}
	above, shown := map[units.ID]bool{}, map[units.ID]bool{}
	for len(work) > 0 {
		it := work[len(work)-1]
		work = work[:len(work)-1]
		if it.leave {
			delete(above, it.to)
			continue
		}
		branch, below := "", it.prefix
		switch {
		case it.root:
		case it.last:
			branch, below = "└─", below+"  "
		default:
			branch, below = "├─", below+"│ "
		}
		col := stateColor(f.states[it.to])
		if !f.registered(it.to) {
			col = red
		}
		line := it.prefix + branch + c.paint(col, "●") + " " + it.to.String() + " " + c.paint(col, f.word(it.to))
		if it.relation != "" {
			line += " (" + string(it.relation) + ")"
		}
		next := f.next[it.to]
		switch {
		case above[it.to]:
			line += " (a cycle)"
			next = nil
		case shown[it.to] && len(next) > 0:
			line += " (shown above)"
			next = nil
		}
		fmt.Fprintln(c.Stdout, line)
		if next == nil {
			continue
		}
		above[it.to], shown[it.to] = true, true
		work = append(work, item{edge: edge{to: it.to}, leave: true})
		for i, e := range slices.Backward(next) {
			work = append(work, item{edge: e, prefix: below, last: i == len(next)-1})
		}
	}
}

type treeView struct {
	Services     []nodeView       `json:"services"`
	Dependencies []dependencyView `json:"dependencies"`
}

type nodeView struct {
	Context    string `json:"context"`
	Name       string `json:"name"`
	Registered bool   `json:"registered"`
	State      string `json:"state"`
}

type dependencyView struct {
	Context   string `json:"context"`
	Service   string `json:"service"`
	Relation  string `json:"relation"`
	OnContext string `json:"on_context"`
	OnService string `json:"on_service"`
}

func (f *forest) view(nodes []units.ID, edges []units.Dependency) treeView {
	v := treeView{Services: []nodeView{}, Dependencies: []dependencyView{}}
	for _, id := range nodes {
		v.Services = append(v.Services, nodeView{id.Context, id.Name, f.registered(id), string(f.states[id])})
	}
	for _, d := range edges {
		v.Dependencies = append(v.Dependencies, dependencyView{d.Service.Context, d.Service.Name, string(d.Relation), d.On.Context, d.On.Name})
	}
	return v
}
