package supervisor_test

import (
	"context"
	"slices"
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
			if _, err := d.RunJob(t.Context(), map[string]any{"name": "x", "exec": c.exec}, nil); units.CodeOf(err) != units.CodeTimeout {
				t.Fatalf("its start gives %v", err)
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
