package supervisor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// making is a systemd whose sets are looked at, or changed, before they are made.
type making struct {
	supervisor.Systemd
	before func(set *transient.Set)
}

func (m *making) Make(ctx context.Context, set transient.Set) error {
	m.before(&set)
	return m.Systemd.Make(ctx, set)
}

// dropIn is a systemd in which a drop-in adds to a unit.
func dropIn(unit, property, value string) func(supervisor.Systemd) supervisor.Systemd {
	return func(of supervisor.Systemd) supervisor.Systemd {
		return &making{Systemd: of, before: func(set *transient.Set) {
			for i, u := range set.Aux {
				if u.Name == unit {
					set.Aux[i].Properties = append(u.Properties, transient.Property{Name: property, Value: []string{value}})
				}
			}
		}}
	}
}

// resyncing is a systemd that tells of each reading of all units.
type resyncing struct {
	supervisor.Systemd
	all chan struct{}
}

func (r *resyncing) Identify(ctx context.Context, listed []units.Unit) error {
	r.all <- struct{}{}
	return r.Systemd.Identify(ctx, listed)
}

// What can't be unloaded, as it is masked or of no use and others name it, has
// nobody reload systemd again and again.
func TestUnusableUnitsAreNoReasonToGoOnReloading(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*world, string){
		"masked":  func(w *world, unit string) { w.pid1.Mask(unit) },
		"spoiled": func(w *world, unit string) { w.pid1.Spoil(unit) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(def("m", "/bin/m"), def("friend", "/bin/f", "after", "m", "wants", "m"))
			d.kill()
			spoil(w, "hero-core-m.service")
			r := &resyncing{all: make(chan struct{}, 10000)}
			w.wrap = func(of supervisor.Systemd) supervisor.Systemd { r.Systemd = of; return r }
			d = w.boot()
			d.await("friend", units.StateRunning)
			<-r.all // the boot's own
			before := w.pid1.Calls("Reload")
			const times = 3 // the last shows that what the others have led to is over
			for range times {
				w.pid1.DaemonReload()
				select {
				case <-r.all:
				case <-time.After(20 * time.Second):
					t.Fatal("units are not read again after a reload")
				}
			}
			if n := w.pid1.Calls("Reload") - before; n > times {
				t.Errorf("systemd was reloaded %d times; want %d", n, times)
			}
		})
	}
}

// A start that systemd drops, as a drop-in requires what is not there, or makes the
// unit unusable, keeps nobody from looking for what ended unseen.
func TestAStartThatIsDroppedHidesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bad  []any
		with func(*world)
	}{
		"unusable":             {nil, func(w *world) { w.pid1.Spoil("hero-core-bad.service") }},
		"requires nothing":     {nil, func(w *world) { w.wrap = dropIn("hero-core-bad.service", "Requires", "hero-core-nothing.service") }},
		"requires it, ordered": {[]any{"after", "run"}, func(w *world) { w.wrap = dropIn("hero-core-bad.service", "Requires", "hero-core-nothing.service") }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(def("run", "/bin/r"), def("c", "/bin/c", "status", "stop"), def("bad", "/bin/b", append([]any{"status", "stop"}, c.bad...)...))
			d.start("run")
			d.define(def("bad", "/bin/b", c.bad...))
			w.wantJobs("run", "main running  attempt 1 run 1")
			m := w.elsewhere()
			const unit = "hero-core-c.service"
			if err := m.Pin(t.Context(), unit); err != nil {
				t.Fatal(err)
			}
			d.kill()
			w.result(m.Start(t.Context(), unit, "replace"))
			w.pid1.Crash(unit, "success")
			w.down(m, unit)
			if err := m.Release(t.Context(), unit); err != nil {
				t.Fatal(err)
			}
			c.with(w)
			w.boot()
			w.wantJobs("c", "main succeeded success attempt 1 run 1")
		})
	}
}

// An unusable hero_db is told of by systemd's own refusal.
func TestUnusableHeroDB(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"))
	d.kill()
	w.pid1.Spoil("hero-core-hero_db.service")
	d = w.boot()
	if h := d.Health(nil); h.HeroDB != "start-failed" || !strings.Contains(h.HeroDBReason, "could not be started") {
		t.Errorf("health says %s because %q", h.HeroDB, h.HeroDBReason)
	}
}

// What a drop-in orders holds in a boot, where not everything can start at once.
func TestABootKeepsTheOrderOfADropIn(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("x", "/bin/x"), def("b", "/bin/b", "requires", "x", "ready", "notify"), def("a", "/bin/a"))
	d.kill()
	w.pid1.Hang("hero-core-b.service")
	w.wrap = dropIn("hero-core-a.service", "After", "hero-core-b.service")
	d = w.boot()
	d.await("x", units.StateRunning)
	d.await("b", units.StateActivating)
	if a := d.status("a"); a.Unit.Active == "active" {
		t.Errorf("a is %s before b is up, which it is ordered after", a.Unit.Active)
	}
}

// Clients are told that a service that was set is loaded.
func TestSetTellsThatItIsLoaded(t *testing.T) {
	w := newWorld(t)
	var d *daemon
	w.wrap = func(of supervisor.Systemd) supervisor.Systemd {
		return &making{Systemd: of, before: func(set *transient.Set) {
			for _, u := range set.Aux {
				if u.Name == "hero-core-a.service" { // somebody has looked by now
					d.TakeTouched()
				}
			}
		}}
	}
	d = w.boot()
	d.define(def("a", "/bin/a"))
	deadline := time.After(20 * time.Second)
	for told := false; !told; {
		select {
		case <-d.Touched():
			for _, id := range d.TakeTouched().Services {
				told = told || id.Name == "a"
			}
		case <-deadline:
			t.Fatal("nobody is told")
		}
	}
}
