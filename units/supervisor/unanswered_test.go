package supervisor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// launching is a systemd whose start of a run is the test's.
type launching struct {
	supervisor.Systemd
	start func(ctx context.Context, real func() error) error
}

func (l *launching) StartTransient(ctx context.Context, u transient.Unit) (<-chan string, error) {
	var result <-chan string
	err := l.start(ctx, func() (err error) {
		result, err = l.Systemd.StartTransient(ctx, u)
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// A run of which systemd did not say in time whether it starts it is followed
// if it does, and lost if it does not: nothing is pending for good.
func TestAStartWithoutAnAnswerIsSettled(t *testing.T) {
	noAnswer := units.Errorf(units.CodeTimeout, "no answer")
	for _, c := range []struct {
		name  string
		exec  string
		made  bool // systemd has made it all the same
		want  units.Phase
		alive bool
	}{
		{name: "systemd has not started it", exec: "/bin/daemon", want: units.PhaseLost},
		{name: "systemd runs it", exec: "/bin/daemon", made: true, want: units.PhaseRunning, alive: true},
		{name: "systemd has run it to its end", exec: "/bin/true", made: true, want: units.PhaseSucceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.watchdog = 20 * time.Millisecond
			w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd {
				return &launching{pid1, func(_ context.Context, real func() error) error {
					if c.made {
						if err := real(); err != nil {
							t.Error(err)
						}
					}
					return noAnswer
				}}
			}
			d := w.boot()
			_, err := d.RunJob(t.Context(), map[string]any{"name": "x", "exec": c.exec}, nil)
			var says *units.Error
			if !errors.As(err, &says) || says.Code != units.CodeTimeout || !strings.Contains(says.Message, "job 1") || !strings.Contains(says.Remedy, "hero_proc job cancel 1") {
				t.Fatalf("its start gives %#v", err)
			}
			var got units.Job
			for deadline := time.Now().Add(20 * time.Second); got.Phase != c.want; time.Sleep(5 * time.Millisecond) {
				jobs, err := d.Jobs(t.Context(), units.JobFilter{})
				if err != nil || len(jobs) != 1 || time.Now().After(deadline) {
					t.Fatalf("the jobs are %+v, %v; want it %s", jobs, err, c.want)
				}
				got = jobs[0]
			}
			if !c.alive {
				d.unloaded(got)
				return
			}
			w.pid1.Crash(got.Unit, "success")
			d.ended(got, units.PhaseSucceeded)
			d.unloaded(got)
		})
	}
}

// speechless is a systemd that does what it is asked about a service, where made says
// so, and does not answer in time.
type speechless struct {
	supervisor.Systemd
	made, on bool
}

func (l *speechless) ask(real func(context.Context, string, string) (<-chan string, error), ctx context.Context, unit, mode string) (<-chan string, error) {
	if l.made || !l.on {
		if result, err := real(ctx, unit, mode); err != nil || !l.on {
			return result, err
		}
	}
	return nil, units.Errorf(units.CodeTimeout, "no answer")
}

func (l *speechless) Start(ctx context.Context, unit, mode string) (<-chan string, error) {
	return l.ask(l.Systemd.Start, ctx, unit, mode)
}

func (l *speechless) Restart(ctx context.Context, unit, mode string) (<-chan string, error) {
	return l.ask(l.Systemd.Restart, ctx, unit, mode)
}

// The same of services: what systemd has started is the job that was asked for,
// and no other; what it has not is lost.
func TestAServiceWhoseStartHasNoAnswerIsSettled(t *testing.T) {
	id := units.ID{Context: "core", Name: "x"}
	start := func(d *daemon) error { _, err := d.Start(t.Context(), id); return err }
	restart := func(d *daemon) error { _, err := d.Restart(t.Context(), id); return err }
	for _, c := range []struct {
		name string
		made bool
		runs bool // before
		ask  func(*daemon) error
		told bool // before it is done, in the background
		want []string
	}{
		{name: "start", ask: start, want: []string{"main lost  attempt 1 run 1"}},
		{name: "start, done", made: true, ask: start, want: []string{"main running  attempt 1 run 1"}},
		{name: "restart of what is down, done", made: true, ask: restart, want: []string{"main running  attempt 1 run 1"}},
		{name: "restart", runs: true, ask: restart, want: []string{"main running  attempt 1 run 1", "main lost  attempt 1 run 2"}},
		{name: "restart, done", runs: true, made: true, ask: restart, want: []string{"main canceled success attempt 1 run 1", "main running  attempt 1 run 2"}},
		{name: "restart with another definition, done", runs: true, made: true, told: true, ask: func(d *daemon) error {
			d.define(def("x", "/bin/other", "status", "stop"))
			return restart(d)
		}, want: []string{"main canceled success attempt 1 run 1", "main running  attempt 1 run 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.watchdog = 20 * time.Millisecond
			pid1 := &speechless{made: c.made}
			w.wrap = func(real supervisor.Systemd) supervisor.Systemd { pid1.Systemd = real; return pid1 }
			d := w.boot()
			d.define(def("x", "/bin/daemon", "status", "stop"))
			if c.runs {
				d.start("x")
			}
			pid1.on = true
			if err := c.ask(d); !c.told && units.CodeOf(err) != units.CodeTimeout || c.told && err != nil {
				t.Fatalf("it gives %v", err)
			}
			w.wantJobs("x", c.want...)
			d.expect("not-registered core/hero_db")
			d.kill()
			pid1.on = false
			w.boot() // and it stays so
			w.wantJobs("x", c.want...)
		})
	}
}

// hindered is a systemd that fails once, when a process is to be started again.
type hindered struct {
	supervisor.Systemd
	release, start error
}

func (h *hindered) Release(ctx context.Context, unit string) error {
	if err := h.release; err != nil {
		h.release = nil
		return err
	}
	return h.Systemd.Release(ctx, unit)
}

func (h *hindered) StartTransient(ctx context.Context, u transient.Unit) (<-chan string, error) {
	if err := h.start; err != nil {
		h.start = nil
		return nil, err
	}
	return h.Systemd.StartTransient(ctx, u)
}

// A process that could not be started again at once, after a reboot, is so a
// little later.
func TestAProcessThatCouldNotBeQueuedAgainIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		pid1 hindered
		want []string
	}{
		{"systemd does not let go of its unit", hindered{release: units.Errorf(units.CodeRefused, "not now")},
			[]string{"main lost  attempt 1 run 1", "main running  attempt 2 run 1"}},
		{"systemd does not answer", hindered{start: units.Errorf(units.CodeTimeout, "no answer")},
			[]string{"main lost  attempt 1 run 1", "main lost  attempt 2 run 1", "main running  attempt 3 run 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.watchdog = 20 * time.Millisecond
			d := w.boot()
			d.running(d.submit("process", "/bin/daemon", "is_process", true))
			d.kill()
			w.machineRestarts()
			w.wrap = func(real supervisor.Systemd) supervisor.Systemd { c.pid1.Systemd = real; return &c.pid1 }
			d = w.boot()
			w.wantJobs("process", c.want...)
			d.awaitReport(1, "run-queued-again core/process")
			if slices.Contains(d.reported(), "run-not-queued core/process") {
				t.Errorf("reported %q", d.reported())
			}
		})
	}
}

