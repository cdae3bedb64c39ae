package plan

import (
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestBehind(t *testing.T) {
	t.Parallel()
	var rows []units.Registered
	for _, s := range []units.Service{
		svc("masked"), svc("needy", requires("well", "masked")), svc("needier", requires("needy")), svc("neediest", requires("needier")), svc("well"),
		svc("friend", func(s *units.Service) { s.Wants, s.After = []string{"masked"}, []string{"masked"} }),
		svc("x", requires("y")), svc("y", requires("x")),
	} {
		rows = append(rows, units.Registered{Service: s})
	}
	g := NewGraph(rows)
	id := func(name string) units.ID { return units.ID{Context: "core", Name: name} }
	refused := map[units.ID]Problem{id("masked"): Unusable(id("masked"), units.Unit{Name: "u", Load: "masked"})}
	for name, want := range map[string]string{
		"masked": "", "well": "", "friend": "", "x": "", "none": "",
		"needy":    `service "core/needy" can't start: it requires "core/masked", which can't start: an administrator has masked u`,
		"needier":  `service "core/needier" can't start: it needs "core/needy", which requires "core/masked", which can't start: an administrator has masked u`,
		"neediest": `service "core/neediest" can't start: it needs "core/needy", which requires "core/masked", which can't start: an administrator has masked u`,
	} {
		p := g.Behind(id(name), refused)
		if p == nil {
			p = &Problem{}
		}
		if p.Message != want || want != "" && (p.Code != units.EventDependencyFailed || p.Remedy != "systemctl unmask u\nsystemctl restart hero_proc") {
			t.Errorf("%s: %+v, want %q", name, p, want)
		}
		if p := g.Behind(id(name), nil); p != nil {
			t.Errorf("%s has %+v when nothing is refused", name, p)
		}
	}
}
