package supervisor_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// between stands between a supervisor and systemd, for what happens in the
// middle of something.
type between struct {
	supervisor.Systemd
	// make is asked before every set; an error of its own is the answer.
	make func() error
	// read is called with each answer before it is passed on; nil isn't.
	read func(context.Context, units.Unit)
	// stopped delays what is told of the end of a stop; nil doesn't.
	stopped <-chan struct{}
}

func (b *between) Unit(ctx context.Context, name string) (units.Unit, error) {
	u, err := b.Systemd.Unit(ctx, name)
	if b.read != nil {
		b.read(ctx, u)
	}
	return u, err
}

func (b *between) Make(ctx context.Context, set transient.Set) error {
	if b.make != nil {
		if err := b.make(); err != nil {
			return err
		}
	}
	return b.Systemd.Make(ctx, set)
}

func (b *between) Stop(ctx context.Context, unit, mode string) (<-chan string, error) {
	result, err := b.Systemd.Stop(ctx, unit, mode)
	if err != nil || b.stopped == nil {
		return result, err
	}
	late := make(chan string, 1)
	go func() {
		defer close(late)
		<-b.stopped
		if r, ok := <-result; ok {
			late <- r
		}
	}()
	return late, nil
}

// The boot loads everything with one call: what goes wrong with that one must not
// leave the machine without its services.
func TestBootWhoseOneCallIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lose func(*world) error
		want []string
	}{
		{
			name: "the bus goes before it",
			lose: func(w *world) error { w.bus.Restart(); return nil },
			want: []string{"bus-lost", "bus-back"},
		},
		{
			// READY=1 doesn't wait for it: the loop goes on trying.
			name: "systemd does not answer",
			lose: func(*world) error { return units.Errorf(units.CodeTimeout, "no answer") },
			want: []string{"boot-step-failed"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(def("hero_db", "/bin/db"), def("a", "/bin/a", "requires", "hero_db"), def("b", "/bin/b"), def("down", "/bin/down", "status", "stop"))
			d.kill()
			var lost atomic.Bool
			w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd {
				return &between{Systemd: pid1, make: func() error {
					if lost.Swap(true) {
						return nil
					}
					return c.lose(w)
				}}
			}
			d = w.boot()
			for _, name := range []string{"hero_db", "a", "b"} {
				d.await(name, units.StateRunning)
			}
			if s := d.await("down", units.StateInactive); !s.Unit.Loaded() {
				t.Errorf("down is %s, want it loaded", s.Unit.Load)
			}
			if !lost.Load() {
				t.Error("the boot has made no call to lose")
			}
			d.expect(c.want...)
			if job, ok := d.job("a"); !ok || job.Phase != units.PhaseRunning {
				t.Errorf("the history has %+v of a", job)
			}
		})
	}
}

