package supervisor_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// leftBehind has a service a that ran, and a daemon that went; end ends it. Nothing
// is left of it then, as after a boot of the machine.
func leftBehind(t *testing.T, def map[string]any, end func(*world, *systemd.Manager)) (*world, *systemd.Manager) {
	t.Helper()
	id := units.ID{Context: "core", Name: "a"}
	w := newWorld(t)
	d := w.boot()
	d.define(def)
	if _, err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	w.wantJobs("a", "main running  attempt 1 run 1")
	d.kill()
	m := w.elsewhere()
	end(w, m)
	w.vanish(m, id.Unit())
	return w, m
}

// vanish waits until nothing is left of a unit that ends.
func (w *world) vanish(m *systemd.Manager, unit string) {
	w.t.Helper()
	w.down(m, unit)
	_ = m.ResetFailed(w.t.Context(), unit) // it may have gone by itself
	for {
		u, err := m.Unit(w.t.Context(), unit)
		if err != nil {
			w.t.Fatal(err)
		}
		if !u.Loaded() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// whileRead has something happen when the journal is read first.
func (w *world) whileRead(happens func()) (wasRead func() bool) {
	var once sync.Once
	w.past = pastOf(func(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error) {
		once.Do(happens)
		return w.pid1.Entries(ctx, since, wanted)
	})
	return func() bool {
		was := true
		once.Do(func() { was = false })
		return was
	}
}

// ofTheBoot checks how many jobs the boot has begun, and that each began when
// those of its unit before it had ended.
func (d *daemon) ofTheBoot(n int) {
	d.w.t.Helper()
	if booted, err := d.Jobs(d.w.t.Context(), units.JobFilter{Origin: units.OriginBoot}); err != nil || len(booted) != n {
		d.w.t.Errorf("%d jobs are of the boot, want %d, error %v: %+v", len(booted), n, err, booted)
	}
	jobs, err := d.Jobs(d.w.t.Context(), units.JobFilter{})
	if err != nil {
		d.w.t.Fatal(err)
	}
	before := map[string]units.Job{}
	for _, j := range jobs {
		if b := before[j.Unit]; b.Ended.After(j.Created) {
			d.w.t.Errorf("job %d (%s) of %s ended at %v, and job %d began at %v", b.ID, b.Phase, j.Unit, b.Ended, j.ID, j.Created)
		}
		before[j.Unit] = j
	}
}

func crash(w *world, _ *systemd.Manager) { w.pid1.Crash("hero-core-a.service", "signal") }

// After a boot of the machine nothing waits for the journal, which may be long;
// how it ended before is in the history all the same, once the daemon is ready.
func TestNoStartWaitsForTheJournal(t *testing.T) {
	const unit = "hero-core-a.service"
	for _, c := range []struct {
		name      string
		meanwhile func(*world)
		want      []string
	}{
		{"it runs", func(*world) {}, []string{"main failed signal attempt 1 run 1", "main running  attempt 1 run 2"}},
		{"it fails while the journal is read", func(w *world) { w.pid1.Crash(unit, "exit-code") }, []string{"main failed signal attempt 1 run 1", "main failed exit-code attempt 1 run 2"}},
		{"nothing tells how it ended", func(w *world) { w.pid1.Forget() }, []string{"main lost  attempt 1 run 1", "main running  attempt 1 run 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m := leftBehind(t, def("a", "/bin/a", "status", "start"), crash)
			wasRead := w.whileRead(func() {
				if u, err := m.Unit(t.Context(), unit); err != nil || u.Active != "active" && u.JobID == 0 {
					t.Errorf("the journal is read while the unit is %+v, error %v", u, err)
					return
				}
				w.restarted(m, unit, 0)
				c.meanwhile(w)
			})
			d := w.boot()
			if !wasRead() {
				t.Error("nobody has read the journal by now")
			}
			w.wantJobs("a", c.want...)
			d.ofTheBoot(1)
		})
	}
}

// What the boot starts is of the boot, also when systemd has restarted it before
// anybody could look.
func TestRestartedBeforeTheBootLooks(t *testing.T) {
	const unit = "hero-core-a.service"
	for crashes := 1; crashes <= 3; crashes++ {
		t.Run(fmt.Sprint(crashes), func(t *testing.T) {
			w, m := leftBehind(t, restarting("a", "start_limit_burst", 100, "status", "start"), func(w *world, m *systemd.Manager) {
				w.result(m.Stop(t.Context(), unit, "replace"))
				w.pid1.Forget()
			})
			want := []string{"main lost  attempt 1 run 1"}
			w.whileRead(func() {
				w.restarted(m, unit, 0)
				for n := 1; n <= crashes; n++ {
					w.pid1.Crash(unit, "exit-code")
					w.restarted(m, unit, uint32(n))
				}
			})
			for n := 1; n <= crashes; n++ {
				want = append(want, fmt.Sprintf("main failed exit-code attempt %d run 2", n))
			}
			d := w.boot()
			w.wantJobs("a", append(want, fmt.Sprintf("main running  attempt %d run 2", crashes+1))...)
			d.ofTheBoot(crashes + 1)
		})
	}
}

// A clock that is set back while the boot starts does not end what it starts.
func TestClockIsSetBackWhileTheBootStarts(t *testing.T) {
	const unit = "hero-core-a.service"
	w, m := leftBehind(t, def("a", "/bin/a", "status", "start"), crash)
	before := time.Now()
	w.past = pastOf(func(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error) {
		w.restarted(m, unit, 0)
		all, err := w.pid1.Entries(ctx, since, wanted)
		for i := range all {
			if all[i].Time.After(before) {
				all[i].Time = all[i].Time.Add(-2 * time.Second)
			}
		}
		return all, err
	})
	w.boot()
	w.wantJobs("a", "main failed signal attempt 1 run 1", "main running  attempt 1 run 2")
}

// stuck is a systemd that makes nothing.
type stuck struct {
	supervisor.Systemd
	asked chan struct{}
}

func (s stuck) Make(ctx context.Context, _ transient.Set) error {
	close(s.asked)
	<-ctx.Done()
	return units.Errorf(units.CodeCanceled, "canceled: %w", ctx.Err())
}

// A daemon that is stopped while it loads says nothing of the journal, and the
// next one looks.
func TestStoppedWhileTheBootLoads(t *testing.T) {
	w, _ := leftBehind(t, def("a", "/bin/a", "status", "start"), crash)
	asked := make(chan struct{})
	w.wrap = func(s supervisor.Systemd) supervisor.Systemd { return stuck{s, asked} }
	w.past = pastOf(func(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return w.pid1.Entries(ctx, since, wanted)
	})
	d := w.start()
	<-asked
	d.kill()
	d.expect()
	w.wrap = nil
	w.boot()
	w.wantJobs("a", "main failed signal attempt 1 run 1", "main running  attempt 1 run 2")
}
