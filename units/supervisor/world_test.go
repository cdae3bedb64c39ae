package supervisor_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/store"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd/systemdtest"
)

// world is a machine: a bus with a systemd on it, and a directory with a
// store. Daemons come and go in it.
type world struct {
	t    *testing.T
	bus  *privatebus.Bus
	pid1 *systemdtest.Systemd
	dir  string
	// noted is what the prober has met.
	noted noted
	// wrap may stand between the next daemons and systemd; nil doesn't.
	wrap func(supervisor.Systemd) supervisor.Systemd
	// past is the journal that the next daemons read.
	past supervisor.Past
	// watchdog is that of the next daemons: they look around twice in it.
	watchdog time.Duration
	// ask answers the probes of health; nil is that all is well.
	ask func(units.HealthCheck) (well bool, says string)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	bus := privatebus.Start(t)
	pid1 := systemdtest.Start(t, bus)
	return &world{t: t, bus: bus, pid1: pid1, past: pid1, dir: t.TempDir()}
}

// daemon is a running supervisor: the real store, the real adapter.
type daemon struct {
	*supervisor.Supervisor
	w       *world
	manager *systemd.Manager
	kill    func()

	mu     sync.Mutex
	events []units.Event
	states []string
	ready  chan struct{}
}

func (d *daemon) Send(e units.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
	return nil
}

func (d *daemon) Sync(context.Context) error { return nil }

func (d *daemon) notify(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.states = append(d.states, state)
	if strings.HasPrefix(state, "READY=1") {
		close(d.ready)
	}
}

func (d *daemon) Units() ([]string, error) { return d.w.noted.units() }

func (d *daemon) Take(unit string) ([]units.Event, error) { return d.w.noted.take(unit) }

// reported are the events so far, as "code service".
func (d *daemon) reported() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, e := range d.events {
		all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s", e.Code, e.Service), " /"))
	}
	return all
}

// boot starts a daemon and waits until it is ready.
func (w *world) boot(policy ...func(*supervisor.Policy)) *daemon {
	w.t.Helper()
	d := w.start(policy...)
	select {
	case <-d.ready:
	case <-time.After(30 * time.Second):
		w.t.Fatalf("not ready in 30 s; reported: %q", d.reported())
	}
	return d
}

// start starts a daemon.
func (w *world) start(policy ...func(*supervisor.Policy)) *daemon {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	db, found, err := store.Open(ctx, w.dir, store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	queue := store.NewLogQueue(db, 100)
	manager, err := systemd.Connect(ctx, systemd.Options{Dial: w.bus.Dial})
	if err != nil {
		w.t.Fatal(err)
	}
	d := &daemon{w: w, manager: manager, ready: make(chan struct{})}
	p := supervisor.Policy{HeroDB: units.ID{Context: "core", Name: "hero_db"}, StartTimeout: 20 * time.Second}
	for _, set := range policy {
		set(&p)
	}
	var pid1 supervisor.Systemd = manager
	if w.wrap != nil {
		pid1 = w.wrap(pid1)
	}
	d.Supervisor = supervisor.New(supervisor.Options{
		Store: db, Systemd: pid1, Journal: d, Past: w.past, Queue: queue, Notes: d, Notify: d.notify, Policy: p, Found: found,
		Ask: func(_ context.Context, check units.HealthCheck) (bool, string) {
			if w.ask == nil {
				return true, ""
			}
			return w.ask(check)
		},
		Watchdog: w.watchdog,
		Version:  "test", Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Now: time.Now,
	})
	if err := d.Load(ctx); err != nil {
		w.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			w.t.Errorf("the supervisor ended: %v", err)
		}
	})
	d.kill = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		manager.Close()
		if err := queue.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
		if err := db.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(d.kill)
	return d
}

// define registers services, each a definition of context core: name, command
// and further keys.
func (d *daemon) define(defs ...map[string]any) {
	d.w.t.Helper()
	for _, def := range defs {
		if err := d.Set(d.w.t.Context(), def, false); err != nil {
			d.w.t.Fatalf("cannot set %v: %v", def["name"], err)
		}
	}
}

func def(name, exec string, more ...any) map[string]any {
	action := map[string]any{"name": "main", "exec": exec, "restart": "no"}
	d := map[string]any{"name": name, "actions": []map[string]any{action}}
	for i := 0; i < len(more); i += 2 {
		if key := more[i].(string); key == "ready" {
			action[key] = more[i+1]
		} else {
			d[key] = more[i+1]
		}
	}
	return d
}

func (d *daemon) status(name string) units.Status {
	d.w.t.Helper()
	s, err := d.Status(d.w.t.Context(), units.ID{Context: "core", Name: name})
	if err != nil {
		d.w.t.Fatal(err)
	}
	return s
}

// await waits until the service reads as state.
func (d *daemon) await(name string, state units.State) units.Status {
	d.w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s := d.status(name)
		if s.State == state {
			return s
		}
		if time.Now().After(deadline) {
			d.w.t.Fatalf("%s is %s (%s), want %s; reported: %q", name, s.State, s.Reason, state, d.reported())
		}
	}
}

// awaitReason waits until the service is in its state for that reason.
func (d *daemon) awaitReason(name, reason string) {
	d.w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); d.status(name).Reason != reason; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s := d.status(name)
			d.w.t.Fatalf("%s is %s (%s), want %q", name, s.State, s.Reason, reason)
		}
	}
}

// awaitReport waits until an event was reported as often as n says.
func (d *daemon) awaitReport(n int, event string) {
	d.w.t.Helper()
	count := func() (n int) {
		for _, r := range d.reported() {
			if r == event {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(20 * time.Second); count() < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.w.t.Fatalf("%q was not reported %d times: %q", event, n, d.reported())
		}
	}
}

func (d *daemon) expect(want ...string) {
	d.w.t.Helper()
	if got := d.reported(); !slices.Equal(got, want) {
		d.w.t.Errorf("reported %q, want %q", got, want)
	}
}

// Before READY=1 everything that was reported is in the logs table too.
func (d *daemon) expectLog(want ...string) {
	d.w.t.Helper()
	entries, err := d.Logs(d.w.t.Context(), units.LogFilter{Source: units.SourceHeroDB})
	if err != nil {
		d.w.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %s", e.Code, e.Level))
	}
	if !slices.Equal(got, want) {
		d.w.t.Errorf("the log has %q, want %q", got, want)
	}
}

// job is the newest job of a service, found from its unit's invocation.
func (d *daemon) job(name string) (units.Job, bool) {
	d.w.t.Helper()
	id := units.ID{Context: "core", Name: name}
	job, err := d.Start(d.w.t.Context(), id) // what runs is left as it is
	if err != nil {
		d.w.t.Fatal(err)
	}
	return job, job.InvocationID != "" && job.InvocationID == d.status(name).Unit.InvocationID
}

// noted is what was met before units were started.
type noted struct {
	mu sync.Mutex
	of map[string][]units.Event
}

func (n *noted) put(unit string, e units.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[string][]units.Event{}
	}
	n.of[unit] = []units.Event{e}
}

func (n *noted) units() ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.of)), nil
}

func (n *noted) take(unit string) ([]units.Event, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := n.of[unit]
	delete(n.of, unit)
	return events, nil
}