// A restart with a changed definition is a stop and a start. What is asked for
// between the two has the last word.
func TestLastWordDuringARestart(t *testing.T) {
	t.Parallel()
	id := units.ID{Context: "core", Name: "a"}
	for _, c := range []struct {
		name string
		ask  func(context.Context, *daemon) error
		gone bool // what is asked for is that there be no such service
	}{
		{name: "stop", ask: func(ctx context.Context, d *daemon) error {
			_, err := d.Stop(ctx, id)
			return err
		}},
		{name: "remove", gone: true, ask: func(ctx context.Context, d *daemon) error {
			return d.Remove(ctx, id, true)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			stopped := make(chan struct{})
			w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd { return &between{Systemd: pid1, stopped: stopped} }
			d := w.boot()
			d.define(def("a", "/bin/a"))
			if _, err := d.Start(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			d.await("a", units.StateRunning)
			starts := w.pid1.Calls("StartUnit")
			d.define(def("a", "/bin/a --new"))
			restart, err := d.Restart(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			d.await("a", units.StateInactive)
			if err := c.ask(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			close(stopped)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ended, err := d.Wait(ctx, restart.ID)
			if err != nil || ended.Phase != units.PhaseCanceled {
				t.Errorf("the job of the restart is %+v, %v; want it canceled", ended, err)
			}
			if n := w.pid1.Calls("StartUnit"); n != starts {
				t.Errorf("systemd was asked %d times to start it after all", n-starts)
			}
			if !c.gone {
				d.await("a", units.StateInactive)
				return
			}
			listed, err := d.manager.Units(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i := slices.IndexFunc(listed, func(u units.Unit) bool { return u.Name == id.Unit() && u.Loaded() }); i >= 0 {
				t.Errorf("the unit of the removed service is %+v", listed[i])
			}
		})
	}
}

// Two readings of one unit may be told in the other order. What is written
// down last must not be the older one, and a start that was asked for by the
// older one is the start that came first.
func TestReadingThatIsOvertaken(t *testing.T) {
	t.Parallel()
	runsToItsEnd := def("a", "/bin/true")
	runsToItsEnd["actions"].([]map[string]any)[0]["is_process"] = false
	for _, c := range []struct {
		name    string
		def     map[string]any
		history []string
	}{
		{"a process", def("a", "/bin/a"), []string{"main running  attempt 1 run 1"}},
		// That it is over is no sign that it is up.
		{"what runs to its end", runsToItsEnd, []string{"main succeeded success attempt 1 run 1", "main canceled done attempt 1 run 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			held, release := make(chan struct{}), make(chan struct{})
			type slow struct{} // marks the request that is told late
			var once sync.Once
			w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd {
				return &between{Systemd: pid1, read: func(ctx context.Context, u units.Unit) {
					if ctx.Value(slow{}) != nil {
						once.Do(func() {
							close(held)
							<-release
						})
					}
				}}
			}
			d := w.boot()
			d.define(c.def)
			var asked units.Job
			started := make(chan error, 1)
			go func() {
				var err error
				asked, err = d.Start(context.WithValue(t.Context(), slow{}, true), units.ID{Context: "core", Name: "a"})
				started <- err
			}()
			<-held // Start has read that it is down
			w.result(d.manager.Start(t.Context(), "hero-core-a.service", "replace"))
			w.wantJobs("a", c.history[0])
			close(release)
			if err := <-started; err != nil {
				t.Fatal(err)
			}
			job, err := d.WaitReady(t.Context(), asked.ID)
			if u := d.status("a").Unit; err != nil || job.InvocationID != u.InvocationID || u.Active != "active" {
				t.Errorf("what was asked for is %+v, %v; the unit is %+v", job, err, u)
			}
			w.wantJobs("a", c.history...)
		})
	}
}

// refusing is a systemd that refuses sets.
type refusing struct {
	supervisor.Systemd
	// whole says that a set of several units is refused, and that its units are
	// there all the same; starts that one is which starts something.
	whole, starts bool
}

func (r *refusing) Make(ctx context.Context, set transient.Set) error {
	starts := slices.ContainsFunc(set.Main.Properties, func(p transient.Property) bool { return p.Name == "Wants" })
	if r.starts && starts {
		return units.Errorf(units.CodeRefused, "not with one call")
	}
	refused := r.whole && len(set.Aux) > 1
	if refused {
		set.Main = transient.BootSet(set.Main.Name, nil, nil).Main // jobs come last
	}
	if err := r.Systemd.Make(ctx, set); err != nil || !refused {
		return err
	}
	return units.Errorf(units.CodeRefused, "not all at once")
}

// What goes wrong with a set costs none of its services.
func TestBootWhoseSetsAreRefused(t *testing.T) {
	t.Parallel()
	for name, pid1 := range map[string]*refusing{
		"and what they have made is left": {whole: true},
		"that start something":            {starts: true},
		"all":                             {whole: true, starts: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(def("hero_db", "/bin/db"), def("a", "/bin/a", "requires", "hero_db"), def("b", "/bin/b"), def("down", "/bin/down", "status", "stop"))
			d.kill()
			w.wrap = func(of supervisor.Systemd) supervisor.Systemd { pid1.Systemd = of; return pid1 }
			d = w.boot()
			for _, name := range []string{"hero_db", "a", "b"} {
				d.await(name, units.StateRunning)
			}
			if s := d.await("down", units.StateInactive); !s.Unit.Loaded() {
				t.Errorf("down is %s, want it loaded", s.Unit.Load)
			}
			d.expect()
			w.wantJobs("b", "main running  attempt 1 run 1")
		})
	}
}
