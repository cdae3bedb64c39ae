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
	err              error // what Hush answers when it is done
}

func (h *hushing) wrap(of supervisor.Systemd) supervisor.Systemd {
	h.Systemd = of
	return h
}

func (h *hushing) Hush(ctx context.Context) error {
	h.hushed.Add(1)
	if err := h.Systemd.Hush(ctx); err != nil {
		return err
	}
	return h.err
}

func (h *hushing) Listen(ctx context.Context) error {
	if h.listened.Add(1) == 1 {
		h.before()
	}
	return h.Systemd.Listen(ctx)
}

// A boot of many services hears of no changes, and so looks at everything after it:
// at what ran before it, too.
func TestABootOfManyServicesMissesNothing(t *testing.T) {
	w := newWorld(t)
	w.past = nil // what was missed would be found there
	first := w.boot()
	first.define(def("old", "/bin/o"))
	first.start("old")
	w.wantJobs("old", "main running  attempt 1 run 1")
	first.define(many(40)...)
	first.kill()

	h := &hushing{before: func() { w.pid1.Crash("hero-core-old.service", "signal") }}
	w.wrap = h.wrap
	d := w.boot()
	w.wantJobs("old", "main failed signal attempt 1 run 1")
	w.pid1.Crash("hero-core-s8.service", "signal")
	d.awaitJob("s8", units.PhaseFailed)
	if hushed, listened := h.hushed.Load(), h.listened.Load(); hushed != 1 || listened != 1 {
		t.Errorf("systemd was hushed %d times, and listened to again %d times; want once each", hushed, listened)
	}
}

// One that can't tell whether systemd tells less by now listens again all the same.
func TestAHushWithoutAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.past = nil
	first := w.boot()
	first.define(many(40)...)
	first.kill()
	h := &hushing{before: func() {}, err: units.Errorf(units.CodeTimeout, "done, and not said so in time")}
	w.wrap = h.wrap
	d := w.boot()
	d.awaitJob("s8", units.PhaseRunning)
	for deadline := time.After(20 * time.Second); h.listened.Load() == 0; {
		select {
		case <-deadline:
			t.Fatal("it does not listen again")
		case <-time.After(10 * time.Millisecond):
		}
	}
	w.pid1.Crash("hero-core-s8.service", "signal")
	d.awaitJob("s8", units.PhaseFailed)
}

func many(n int) (defs []map[string]any) {
	for i := range n {
		defs = append(defs, def(fmt.Sprint("s", i), "/bin/s"))
	}
	return defs
}

// One of few services hears of every change as it comes.
func TestABootOfFewServicesListens(t *testing.T) {
	w := newWorld(t)
	first := w.boot()
	first.define(def("a", "/bin/a"), def("b", "/bin/b"))
	first.kill()
	h := &hushing{before: func() {}}
	w.wrap = h.wrap
	d := w.boot()
	d.await("a", units.StateRunning)
	if n := h.hushed.Load(); n != 0 {
		t.Errorf("systemd was hushed %d times", n)
	}
}

// awaitJob waits until the last job of a service has come to a phase, of whatever
// run: a boot numbers those of many services as it finds them.
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
