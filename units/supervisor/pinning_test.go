package supervisor_test

import (
	"context"
	"sync"
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
