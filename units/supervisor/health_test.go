package supervisor_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

const probed = "tcp:127.0.0.1:1"

// healthy is a definition with a probe that is asked often, and what else is
// said about it.
func healthy(name, probe string, more ...any) map[string]any {
	d := def(name, "/bin/"+name)
	action := d["actions"].([]map[string]any)[0]
	action["health"], action["health_interval"], action["health_grace"], action["health_failures"] = probe, "100ms", "1ms", 2
	for i := 0; i < len(more); i += 2 {
		if key := more[i].(string); key == "status" {
			d[key] = more[i+1]
		} else {
			action[key] = more[i+1]
		}
	}
	return d
}

// awaitHealth waits until a service's sole probe says state.
func (d *daemon) awaitHealth(name string, state units.HealthState) units.ActionHealth {
	d.w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s := d.status(name)
		if len(s.Health) != 1 {
			d.w.t.Fatalf("%s has %d probes", name, len(s.Health))
		}
		if s.Health[0].State == state {
			if s.HealthState != state {
				d.w.t.Errorf("%s is %s, and its probe %s", name, s.HealthState, state)
			}
			return s.Health[0]
		}
		if time.Now().After(deadline) {
			d.w.t.Fatalf("the probe of %s says %+v, want %s; reported: %q", name, s.Health[0], state, d.reported())
		}
	}
}

func TestFailuresAreToldBeforeItIsUnhealthy(t *testing.T) {
	w := newWorld(t)
	var bad atomic.Bool
	w.ask = func(units.HealthCheck) (bool, string) { return !bad.Load(), "no answer in time" }
	d := w.boot()
	d.define(healthy("web", probed, "health_failures", 1000))
	d.start("web")
	d.awaitHealth("web", units.HealthHealthy)
	bad.Store(true)
	for deadline := time.Now().Add(20 * time.Second); d.status("web").Health[0].Failures == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no failure is counted")
		}
	}
	h := d.status("web").Health[0]
	if h.State != units.HealthHealthy || h.Says != "no answer in time" || h.Note != "it is unhealthy after 1000 in a row" {
		t.Errorf("its health is %+v", h)
	}
}

func TestUnhealthyIsRestartedWithinItsBudget(t *testing.T) {
	w := newWorld(t)
	var bad atomic.Bool
	w.ask = func(units.HealthCheck) (bool, string) { return !bad.Load(), "no answer in time" }
	d := w.boot()
	d.define(healthy("web", probed, "unhealthy_restarts", 2))
	d.start("web")
	if h := d.awaitHealth("web", units.HealthHealthy); h.Says != "" || h.Since.IsZero() || h.Probe != probed || h.Action != "main" {
		t.Errorf("its health is %+v", h)
	}
	first := d.status("web").Unit.InvocationID
	bad.Store(true)
	d.awaitReport(1, "unhealthy-restarts-spent core/web")
	s := d.await("web", units.StateDegraded)
	if want := probed + " fails with: no answer in time; not restarted any more, since 2 restarts within 10m0s did not help"; !strings.Contains(s.Reason, want) {
		t.Errorf("the reason is %q, want %q", s.Reason, want)
	}
	if s.Unit.InvocationID == first {
		t.Error("it was not restarted")
	}
	if n := w.pid1.Calls("TryRestartUnit"); n != 2 {
		t.Errorf("it was restarted %d times", n)
	}
	if h := d.Health(nil); h.Probes.Restarts != 2 || h.Probes.Well == 0 || h.Probes.Unwell < 6 {
		t.Errorf("the counts are %+v", h.Probes)
	}
	bad.Store(false)
	d.awaitReport(1, "healthy-again core/web")
	d.await("web", units.StateRunning)
	if job, ok := d.job("web"); !ok || job.Phase != units.PhaseRunning {
		t.Errorf("the history has %+v", job)
	}
	d.expect("not-registered core/hero_db", "unhealthy-restart core/web", "unhealthy-restart core/web", "unhealthy-restarts-spent core/web", "healthy-again core/web")

	// What was spent is in the log, so it is still when the daemon is another.
	d.kill()
	bad.Store(true)
	d = w.boot()
	d.awaitReport(1, "unhealthy-restarts-spent core/web")
	d.expect("not-registered core/hero_db", "unhealthy-restarts-spent core/web")
	if n := w.pid1.Calls("TryRestartUnit"); n != 2 {
		t.Errorf("it was restarted %d times", n)
	}
	// Whoever starts it anew by hand gives it another try, which the budget doesn't.
	if _, err := d.Restart(t.Context(), units.ID{Context: "core", Name: "web"}); err != nil {
		t.Fatal(err)
	}
	d.awaitReport(2, "unhealthy-restarts-spent core/web")
}

