package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// service reads "name: requires a,b; after c; wants d; status stop" of context core.
func service(t *testing.T, text string) units.Service {
	t.Helper()
	name, rest, _ := strings.Cut(text, ":")
	s := units.Service{ID: units.ID{Context: "core", Name: name}, Wanted: units.WantedStart}
	if context, n, ok := strings.Cut(name, "/"); ok {
		s.ID = units.ID{Context: context, Name: n}
	}
	action := units.NewAction("main")
	action.Exec = []string{"/bin/sleep", "1"}
	s.Actions = []units.Action{action}
	for part := range strings.SplitSeq(rest, ";") {
		word, list, _ := strings.Cut(strings.TrimSpace(part), " ")
		switch word {
		case "requires":
			s.Requires = strings.Split(list, ",")
		case "after":
			s.After = strings.Split(list, ",")
		case "conflicts":
			s.Conflicts = strings.Split(list, ",")
		case "wants":
			s.Wants = strings.Split(list, ",")
		case "status":
			s.Wanted = units.Wanted(list)
		case "":
		default:
			t.Fatalf("what is %q?", part)
		}
	}
	if err := s.Validate(); err != nil {
		t.Fatalf("%q is no valid service: %v", text, err)
	}
	return s
}

func graph(t *testing.T, texts ...string) *Graph {
	t.Helper()
	var rows []units.Registered
	for _, text := range texts {
		if name, ok := strings.CutPrefix(text, "invalid "); ok {
			rows = append(rows, units.Registered{Service: units.Service{ID: units.ID{Context: "core", Name: name}}, Err: errors.New("it has no actions")})
			continue
		}
		rows = append(rows, units.Registered{Service: service(t, text)})
	}
	return NewGraph(rows)
}

func TestGraph(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		services []string
		order    string
		problems []string // "id code: part of the message"
	}{
		{"nothing", nil, "", nil},
		{"names, when nothing else orders", []string{"b", "a", "c"}, "core/a core/b core/c", nil},
		{"requires comes first", []string{"a: requires b", "b: requires c", "c"}, "core/c core/b core/a", nil},
		{"after comes first", []string{"a: after b", "b"}, "core/b core/a", nil},
		{"wants comes first", []string{"a: wants b", "b"}, "core/b core/a", nil},
		{"another context", []string{"a: requires data/b", "data/b"}, "data/b core/a", nil},
		{"a diamond", []string{"a: requires b,c", "b: requires d", "c: requires d", "d"}, "core/d core/b core/c core/a", nil},
		{"after something that isn't there is no problem", []string{"a: after ghost"}, "core/a", nil},
		{"wanting something that isn't there is no problem", []string{"a: wants ghost"}, "core/a", nil},
		{"a cycle of two", []string{"a: requires b", "b: requires a", "c"}, "core/a core/b core/c", []string{
			"core/a dependency-cycle: core/a after core/b after core/a",
			"core/b dependency-cycle: core/a after core/b after core/a"}},
		{"a cycle through after and wants", []string{"a: after b", "b: wants c", "c: requires a"}, "core/a core/b core/c", []string{
			"core/a dependency-cycle: core/a after core/b after core/c after core/a",
			"core/b dependency-cycle: core/a after", "core/c dependency-cycle: core/a after"}},
		{"two cycles are two", []string{"a: after b", "b: after a", "c: after d", "d: after c"}, "core/a core/b core/c core/d", []string{
			"core/a dependency-cycle: core/a after core/b", "core/b dependency-cycle: core/a after core/b",
			"core/c dependency-cycle: core/c after core/d", "core/d dependency-cycle: core/c after core/d"}},
		{"what requires a member of a cycle can't start", []string{"a: after b", "b: after a", "c: requires a", "d: requires c", "e: after a"},
			"core/a core/b core/c core/d core/e", []string{
				"core/a dependency-cycle: ", "core/b dependency-cycle: ",
				`core/c dependency-failed: requires "core/a", which can't start (dependency-cycle)`,
				`core/d dependency-failed: requires "core/c", which can't start (dependency-failed)`}},
		{"a requirement that isn't registered", []string{"a: requires ghost", "b: requires a", "c"}, "core/a core/b core/c", []string{
			`core/a dependency-missing: requires "core/ghost", which is not registered`,
			`core/b dependency-failed: requires "core/a"`}},
		{"a requirement that is a definition only", []string{"a: requires b", "b: status spec"}, "core/b core/a", []string{
			`core/a dependency-missing: requires "core/b", which is a definition only`}},
		{"a requirement that is not wanted at boot is systemd's to start", []string{"a: requires b", "b: status stop"}, "core/b core/a", nil},
		{"a definition that can't be read costs itself and what requires it", []string{"a: requires b", "invalid b", "c: after b"}, "core/a core/c", []string{
			`core/a dependency-missing: whose definition can't be used`,
			"core/b definition-invalid: it has no actions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graph(t, c.services...)
			var order []string
			for _, id := range g.Order() {
				order = append(order, id.String())
			}
			if got := strings.Join(order, " "); got != c.order {
				t.Errorf("order is %q, want %q", got, c.order)
			}
			broken := g.Broken()
			if len(broken) != len(c.problems) {
				t.Fatalf("broken are %v, want %q", broken, c.problems)
			}
			for i, id := range broken {
				p, _ := g.Problem(id)
				head, part, _ := strings.Cut(c.problems[i], ": ")
				if fmt.Sprintf("%s %s", id, p.Code) != head || !strings.Contains(p.Message, part) || !strings.Contains(p.Message, id.String()) {
					t.Errorf("problem of %s is %s: %s; want %q", id, p.Code, p.Message, c.problems[i])
				}
				if info, ok := p.Code.Info(); !ok || info.Level != units.LevelError || p.Remedy == "" {
					t.Errorf("problem of %s: event %+v, remedy %q", id, info, p.Remedy)
				}
			}
		})
	}
}

