package supervisor_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// restarting is a definition of what systemd starts again once, and hero_proc
// a moment after that.
func restarting(name string, more ...any) map[string]any {
	d := def(name, "/bin/"+name)
	action := d["actions"].([]map[string]any)[0]
	delete(action, "restart")
	for i := 0; i < len(more); i += 2 {
		if key := more[i].(string); key == "status" || key == "requires" || key == "restart_with_requires" {
			d[key] = more[i+1]
		} else {
			action[key] = more[i+1]
		}
	}
	for key, value := range map[string]any{
		"restart": "on-failure", "restart_delay": "1ms", "start_limit_burst": 2, "start_limit_interval": "1h", "restart_retry_delay": "50ms",
	} {
		if _, given := action[key]; !given {
			action[key] = value
		}
	}
	return d
}

func core(name string) units.ID { return units.ID{Context: "core", Name: name} }

// awaitEvents waits until a kind of event was reported of a service so often.
func (d *daemon) awaitEvents(n int, code units.EventCode, name string) {
	d.w.t.Helper()
	want := string(code) + " core/" + name
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := 0
		for _, e := range d.reported() {
			if e == want {
				got++
			}
		}
		if got == n {
			return
		}
		if got > n || time.Now().After(deadline) {
			d.w.t.Fatalf("%d of %q, want %d; reported: %q", got, want, n, d.reported())
		}
	}
}

func (d *daemon) start(names ...string) {
	d.w.t.Helper()
	for _, name := range names {
		if _, err := d.Start(d.w.t.Context(), core(name)); err != nil {
			d.w.t.Fatal(err)
		}
		d.await(name, units.StateRunning)
	}
}

// exhaust ends a service as often as its start limit allows.
func (d *daemon) exhaust(name string) {
	d.w.t.Helper()
	unit := core(name).Unit()
	for d.status(name).State != units.StateFailed {
		before := d.await(name, units.StateRunning)
		d.w.pid1.Crash(unit, "signal")
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			s := d.status(name)
			if s.State == units.StateFailed || s.State == units.StateRunning && s.Unit.InvocationID != before.Unit.InvocationID {
				break
			}
			if time.Now().After(deadline) {
				d.w.t.Fatalf("%s is %s", name, s.State)
			}
		}
	}
}

func TestWhatSystemdGivesUpIsStartedAgain(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(restarting("a"), restarting("left", "restart_retry", false), restarting("unwanted", "status", "stop"))
	d.start("a", "left", "unwanted")
	d.exhaust("left")
	d.exhaust("unwanted")
	d.awaitEvents(1, units.EventRestartsSpent, "left")
	d.awaitEvents(1, units.EventRestartsSpent, "unwanted")
	for n := 1; n <= 3; n++ { // 50, 100, 200 ms
		d.exhaust("a")
		d.awaitEvents(n, units.EventStartedAgain, "a")
		d.await("a", units.StateRunning)
	}
	d.awaitEvents(3, units.EventRestartsSpent, "a")
	for _, name := range []string{"left", "unwanted"} {
		if s := d.status(name); s.State != units.StateFailed {
			t.Errorf("%s is %s", name, s.State)
		}
		d.awaitEvents(0, units.EventStartedAgain, name)
		// By hand it can always be started.
		d.start(name)
	}
}

// Whoever stops it has the last word, also when it is down already.
func TestAStopEndsTheRetries(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop func(d *daemon)
	}{
		{"through hero_proc", func(d *daemon) {
			if _, err := d.Stop(d.w.t.Context(), core("a")); err != nil {
				d.w.t.Fatal(err)
			}
		}},
		{"by systemctl", func(d *daemon) {
			if _, err := d.manager.Stop(d.w.t.Context(), core("a").Unit(), "replace"); err != nil {
				d.w.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			// The other one's time comes after that of the first.
			d.define(restarting("a", "restart_retry_delay", "1s"), restarting("clock", "restart_retry_delay", "1s"))
			d.start("a", "clock")
			d.exhaust("a")
			d.awaitEvents(1, units.EventRestartsSpent, "a")
			if s := d.status("a"); !strings.Contains(s.Reason, "; hero_proc starts it again at ") {
				t.Errorf("it has failed, and says %q", s.Reason)
			}
			tt.stop(d)
			d.exhaust("clock")
			d.awaitEvents(1, units.EventStartedAgain, "clock")
			if s := d.status("a"); s.State != units.StateFailed || strings.Contains(s.Reason, "hero_proc starts it again") {
				t.Errorf("it is %s (%s), want it failed as it was stopped", s.State, s.Reason)
			}
			d.awaitEvents(0, units.EventStartedAgain, "a")
		})
	}
}