// hardOfHearing is a systemd whose signals don't come through from a restart on,
// until open is closed.
type hardOfHearing struct {
	supervisor.Systemd
	shut atomic.Bool
	open chan struct{}
	wake chan struct{}
}

func (h *hardOfHearing) Wake() <-chan struct{} { return h.wake }

func (h *hardOfHearing) pass(ctx context.Context) {
	for {
		select {
		case <-h.Systemd.Wake():
		case <-ctx.Done():
			return
		}
		if h.shut.Load() {
			<-h.open
		}
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
}

func (h *hardOfHearing) TryRestart(ctx context.Context, unit, mode string) (<-chan string, error) {
	h.shut.Store(true)
	return h.Systemd.TryRestart(ctx, unit, mode)
}

// What was restarted is another activation, also before the loop knows of it:
// that the budget is spent is told once, and of the one that it is true of.
func TestSpentIsToldOfTheLastActivationAlone(t *testing.T) {
	w := newWorld(t)
	var bad atomic.Bool
	var asked atomic.Int32
	w.ask = func(units.HealthCheck) (bool, string) { asked.Add(1); return !bad.Load(), "no" }
	h := &hardOfHearing{open: make(chan struct{}), wake: make(chan struct{}, 1)}
	open := sync.OnceFunc(func() { close(h.open) })
	t.Cleanup(open)
	w.wrap = func(s supervisor.Systemd) supervisor.Systemd {
		h.Systemd = s
		go h.pass(w.t.Context())
		return h
	}
	d := w.boot()
	d.define(healthy("web", probed, "unhealthy_restarts", 1))
	d.start("web")
	d.awaitHealth("web", units.HealthHealthy)
	bad.Store(true)
	d.awaitReport(1, "unhealthy-restart core/web")
	for n := asked.Load(); asked.Load() < n+5; time.Sleep(time.Millisecond) { // by the probe of what was there before
	}
	d.expect("not-registered core/hero_db", "unhealthy-restart core/web")
	open()
	d.awaitReport(1, "unhealthy-restarts-spent core/web")
	for n := asked.Load(); asked.Load() < n+5; time.Sleep(time.Millisecond) { // however often it fails
	}
	d.expect("not-registered core/hero_db", "unhealthy-restart core/web", "unhealthy-restarts-spent core/web")
}

// Somebody stops it at the very moment at which it is found unhealthy.
func TestStoppedIsNeverRestarted(t *testing.T) {
	for _, by := range []string{"hero_proc", "systemctl"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t)
			id := units.ID{Context: "core", Name: "web"}
			var d *daemon
			var asked atomic.Int32
			failed := make(chan error, 1)
			w.ask = func(units.HealthCheck) (bool, string) {
				if asked.Add(1) < 3 {
					return asked.Load() == 1, "no"
				}
				var err error
				if by == "hero_proc" {
					_, err = d.Stop(context.Background(), id)
				} else {
					_, err = d.manager.Stop(context.Background(), id.Unit(), "replace")
				}
				failed <- err
				return false, "no"
			}
			d = w.boot()
			d.define(healthy("web", probed), healthy("other", "exec:true"))
			d.start("web")
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			d.await("web", units.StateInactive)
			// The scheduler has come round by the time that another has its answer.
			d.start("other")
			d.awaitHealth("other", units.HealthHealthy)
			s := d.status("web")
			if s.State != units.StateInactive || s.Health[0].State != units.HealthUnknown || s.Health[0].Says != "it does not run" {
				t.Errorf("it is %s, and its health %+v", s.State, s.Health[0])
			}
			if n := w.pid1.Calls("TryRestartUnit"); by == "hero_proc" && n != 0 || asked.Load() != 3 {
				t.Errorf("it was restarted %d times, and asked %d times", n, asked.Load())
			}
			d.expect("not-registered core/hero_db")
		})
	}
}

