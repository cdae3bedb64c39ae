package supervisor_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// late ends a unit just before the ones that were adopted are pinned.
type late struct {
	supervisor.Systemd
	once sync.Once
	end  func(context.Context)
}

func (l *late) PinAll(ctx context.Context, names []string) error {
	l.once.Do(func() { l.end(ctx) })
	return l.Systemd.PinAll(ctx, names)
}

// What runs is pinned when the daemon is ready. What ends before that is gone,
// and systemctl is to know it all the same.
func TestWhatEndsBeforeItIsPinned(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"), def("b", "/bin/b"))
	for _, name := range []string{"a", "b"} {
		if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: name}); err != nil {
			t.Fatal(err)
		}
		d.await(name, units.StateRunning)
	}
	invocation := d.status("b").Unit.InvocationID
	d.kill()
	pinned := make(chan struct{})
	w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd {
		return &late{Systemd: pid1, end: func(ctx context.Context) {
			defer close(pinned)
			w.pid1.Crash("hero-core-a.service", "success")
			if u, err := pid1.Unit(ctx, "hero-core-a.service"); err != nil || u.Loaded() {
				t.Errorf("a is %s (%v), want it gone", u.Load, err)
			}
		}}
	}
	d = w.boot()
	<-pinned
	for deadline := time.Now().Add(20 * time.Second); !d.status("a").Unit.Loaded(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a is not loaded again: %+v", d.status("a").Unit)
		}
	}
	// Both stay when they are down.
	w.pid1.Crash("hero-core-b.service", "success")
	if s := d.await("b", units.StateInactive); !s.Unit.Loaded() || s.Unit.InvocationID != invocation {
		t.Errorf("b is %+v", s.Unit)
	}
}

// unpinned refuses to pin what runs, as often as it is told to.
type unpinned struct {
	supervisor.Systemd
	refusals atomic.Int64
	done     chan struct{} // is closed by the first one that succeeds
}

func (u *unpinned) PinAll(ctx context.Context, names []string) error {
	if u.refusals.Add(-1) >= 0 {
		return units.Errorf(units.CodeTimeout, "systemd has not answered in 20 s")
	}
	err := u.Systemd.PinAll(ctx, names)
	select {
	case <-u.done:
	default:
		close(u.done)
	}
	return err
}

// secondLife is a daemon that has adopted service a and its action side, which
// run, in a systemd that refuses to pin them for a while.
func secondLife(t *testing.T, refusals int64) (*world, *daemon, *unpinned) {
	w := newWorld(t)
	d := w.boot()
	a := def("a", "/bin/a")
	a["actions"] = append(a["actions"].([]map[string]any), map[string]any{"name": "side", "exec": "/bin/side", "is_process": true, "restart": "no"})
	d.define(a)
	d.start("a")
	d.kill()
	pid1 := &unpinned{done: make(chan struct{})}
	pid1.refusals.Store(refusals)
	w.wrap = func(of supervisor.Systemd) supervisor.Systemd { pid1.Systemd = of; return pid1 }
	return w, w.boot(), pid1
}

// Before it is pinned, what runs is stopped and started through the API as ever.
func TestStopAndStartOfWhatIsNotPinned(t *testing.T) {
	t.Parallel()
	for name, through := range map[string]bool{"stopped through hero_proc": true, "stopped with systemctl": false} {
		t.Run(name, func(t *testing.T) {
			w, d, _ := secondLife(t, 1<<30)
			if through {
				if _, err := d.Stop(t.Context(), core("a")); err != nil {
					t.Fatal(err)
				}
			} else {
				w.result(w.elsewhere().Stop(t.Context(), "hero-core-a.service", "replace"))
			}
			w.down(d.manager, "hero-core-a.service")
			u, err := d.manager.Unit(t.Context(), "hero-core-a.service")
			if err != nil || u.Loaded() != through {
				t.Fatalf("when it is down its unit is %s (%v)", u.Load, err)
			}
			d.start("a")
			if s := d.status("a"); len(s.Actions) != 2 || s.Actions[1].Unit.Active != "active" {
				t.Errorf("its actions are %+v", s.Actions)
			}
			w.wantJobs("a", "main canceled success attempt 1 run 1", "side canceled success attempt 1 run 1", "main running  attempt 1 run 2", "side running  attempt 1 run 2")
		})
	}
}

// systemd may be too busy to pin what runs: that is tried until it is done.
func TestPinningIsTriedAgain(t *testing.T) {
	w, d, pid1 := secondLife(t, 3)
	select {
	case <-pid1.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the units were not pinned")
	}
	elsewhere := w.elsewhere()
	w.result(elsewhere.Stop(t.Context(), "hero-core-a.service", "replace"))
	d.await("a", units.StateInactive)
	w.result(elsewhere.Start(t.Context(), "hero-core-a.service", "replace"))
	d.await("a", units.StateRunning)
}
