package units

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCheckNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                     string
		context, service, action bool
	}{
		{"core", true, true, true},
		{"a", true, true, true},
		{"_", true, true, true},
		{"0", true, true, true},
		{"hero_db2", true, true, true},
		{"Core", false, true, true},
		{"a-b", false, true, true},
		{"a.b", false, true, true},
		{"a--b..c", false, true, true},
		{"x-r1", false, false, true}, // an ad-hoc run's
		{"x-r0", false, false, true},
		{"x-r", false, true, true},
		{"x-r1a", false, true, true},
		{"xr1", true, true, true},
		{"", false, false, false},
		{".a", false, false, false},
		{"-a", false, false, false},
		{"a b", false, false, false},
		{"a/b", false, false, false},
		{"a@b", false, false, false},
		{"a\n", false, false, false},
		{"a\x00", false, false, false},
		{"é", false, false, false},
		{"\xff", false, false, false},
		{strings.Repeat("a", 64), true, true, true},
		{strings.Repeat("a", 65), false, true, false},
		{strings.Repeat("a", 100), false, true, false},
		{strings.Repeat("a", 101), false, false, false},
	} {
		if err := CheckContextName(tt.name); (err == nil) != tt.context {
			t.Errorf("CheckContextName(%q) = %v", tt.name, err)
		}
		if err := CheckServiceName(tt.name); (err == nil) != tt.service {
			t.Errorf("CheckServiceName(%q) = %v", tt.name, err)
		}
		if err := CheckActionName(tt.name); (err == nil) != tt.action {
			t.Errorf("CheckActionName(%q) = %v", tt.name, err)
		}
		err := ID{"core", tt.name}.Check()
		if (err == nil) != tt.service || err != nil && CodeOf(err) != CodeInvalidArgument {
			t.Errorf("ID{core, %q}.Check() = %v", tt.name, err)
		}
	}
	if err := CheckServiceName(strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 300 {
		t.Errorf("a megabyte for a name: %v", err)
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ref  string
		want ID
		ok   bool
	}{
		{"db", ID{"work", "db"}, true},
		{"core/db", ID{"core", "db"}, true},
		{"", ID{}, false},
		{"/db", ID{}, false},
		{"core/", ID{}, false},
		{"core/db/x", ID{}, false},
		{"a-b/db", ID{}, false},
		{"db.service-r7", ID{}, false},
	} {
		id, err := ParseRef("work", tt.ref)
		if (err == nil) != tt.ok || tt.ok && id != tt.want {
			t.Errorf("ParseRef(work, %q) = %v, %v; want %v", tt.ref, id, err, tt.want)
		}
	}
}

func TestParseUnit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		unit string
		want UnitRef
		ok   bool
	}{
		{"hero-core-web.service", UnitRef{ID: ID{"core", "web"}}, true},
		{"hero-core-a-b.c.service", UnitRef{ID: ID{"core", "a-b.c"}}, true},
		{"hero-core-a.service.service", UnitRef{ID: ID{"core", "a.service"}}, true},
		{"hero-core-web@side.car.service", UnitRef{ID: ID{"core", "web"}, Action: "side.car"}, true},
		{"hero-core-web@side-r5.service", UnitRef{ID: ID{"core", "web"}, Action: "side-r5"}, true},
		{"hero-core-web-r12.service", UnitRef{ID: ID{"core", "web"}, Run: 12}, true},
		{"hero_proc.service", UnitRef{}, false},
		{"hero-core.service", UnitRef{}, false},
		{"hero-core-.service", UnitRef{}, false},
		{"hero--web.service", UnitRef{}, false},
		{"hero-Core-web.service", UnitRef{}, false},
		{"hero-core-web.slice", UnitRef{}, false},
		{"hero-core-web", UnitRef{}, false},
		{"hero-core-web@.service", UnitRef{}, false},
		{"hero-core-web@a@b.service", UnitRef{}, false},
		{"hero-core-web-r1@a.service", UnitRef{}, false},
		{"hero-core-web-r0.service", UnitRef{}, false},
		{"hero-core-web-r1-r2.service", UnitRef{}, false},
		{"hero-core-web-r99999999999999999999.service", UnitRef{}, false},
		{"ssh.service", UnitRef{}, false},
		{"", UnitRef{}, false},
	} {
		got, ok := ParseUnit(tt.unit)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("ParseUnit(%q) = %+v, %t; want %+v, %t", tt.unit, got, ok, tt.want, tt.ok)
		}
	}
}