func TestUnhealthyIsOnlyReported(t *testing.T) {
	for _, tc := range []struct {
		name, why string
		more      []any
	}{
		{"on_unhealthy is warn", "not restarted, since on_unhealthy is warn", []any{"on_unhealthy", "warn"}},
		{"it is not wanted", "not restarted, since its wanted status is stop", []any{"status", "stop"}},
		{"it is nobody's business", "not restarted, since its wanted status is ignore", []any{"status", "ignore"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			var bad atomic.Int32
			w.ask = func(units.HealthCheck) (bool, string) { bad.Add(1); return false, "no" }
			d := w.boot()
			d.define(healthy("web", probed, tc.more...))
			d.start("web")
			d.awaitReport(1, "unhealthy core/web")
			for n := bad.Load(); bad.Load() < n+3; time.Sleep(time.Millisecond) { // however often it fails
			}
			if s := d.await("web", units.StateDegraded); !strings.Contains(s.Reason, tc.why) {
				t.Errorf("the reason is %q", s.Reason)
			}
			d.expect("not-registered core/hero_db", "unhealthy core/web")
			if n := w.pid1.Calls("TryRestartUnit"); n != 0 {
				t.Errorf("it was restarted %d times", n)
			}
		})
	}
}

// What can't be asked over the network is asked by a unit of systemd's.
func TestHealthAskedByAUnit(t *testing.T) {
	w := newWorld(t)
	w.ask = func(c units.HealthCheck) (bool, string) {
		t.Errorf("%s was asked over the network", c)
		return true, ""
	}
	d := w.boot()
	d.define(healthy("good", "exec:true"), healthy("bad", "exec:false", "on_unhealthy", "warn"), def("mute", "/bin/mute"))
	for _, name := range []string{"good", "bad", "mute"} {
		d.start(name)
	}
	d.awaitHealth("good", units.HealthHealthy)
	if h := d.awaitHealth("bad", units.HealthUnhealthy); h.Says != "exit status 1" || h.Failures < 2 {
		t.Errorf("the health is %+v", h)
	}
	if s := d.status("mute"); s.HealthState != units.HealthNone || s.Health != nil || s.State != units.StateRunning {
		t.Errorf("without a probe it is %s, %s, %+v", s.State, s.HealthState, s.Health)
	}
}

// identified tells of the readings of all units.
type identified struct {
	supervisor.Systemd
	n atomic.Int64
}

func (i *identified) Identify(ctx context.Context, listed []units.Unit) error {
	defer i.n.Add(1)
	return i.Systemd.Identify(ctx, listed)
}

// A systemd that executes itself anew has everything read again. What ran, runs
// on, and what is known of its health stays known.
func TestHealthOutlivesADaemonReexec(t *testing.T) {
	w := newWorld(t)
	w.ask = func(units.HealthCheck) (bool, string) { return false, "no answer" }
	pid1 := &identified{}
	w.wrap = func(of supervisor.Systemd) supervisor.Systemd { pid1.Systemd = of; return pid1 }
	d := w.boot()
	d.define(healthy("web", probed, "on_unhealthy", "warn"))
	d.start("web")
	before, readings := d.awaitHealth("web", units.HealthUnhealthy), pid1.n.Load()
	w.pid1.Reexec()
	for deadline := time.Now().Add(20 * time.Second); pid1.n.Load() == readings; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the units were not read again")
		}
	}
	seen := d.status("web").Health[0].Failures
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s := d.status("web")
		h := s.Health[0]
		if s.State != units.StateDegraded || !h.Since.Equal(before.Since) || h.Failures < before.Failures {
			t.Fatalf("it is %s, and its health is %+v; it was %+v", s.State, h, before)
		}
		if h.Failures >= seen+3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not asked any more: %+v", h)
		}
	}
}

