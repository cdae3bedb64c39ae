package supervisor_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// hushing is a systemd that counts how often it is hushed, and does something
// just before it is listened to again.
type hushing struct {
	supervisor.Systemd
	hushed, listened atomic.Int64
	before           func()
}

func (h *hushing) Hush(ctx context.Context) error {
	h.hushed.Add(1)
	return h.Systemd.Hush(ctx)
}

func (h *hushing) Listen(ctx context.Context) error {
	if h.listened.Add(1) == 1 {
		h.before()
	}
	return h.Systemd.Listen(ctx)
}

// A boot of many services hears of no changes, and so looks at everything after it.
func TestABootOfManyServicesMissesNothing(t *testing.T) {
	w := newWorld(t)
	w.past = nil // what was missed would be found there
	first := w.boot()
	var defs []map[string]any
	for i := range 40 {
		defs = append(defs, def(fmt.Sprint("s", i), "/bin/s"))
	}
	first.define(defs...)
	first.kill()

	h := &hushing{before: func() { w.pid1.Crash("hero-core-s7.service", "signal") }}
	w.wrap = func(inner supervisor.Systemd) supervisor.Systemd {
		h.Systemd = inner
		return h
	}
	d := w.boot()
	d.awaitJob("s7", units.PhaseFailed)
	w.pid1.Crash("hero-core-s8.service", "signal")
	d.awaitJob("s8", units.PhaseFailed)
	if hushed, listened := h.hushed.Load(), h.listened.Load(); hushed != 1 || listened != 1 {
		t.Errorf("systemd was hushed %d times, and listened to again %d times; want once each", hushed, listened)
	}
}

// One of few services hears of every change as it comes.
func TestABootOfFewServicesListens(t *testing.T) {
	w := newWorld(t)
	first := w.boot()
	first.define(def("a", "/bin/a"), def("b", "/bin/b"))
	first.kill()
	h := &hushing{before: func() {}}
	w.wrap = func(inner supervisor.Systemd) supervisor.Systemd {
		h.Systemd = inner
		return h
	}
	d := w.boot()
	d.await("a", units.StateRunning)
	if n := h.hushed.Load(); n != 0 {
		t.Errorf("systemd was hushed %d times", n)
	}
}

// awaitJob waits until the last job of a service has come to a phase.
func (d *daemon) awaitJob(name string, want units.Phase) {
	d.w.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		jobs, err := d.Jobs(d.w.t.Context(), units.JobFilter{Service: name, Limit: 1})
		if err == nil && len(jobs) == 1 && jobs[0].Phase == want {
			return
		}
		select {
		case <-deadline:
			d.w.t.Fatalf("the last job of %s is %+v, %v; want %s", name, jobs, err, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