// Every name that passes its check is read back from each of its units.
func TestUnitNamesAreReadBack(t *testing.T) {
	t.Parallel()
	const letters = "abzABZ019__..--r"
	random := rand.New(rand.NewPCG(1, 2))
	word := func(most int, check func(string) error) string {
		for {
			b := make([]byte, 1+random.IntN(most))
			for i := range b {
				b[i] = letters[random.IntN(len(letters))]
			}
			if check(string(b)) == nil {
				return string(b)
			}
		}
	}
	longest := UnitRef{
		ID:     ID{strings.Repeat("c", MaxContextName), strings.Repeat("s", MaxServiceName)},
		Action: strings.Repeat("a", MaxActionName),
	}
	refs := []UnitRef{longest}
	for range 5000 {
		refs = append(refs, UnitRef{
			ID:     ID{word(8, CheckContextName), word(12, CheckServiceName)},
			Action: word(12, CheckActionName),
		})
	}
	for _, r := range refs {
		run := random.Int64N(1<<62) + 1
		for unit, want := range map[string]UnitRef{
			r.ID.Unit():               {ID: r.ID},
			r.ID.ActionUnit(r.Action): {ID: r.ID, Action: r.Action},
			r.ID.RunUnit(run):         {ID: r.ID, Run: run},
		} {
			if got, ok := ParseUnit(unit); !ok || got != want {
				t.Errorf("ParseUnit(%q) = %+v, %t; want %+v", unit, got, ok, want)
			}
			if len(unit) > 255 {
				t.Errorf("%q has %d bytes; systemd takes 255", unit, len(unit))
			}
		}
	}
}

func TestUnitOf(t *testing.T) {
	t.Parallel()
	oneShot := func(name string) Action { return Action{Name: name} }
	for _, tt := range []struct {
		name    string
		actions []Action
		primary int
		units   []string
	}{
		{"no action", nil, -1, nil},
		{"a process", []Action{NewAction("a")}, 0, []string{"hero-core-x.service"}},
		{"the first process", []Action{oneShot("a"), NewAction("b"), NewAction("c")}, 1, []string{"hero-core-x@a.service", "hero-core-x.service", "hero-core-x@c.service"}},
		{"no process: the last", []Action{oneShot("a"), oneShot("b")}, 1, []string{"hero-core-x@a.service", "hero-core-x.service"}},
	} {
		s := Service{ID: ID{"core", "x"}, Actions: tt.actions}
		if got := s.Primary(); got != tt.primary {
			t.Errorf("%s: primary is %d, want %d", tt.name, got, tt.primary)
		}
		for i, want := range tt.units {
			if got := s.UnitOf(i); got != want {
				t.Errorf("%s: unit %d is %q, want %q", tt.name, i, got, want)
			}
		}
	}
	if got := SliceOf("core"); got != "hero-core.slice" {
		t.Errorf("slice is %q", got)
	}
}

func TestSliceOfAService(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		id       ID
		services int
		want     string
	}{
		{"a small context's own", ID{"core", "web"}, 1, "hero-core.slice"},
		{"the largest flat context", ID{"core", "web"}, FlatContext, "hero-core.slice"},
		{"one more", ID{"core", "web"}, FlatContext + 1, "hero-core-01.slice"},
		{"the largest context", ID{"core", "web"}, 100 * FlatContext, "hero-core-11.slice"},
		{"another context", ID{"lab_2", "web"}, FlatContext + 1, "hero-lab_2-01.slice"},
		{"a name with dashes and dots", ID{"core", "a-b.c"}, 100 * FlatContext, "hero-core-3c.slice"},
	} {
		got := tt.id.SliceOf(tt.services)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if _, ok := ParseUnit(got); ok {
			t.Errorf("%s: %s reads as a service's unit", tt.name, got)
		}
	}
}

func TestSlicesAreEvenlyFilled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ services, slices int }{
		{FlatContext + 1, 4}, {255, 4}, {256, 8}, {500, 8}, {511, 8}, {512, 16}, {1000, 16}, {1024, 32}, {2000, 32}, {2048, 64}, {5000, 64},
	} {
		counts := map[string]int{}
		for i := range tt.services {
			counts[ID{"core", fmt.Sprint("web", i)}.SliceOf(tt.services)]++
		}
		if len(counts) != tt.slices {
			t.Errorf("%d services are in %d slices, want %d", tt.services, len(counts), tt.slices)
		}
		for slice, n := range counts {
			if n > 2*tt.services/tt.slices {
				t.Errorf("%s has %d of %d services", slice, n, tt.services)
			}
		}
	}
}
