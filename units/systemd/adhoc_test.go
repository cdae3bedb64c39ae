package systemd_test

import (
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// run is an ad-hoc run of a command.
func run(number int64, argv ...string) transient.Unit {
	a := units.NewAction(units.DefaultAction)
	a.Process, a.Exec = false, argv
	return transient.Run(units.AdHoc{ID: units.ID{Context: testContext, Name: "adhoc"}, Action: a}, number, nil, 252)
}

func TestARunStaysUntilItIsReleased(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	for i, c := range []struct {
		program, active string
		status          int32
	}{{"/bin/true", "inactive", 0}, {"/bin/false", "failed", 1}} {
		u := run(int64(i+1), c.program)
		if got := x.result(m.StartTransient(t.Context(), u)); got == "" {
			t.Errorf("%s: the job has no result", c.program)
		}
		x.eventually(m, c.program+" has ended", func() bool { return x.read(m, u.Name).Active == c.active })
		if r := x.read(m, u.Name); !r.Loaded() || len(r.InvocationID) != 32 || r.ExitCode != 1 || r.ExitStatus != c.status {
			t.Errorf("%s: the unit reads %+v", c.program, r)
		}
		if _, err := m.StartTransient(t.Context(), u); units.CodeOf(err) != units.CodeRefused {
			t.Errorf("%s: a second one of the same name: %v", c.program, err)
		}
		if r := x.read(m, u.Name); !r.Loaded() {
			t.Errorf("%s: a refused second one has unloaded the first", c.program)
		}
		for range 2 {
			if err := m.Release(t.Context(), u.Name); err != nil {
				t.Fatal(err)
			}
		}
		if r := x.read(m, u.Name); r.Loaded() {
			t.Errorf("%s: the unit is there after its release: %+v", c.program, r)
		}
	}
}

func TestARefusedRunLeavesNothing(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	u := run(1, "/bin/sleep", "1000")
	u.Properties = append(u.Properties, transient.Property{Name: "Nonsense", Value: "x"})
	_, err := m.StartTransient(t.Context(), u)
	x.wantCode(err, units.CodeRefused, "Nonsense")
	if r := x.read(m, u.Name); r.Loaded() {
		t.Errorf("the unit is there: %+v", r)
	}
}