// hero_proc goes down while it starts a process again after a reboot: the next
// one sees to it that it runs, once.
func TestAProcessIsQueuedAgainThroughACrash(t *testing.T) {
	for _, c := range []struct {
		name    string
		made    bool // systemd was asked
		attempt int
		reports []string // of the next daemon
	}{
		{name: "before systemd was asked", attempt: 3, reports: []string{"not-registered core/hero_db", "run-queued-again core/process"}},
		{name: "after systemd was asked", made: true, attempt: 2, reports: []string{"not-registered core/hero_db"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			process := d.running(d.submit("process", "/bin/daemon", "is_process", true))
			d.kill()
			w.machineRestarts()
			asked := make(chan struct{})
			w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd {
				return &launching{pid1, func(ctx context.Context, real func() error) error {
					if c.made {
						if err := real(); err != nil {
							t.Error(err)
						}
					}
					close(asked)
					<-ctx.Done()
					return units.Errorf(units.CodeCanceled, "down")
				}}
			}
			d = w.start()
			<-asked
			d.kill()
			w.wrap = nil
			d = w.boot()
			d.expect(c.reports...)
			if got := d.live(); !slices.Equal(got, []string{process.Unit}) {
				t.Fatalf("live are %q", got)
			}
			jobs, err := d.LiveJobs(t.Context())
			if err != nil || jobs[0].Run != process.Run || jobs[0].Attempt != c.attempt {
				t.Errorf("the live jobs are %+v, %v; want attempt %d", jobs, err, c.attempt)
			}
			// One process, and it stays one.
			running := d.running(jobs[0])
			d.kill()
			d = w.boot()
			if j := d.running(jobs[0]); j.InvocationID != running.InvocationID {
				t.Errorf("after one more restart of hero_proc it is %+v, was %+v", j, running)
			}
			all, err := d.Jobs(t.Context(), units.JobFilter{})
			if err != nil || len(all) != c.attempt {
				t.Errorf("the jobs are %+v, %v", all, err)
			}
		})
	}
}