// deaf is a systemd that runs no unit to its end.
type deaf struct{ supervisor.Systemd }

func (deaf) Run(context.Context, transient.Unit) (units.Unit, string, error) {
	return units.Unit{}, "", units.Errorf(units.CodeRefused, "no")
}

// What can't be asked is neither well nor unwell.
func TestHealthThatCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	w.wrap = func(s supervisor.Systemd) supervisor.Systemd { return deaf{s} }
	d := w.boot()
	d.define(healthy("web", "exec:true"))
	d.start("web")
	const want = "the probe can't be run: no"
	for deadline := time.Now().Add(20 * time.Second); d.status("web").Health[0].Says != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the health is %+v", d.status("web").Health[0])
		}
	}
	if s := d.status("web"); s.HealthState != units.HealthUnknown || s.State != units.StateRunning {
		t.Errorf("it is %s and %s", s.State, s.HealthState)
	}
	d.expect("not-registered core/hero_db")
}

// A change of what hero_proc does about health holds at once; what runs with an
// older definition is not asked by the new one.
func TestHealthOfAChangedDefinition(t *testing.T) {
	w := newWorld(t)
	w.ask = func(c units.HealthCheck) (bool, string) { return c.Address == "127.0.0.1:1", "not there" }
	d := w.boot()
	d.define(healthy("web", probed))
	d.start("web")
	d.awaitHealth("web", units.HealthHealthy)
	d.define(healthy("web", "tcp:127.0.0.1:2", "on_unhealthy", "warn"))
	if h := d.awaitHealth("web", units.HealthUnhealthy); h.Says != "not there" {
		t.Errorf("the health is %+v", h)
	}
	if s := d.status("web"); s.Stale {
		t.Error("it is to be restarted for a probe")
	}
	d.define(healthy("web", probed, "env", map[string]any{"A": "1"}))
	if h := d.awaitHealth("web", units.HealthUnknown); h.Says != "it runs with an older definition, and is not asked until it is restarted" {
		t.Errorf("the health is %+v", h)
	}
	if s := d.status("web"); !s.Stale || s.State != units.StateRunning {
		t.Errorf("it is %s, stale: %t", s.State, s.Stale)
	}
	if _, err := d.Restart(t.Context(), units.ID{Context: "core", Name: "web"}); err != nil {
		t.Fatal(err)
	}
	d.awaitHealth("web", units.HealthHealthy)
	d.define(def("web", "/bin/web"))
	if s := d.status("web"); s.HealthState != units.HealthNone {
		t.Errorf("without a probe it is %s", s.HealthState)
	}
}

// However many there are, and however long they take: few are asked at once,
// and nobody waits for them.
func TestFewProbesAreAskedAtOnce(t *testing.T) {
	w := newWorld(t)
	const many, few = 100, 32
	var now, most atomic.Int32
	full, answer := make(chan struct{}, many), make(chan struct{})
	w.ask = func(units.HealthCheck) (bool, string) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == few {
			full <- struct{}{}
		}
		<-answer
		return true, ""
	}
	d := w.boot()
	var names []string
	for i := range many {
		names = append(names, fmt.Sprintf("s%d", i))
		d.define(healthy(names[i], probed))
	}
	for _, name := range names {
		d.start(name)
	}
	<-full
	if h := d.Health(nil); h.Probes.InFlight != few {
		t.Errorf("%d are asked at once", h.Probes.InFlight)
	}
	close(answer)
	for _, name := range names {
		d.awaitHealth(name, units.HealthHealthy)
	}
	if n := most.Load(); n != few {
		t.Errorf("%d were asked at once, want %d", n, few)
	}
}