// What was to come is not forgotten with the connection.
func TestRetryAfterALossOfTheBus(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(restarting("a", "restart_retry_delay", "500ms"))
	d.start("a")
	d.exhaust("a")
	d.awaitEvents(1, units.EventRestartsSpent, "a")
	w.bus.Restart()
	d.awaitEvents(1, units.EventStartedAgain, "a")
	d.await("a", units.StateRunning)
}

func TestRestartsOfWhatIsStableAreForgotten(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(restarting("a", "restart_reset_after", "50ms"))
	d.start("a")
	for n := 1; n <= 4; n++ { // beyond the start limit
		w.pid1.Crash(core("a").Unit(), "signal")
		d.awaitEvents(n, units.EventRestartsReset, "a")
		if s := d.await("a", units.StateRunning); s.Unit.Restarts != 0 {
			t.Errorf("it counts %d restarts", s.Unit.Restarts)
		}
	}
	if got := d.reported(); slices.Contains(got, string(units.EventRestartsSpent)+" core/a") {
		t.Errorf("reported %q", got)
	}
}

// unforgetting is a systemd that does not get to hear what it is to forget.
type unforgetting struct{ supervisor.Systemd }

func (unforgetting) ResetFailed(context.Context, string) error {
	return units.Errorf(units.CodeUnavailable, "not now")
}

// A daemon that comes later forgets them too, going by what systemd says.
func TestRestartsAreForgottenByALaterDaemon(t *testing.T) {
	w := newWorld(t)
	w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd { return unforgetting{pid1} }
	d := w.boot()
	d.define(restarting("a", "restart_reset_after", "1h"))
	d.start("a")
	w.pid1.Crash(core("a").Unit(), "signal")
	for s := d.status("a"); s.State != units.StateRunning || s.Unit.Restarts != 1; s = d.status("a") {
		time.Sleep(time.Millisecond)
	}
	d.define(restarting("a", "restart_reset_after", "50ms"))
	d.kill()
	w.wrap = nil
	d = w.boot()
	d.awaitEvents(1, units.EventRestartsReset, "a")
}

// Those that failed only because of a service are started once it is back.
func TestWhatRequiresAServiceComesBackWithIt(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(
		def("db", "/bin/false"), def("other", "/bin/other"),
		restarting("user", "requires", []string{"db", "other"}), restarting("top", "requires", "user"),
		restarting("stays", "requires", "db", "restart_with_requires", false),
		restarting("unwanted", "requires", "db", "status", "stop"),
		restarting("stopped", "requires", "db"), restarting("stopped-too", "requires", "db"),
		restarting("alone", "requires", "db", "exec", "/bin/true"),
	)
	all := []string{"user", "top", "stays", "unwanted", "stopped", "stopped-too"}
	for _, name := range all {
		job, err := d.Start(t.Context(), core(name))
		if err != nil {
			t.Fatal(err)
		}
		if job, err = d.Wait(t.Context(), job.ID); err != nil || job.Result != "dependency" {
			t.Fatalf("start of %s: %+v, %v", name, job, err)
		}
	}
	if _, err := d.Stop(t.Context(), core("stopped")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.manager.Stop(t.Context(), core("stopped-too").Unit(), "replace"); err != nil {
		t.Fatal(err)
	}
	d.define(def("db", "/bin/db"))
	d.start("db")
	d.awaitEvents(1, units.EventDependencyBack, "user")
	d.awaitEvents(1, units.EventDependencyBack, "top")
	d.await("top", units.StateRunning)
	d.await("user", units.StateRunning)
	for _, name := range []string{"stays", "unwanted", "stopped", "stopped-too"} {
		if s := d.status(name); s.State != units.StateInactive {
			t.Errorf("%s is %s (%s)", name, s.State, s.Reason)
		}
		d.awaitEvents(0, units.EventDependencyBack, name)
	}
}
