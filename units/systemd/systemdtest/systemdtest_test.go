package systemdtest_test

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd/systemdtest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// What the real systemd can't be told; the rest is in the contract test of
// package systemd.
func TestATestSteersIt(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	fake := systemdtest.Start(t, bus)
	fake.SetVersion("v257.4")
	m, err := systemd.Connect(t.Context(), systemd.Options{Dial: bus.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if got := m.Version(); got != 257 {
		t.Errorf("version is %d, want 257", got)
	}

	a := units.NewAction("main")
	a.Exec, a.Restart, a.Process = []string{"/bin/true"}, units.RestartNo, false
	s := units.Service{ID: units.ID{Context: "core", Name: "steered"}, Actions: []units.Action{a}}
	if err := m.Make(t.Context(), transient.BootSet("load.slice", transient.Service(s, s.Digest(), 257), nil)); err != nil {
		t.Fatal(err)
	}
	start := func() <-chan string {
		t.Helper()
		job, err := m.Start(t.Context(), s.Unit(), "replace")
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	state := func() units.Unit {
		t.Helper()
		u, err := m.Unit(t.Context(), s.Unit())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	fake.Hang(s.Unit())
	job := start()
	for deadline := time.After(5 * time.Second); state().Active != "activating"; {
		select {
		case <-m.Wake():
			m.Take()
		case <-deadline:
			t.Fatalf("the start does not hang: %+v", state())
		}
	}
	fake.Crash(s.Unit(), "core-dump")
	if got := <-job; got != "failed" {
		t.Errorf("the crashed start's result is %q", got)
	}
	if u := state(); u.Active != "failed" || u.Result != "core-dump" || u.ExitCode != 3 || u.ExitStatus != 11 {
		t.Errorf("it reads %+v", u)
	}
	if got := fake.Calls("StartUnit"); got != 1 {
		t.Errorf("StartUnit was called %d times", got)
	}
}
