package plan

import (
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// A remedy takes out what is in the way, and repeats what stays.
func TestWithout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		services []string
		of, out  string
		want     string
	}{
		{"the only one", []string{"a: requires b", "b"}, "a", "b", "hero_proc service set core/a --requires ''"},
		{"one of three", []string{"a: requires db,b,lab/x", "b", "db"}, "a", "b", "hero_proc service set core/a --requires db --requires lab/x"},
		{"by its long name", []string{"a: requires core/b", "b"}, "a", "b", "hero_proc service set core/a --requires ''"},
		{"in two lists", []string{"a: requires b; after b,c; wants d"}, "a", "b", "hero_proc service set core/a --requires '' --after c"},
		{"in none", []string{"a: requires b"}, "a", "c", "hero_proc service set core/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := units.ID{Context: "core", Name: c.out}
			got := graph(t, c.services...).Without(units.ID{Context: "core", Name: c.of}, func(id units.ID) bool { return id == out })
			if got != c.want {
				t.Errorf("it is\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	// The remedy of a cycle opens it, and costs nothing else.
	g := graph(t, "a: requires db,b; after c", "b: requires a", "db", "c")
	p, _ := g.Problem(units.ID{Context: "core", Name: "a"})
	if want := "hero_proc service show core/a\nhero_proc service set core/a --requires db"; p.Remedy != want {
		t.Errorf("the remedy of a cycle is\n%s\nwant\n%s", p.Remedy, want)
	}
}
