package supervisor_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// starting is a systemd between the calls of a start.
type starting struct {
	supervisor.Systemd
	read  func()       // before a unit is read
	reset func()       // before a unit is reset
	start func() error // before it is asked to start one; an error is the answer
	done  bool         // it says that a start is done, and starts nothing
	// queued says of what is down that there is a job for it.
	queued   atomic.Bool
	restarts atomic.Int32 // how often it was asked to restart one
}

// starting is in front of systemd from the next boot on.
func (w *world) starting() *starting {
	pid1 := &starting{}
	w.wrap = func(real supervisor.Systemd) supervisor.Systemd { pid1.Systemd = real; return pid1 }
	return pid1
}

func (s *starting) Restart(ctx context.Context, unit, mode string) (<-chan string, error) {
	s.restarts.Add(1)
	return s.Systemd.Restart(ctx, unit, mode)
}

func (s *starting) UnitsOf(ctx context.Context, id units.ID) ([]units.Unit, error) {
	list, err := s.Systemd.UnitsOf(ctx, id)
	for i := range list {
		list[i] = s.queue(list[i])
	}
	return list, err
}

func (s *starting) queue(u units.Unit) units.Unit {
	if u.Active == "inactive" && s.queued.Load() {
		u.JobID = 7
	}
	return u
}

func (s *starting) Unit(ctx context.Context, name string) (units.Unit, error) {
	if s.read != nil {
		s.read()
	}
	u, err := s.Systemd.Unit(ctx, name)
	return s.queue(u), err
}

func (s *starting) ResetFailed(ctx context.Context, unit string) error {
	if s.reset != nil {
		s.reset()
	}
	return s.Systemd.ResetFailed(ctx, unit)
}

func (s *starting) Start(ctx context.Context, unit, mode string) (<-chan string, error) {
	if s.start != nil {
		if err := s.start(); err != nil {
			return nil, err
		}
	}
	if s.done {
		result := make(chan string, 1)
		result <- "done"
		return result, nil
	}
	return s.Systemd.Start(ctx, unit, mode)
}

// A start whose program crashes, and is started again by systemd, before
// anybody looks is the first of the two.
func TestAStartThatCrashesBeforeAnybodyLooks(t *testing.T) {
	const unit = "hero-core-a.service"
	w := newWorld(t)
	again := make(chan struct{})
	gate := make(chan struct{})
	close(gate)
	var mu sync.Mutex
	pid1 := w.starting()
	pid1.read = func() {
		mu.Lock()
		wait := gate
		mu.Unlock()
		<-wait
	}
	pid1.start = func() error {
		mu.Lock()
		defer mu.Unlock()
		gate = again // nobody looks
		return nil
	}
	d := w.boot()
	d.define(restarting("a", "start_limit_burst", 100))
	job, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	m := w.elsewhere()
	w.restarted(m, unit, 0)
	w.pid1.Crash(unit, "signal")
	w.restarted(m, unit, 1)
	close(again)
	if job, err = d.Wait(t.Context(), job.ID); err != nil || job.Phase != units.PhaseFailed || job.Result != "signal" {
		t.Errorf("the start ends in %+v, %v", job, err)
	}
	w.wantJobs("a", "main failed signal attempt 1 run 1", "main running  attempt 2 run 1")
}

// A start by hand of what is to be started again ends what systemd has started
// meanwhile: it is a job of its own.
func TestAStartThatRestartsWhatHasComeUp(t *testing.T) {
	const unit = "hero-core-a.service"
	w := newWorld(t)
	m := w.elsewhere()
	pid1 := w.starting()
	d := w.boot()
	d.define(restarting("a", "start_limit_burst", 100, "restart_delay", "300ms"))
	d.start("a")
	w.pid1.Crash(unit, "signal")
	w.wantJobs("a", "main failed signal attempt 1 run 1")
	var once sync.Once
	pid1.reset = func() {
		once.Do(func() {
			w.restarted(m, unit, 1)
			w.wantJobs("a", "main failed signal attempt 1 run 1", "main running  attempt 2 run 1")
		})
	}
	job, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	w.wantJobs("a", "main failed signal attempt 1 run 1", "main canceled success attempt 2 run 1", "main running  attempt 1 run 2")
	job, err = d.WaitReady(t.Context(), job.ID)
	if u := d.status("a").Unit; err != nil || job.Phase != units.PhaseRunning || job.InvocationID != u.InvocationID {
		t.Errorf("what was asked for is %+v, %v; the unit is %+v", job, err, u)
	}
}

// A restart of what somebody else has queued the start of, as a boot has, is that
// start: it must not end what comes up in between, and take that for its own.
func TestARestartOfWhatIsQueued(t *testing.T) {
	const unit = "hero-core-a.service"
	w := newWorld(t)
	m := w.elsewhere()
	pid1 := w.starting()
	d := w.boot()
	d.define(def("a", "/bin/sleep"))
	var once sync.Once
	pid1.reset = func() {
		once.Do(func() {
			pid1.queued.Store(false)
			result, err := m.Start(t.Context(), unit, "replace")
			if err != nil {
				t.Error(err)
				return
			}
			<-result
			w.wantJobs("a", "main running  attempt 1 run 1")
		})
	}
	pid1.queued.Store(true)
	job, err := d.Restart(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	job, err = d.WaitReady(t.Context(), job.ID)
	if u := d.status("a").Unit; err != nil || job.Phase != units.PhaseRunning || job.InvocationID != u.InvocationID {
		t.Errorf("what was asked for is %+v, %v; the unit is %+v", job, err, u)
	}
	w.wantJobs("a", "main running  attempt 1 run 1")
	if n := pid1.restarts.Load(); n != 0 {
		t.Errorf("systemd was asked %d times to restart what had just come up", n)
	}
}

// A start after which nothing was started, as where a condition of an
// administrator's is not met, is not told of as the one before it.
func TestAStartThatStartsNothing(t *testing.T) {
	w := newWorld(t)
	pid1 := w.starting()
	d := w.boot()
	d.define(def("a", "/bin/true"))
	id := units.ID{Context: "core", Name: "a"}
	first, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if first, err = d.Wait(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	d.status("a")
	w.wantJobs("a", "main "+string(first.Phase)+" "+first.Result+" attempt 1 run 1")
	pid1.done = true
	second, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.WaitReady(t.Context(), second.ID); err != nil || got.ID != second.ID || got.Phase != units.PhaseCanceled {
		t.Errorf("the second start, job %d, ends in %+v, %v", second.ID, got, err)
	}
}

// A start that joins one which waits, and that systemd refuses, is no end of
// the one that it joins.
func TestARefusalOfAStartThatJoins(t *testing.T) {
	w := newWorld(t)
	pid1 := w.starting()
	d := w.boot()
	d.define(def("db", "/bin/db", "ready", "redis://"), def("web", "/bin/web", "requires", "db"))
	id := units.ID{Context: "core", Name: "web"}
	job, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	d.awaitReason("db", "not ready yet (start-post)")
	pid1.start = func() error { return units.Errorf(units.CodeRefused, "not now") }
	if again, err := d.Start(t.Context(), id); units.CodeOf(err) != units.CodeRefused {
		t.Errorf("a start that is refused is %+v, %v", again, err)
	}
	w.pid1.Ready("hero-core-db.service")
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseRunning {
		t.Errorf("the first start ends in %+v, %v", job, err)
	}
	w.wantJobs("web", "main running  attempt 1 run 1")
}