// A chain as long as a store may be must not need a deep stack, nor be slow.
func TestGraphOfALongChain(t *testing.T) {
	t.Parallel()
	const n = 20000
	rows := make([]units.Registered, n)
	for i := range rows {
		rows[i].Service = units.Service{ID: units.ID{Context: "core", Name: fmt.Sprintf("s%05d", i)}, Wanted: units.WantedStart}
		rows[i].Service.Requires = []string{fmt.Sprintf("s%05d", (i+1)%n)}
	}
	if got := len(NewGraph(rows).Broken()); got != n {
		t.Errorf("%d of %d services in one cycle are broken", got, n)
	}
	rows[n-1].Service.Requires = nil
	g := NewGraph(rows)
	if got := len(g.Broken()); got != 0 {
		t.Errorf("%d services of a chain without a cycle are broken", got)
	}
	if g.Order()[0].Name != "s19999" {
		t.Errorf("the chain begins with %s", g.Order()[0])
	}
	if got := len(g.StopsWith(units.ID{Context: "core", Name: "s19999"})); got != n-1 {
		t.Errorf("%d services stop with the last of the chain, want %d", got, n-1)
	}
}

func TestGraphNeighbours(t *testing.T) {
	t.Parallel()
	g := graph(t, "db", "a: requires db", "b: requires a", "c: after db", "d: wants db", "data/e: requires core/db")
	id := func(name string) units.ID { return units.ID{Context: "core", Name: name} }
	e := units.ID{Context: "data", Name: "e"}
	if got, want := g.RequiredBy(id("db")), []units.ID{id("a"), e}; !slices.Equal(got, want) {
		t.Errorf("db is required by %v, want %v", got, want)
	}
	if got, want := g.StopsWith(id("db")), []units.ID{id("a"), id("b"), e}; !slices.Equal(got, want) {
		t.Errorf("with db stop %v, want %v", got, want)
	}
	if got, want := g.Requires(id("b")), []units.ID{id("a")}; !slices.Equal(got, want) {
		t.Errorf("b requires %v, want %v", got, want)
	}
	if got := g.StopsWith(id("b")); len(got) != 0 {
		t.Errorf("with b stop %v, want none", got)
	}
}
