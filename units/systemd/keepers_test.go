package systemd_test

import (
	"fmt"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// manyServices are more than are pinned one by one, and than one keeper has.
func manyServices() (list []units.Service, names []string) {
	for i := range 40 {
		s := service(fmt.Sprintf("many%d", i), "/bin/sleep", "1000")
		list, names = append(list, s), append(names, s.Unit())
	}
	return list, names
}

func TestManyUnitsAreKept(t *testing.T) {
	x := newTarget(t)
	m, other := x.manager(), x.manager()
	services, names := manyServices()
	x.load(m, services...)
	there := func(want int, when string) {
		t.Helper()
		loaded := 0
		for _, name := range names {
			if x.read(other, name).Loaded() {
				loaded++
			}
		}
		if loaded != want {
			t.Errorf("%s, %d units are loaded, want %d", when, loaded, want)
		}
	}
	there(len(names), "once made")
	if x.start(m, names[0]) != "done" || x.stop(m, names[0]) != "done" {
		t.Error("a unit that is kept can't be started and stopped")
	}
	there(len(names), "when one has stopped")

	// One of them gets a new definition, which needs no reload of systemd.
	m.Take()
	if err := m.Unload(t.Context(), names[0]); err != nil {
		t.Fatal(err)
	}
	there(len(names)-1, "when one was taken away")
	changed := service("many0", "/bin/sleep", "2000")
	x.load(m, changed)
	if u := x.read(m, names[0]); u.Digest != changed.Digest() {
		t.Errorf("digest is %q, want %q", u.Digest, changed.Digest())
	}
	if changes := m.Take(); changes.All {
		t.Error("systemd was reloaded")
	}
	there(len(names), "when it was made again")
	if err := m.Unload(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	there(0, "when all were taken away")
}

func TestKeepersEndWithTheConnection(t *testing.T) {
	x := newTarget(t)
	first, second, third := x.manager(), x.manager(), x.manager()
	services, names := manyServices()
	x.load(first, services...)
	if err := second.PinAll(t.Context(), append(names[:30:30], unitOf("absent"))); err != nil {
		t.Fatal(err)
	}
	x.start(first, names[39])
	first.Close()
	x.eventually(third, "what nobody keeps is gone", func() bool {
		for _, name := range names[30:39] {
			if x.read(third, name).Loaded() {
				return false
			}
		}
		return true
	})
	for _, name := range append(names[:30:30], names[39]) {
		if u := x.read(third, name); !u.Loaded() {
			t.Errorf("%s is gone: it is kept by another connection, or runs", name)
		}
	}
	x.wantCode(second.Pin(t.Context(), unitOf("absent")), units.CodeRefused, "not found")
	if got := x.stop(third, names[39]); got != "done" {
		t.Errorf("stop: %s", got)
	}
}

func TestARefusedSetOfManyLeavesNothing(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	services, names := manyServices()
	there := services[39]
	x.load(m, there)
	x.wantCode(m.Make(t.Context(), set(nil, services...)), units.CodeRefused, there.Unit()+" was already loaded")
	for _, name := range names[:39] {
		if x.read(m, name).Loaded() {
			t.Errorf("%s was left", name)
		}
	}
	if !x.read(m, there.Unit()).Loaded() {
		t.Error("what was there is gone")
	}
	x.load(m, services[:39]...)
}
