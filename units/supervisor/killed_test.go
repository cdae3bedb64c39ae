package supervisor_test

import (
	"context"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// cutOff is a systemd that a daemon asks for starts, and does not live to hear
// the answer of: they are the test's to pass on.
type cutOff struct {
	supervisor.Systemd
	asked chan func(context.Context, supervisor.Systemd) (<-chan string, error)
	dead  chan struct{}
}

// newCutOff is what stands between the next daemons and systemd.
func newCutOff(w *world) *cutOff {
	c := &cutOff{asked: make(chan func(context.Context, supervisor.Systemd) (<-chan string, error)), dead: make(chan struct{})}
	w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd { c.Systemd = pid1; return c }
	return c
}

func (c *cutOff) sent(pass func(context.Context, supervisor.Systemd) (<-chan string, error)) (<-chan string, error) {
	c.asked <- pass
	<-c.dead
	return nil, units.Errorf(units.CodeCanceled, "the daemon is dead")
}

func (c *cutOff) StartTransient(_ context.Context, u transient.Unit) (<-chan string, error) {
	return c.sent(func(ctx context.Context, pid1 supervisor.Systemd) (<-chan string, error) {
		return pid1.StartTransient(ctx, u)
	})
}

func (c *cutOff) Start(_ context.Context, unit, mode string) (<-chan string, error) {
	return c.sent(func(ctx context.Context, pid1 supervisor.Systemd) (<-chan string, error) {
		return pid1.Start(ctx, unit, mode)
	})
}

func (c *cutOff) Restart(_ context.Context, unit, mode string) (<-chan string, error) {
	return c.sent(func(ctx context.Context, pid1 supervisor.Systemd) (<-chan string, error) {
		return pid1.Restart(ctx, unit, mode)
	})
}

// What a restart has started is its job's, also when the daemon is killed: the
// job that the restart has ended is older.
func TestARestartThroughAKillOfTheDaemon(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("x", "/bin/daemon", "status", "stop"))
	d.start("x")
	d.kill()
	cut := newCutOff(w)
	d = w.boot()
	answered := make(chan error)
	go func() {
		_, err := d.Restart(t.Context(), core("x"))
		answered <- err
	}()
	pass := <-cut.asked
	d.kill()
	close(cut.dead)
	if err := <-answered; err == nil {
		t.Error("the restart was answered")
	}
	w.result(pass(t.Context(), w.elsewhere()))
	w.wrap = nil
	w.boot()
	w.wantJobs("x", "main canceled success attempt 1 run 1", "main running  attempt 1 run 2")
}

// The daemon is killed when it has asked for a start, and what was started is
// over, and its unit gone, before there is another one: the journal has it.
func TestAStartThatEndedAfterTheDaemonWasKilled(t *testing.T) {
	id := units.ID{Context: "core", Name: "x"}
	for _, c := range []struct {
		name   string
		start  func(context.Context, *daemon) error
		unit   string
		result string
		want   string
	}{
		{"a run", func(ctx context.Context, d *daemon) error {
			_, err := d.RunJob(ctx, map[string]any{"name": "x", "exec": "/bin/daemon"}, nil)
			return err
		}, "hero-core-x-r1.service", "success", "main succeeded success attempt 1 run 1"},
		{"a run that fails", func(ctx context.Context, d *daemon) error {
			_, err := d.RunJob(ctx, map[string]any{"name": "x", "exec": "/bin/daemon"}, nil)
			return err
		}, "hero-core-x-r1.service", "exit-code", "main failed exit-code attempt 1 run 1"},
		{"a service", func(ctx context.Context, d *daemon) error {
			_, err := d.Start(ctx, id)
			return err
		}, id.Unit(), "success", "main succeeded success attempt 1 run 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			cut := newCutOff(w)
			d := w.boot()
			d.define(def("x", "/bin/daemon", "status", "stop"))
			answered := make(chan error)
			go func() { answered <- c.start(t.Context(), d) }()
			pass := <-cut.asked
			m := w.elsewhere()
			if c.unit == id.Unit() {
				if err := m.Pin(t.Context(), c.unit); err != nil { // until it was started
					t.Fatal(err)
				}
			}
			d.kill()
			close(cut.dead)
			if err := <-answered; err == nil {
				t.Error("the start was answered")
			}
			w.result(pass(t.Context(), m))
			w.pid1.Crash(c.unit, c.result)
			w.down(m, c.unit)
			if err := m.ResetFailed(t.Context(), c.unit); err != nil {
				t.Fatal(err)
			}
			m.Close()
			w.wrap = nil
			w.boot()
			w.wantJobs("x", c.want)
		})
	}
}
