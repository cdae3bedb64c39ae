package supervisor_test

import (
	"context"
	"fmt"
	"log/slog"
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
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	bus := privatebus.Start(t)
	return &world{t: t, bus: bus, pid1: systemdtest.Start(t, bus), dir: t.TempDir()}
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

func (d *daemon) notify(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.states = append(d.states, state)
	if strings.HasPrefix(state, "READY=1") {
		close(d.ready)
	}
}

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
	d.Supervisor = supervisor.New(supervisor.Options{
		Store: db, Systemd: manager, Journal: d, Queue: queue, Notify: d.notify, Policy: p, Found: found,
		Version: "test", Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Now: time.Now,
	})
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
	select {
	case <-d.ready:
	case <-time.After(30 * time.Second):
		w.t.Fatalf("not ready in 30 s; reported: %q", d.reported())
	}
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

func TestBootOfAnEmptyStoreReportsHeroDB(t *testing.T) {
	d := newWorld(t).boot()
	d.expect("not-registered core/hero_db")
	d.expectLog("not-registered error")
	h, err := d.Health(t.Context())
	if err != nil || !h.Ready || h.HeroDB != "not-registered" || h.Systemd != 252 {
		t.Errorf("health is %+v, %v", h, err)
	}
}

func TestBootStartsWhatIsWanted(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"), def("a", "/bin/a", "requires", "hero_db"), def("b", "/bin/b", "status", "stop"), def("c", "/bin/c", "status", "ignore"),
		map[string]any{"name": "s", "status": "spec"})
	for _, name := range []string{"hero_db", "a", "b", "c"} {
		if s := d.status(name); s.State != units.StateInactive || !s.Unit.Loaded() {
			t.Errorf("%s is %s and %s before it is started", name, s.State, s.Unit.Load)
		}
	}
	d.kill()

	d = w.boot()
	d.expect()
	if s := d.status("hero_db"); s.State != units.StateRunning {
		t.Errorf("hero_db is %s (%s) at READY", s.State, s.Reason)
	}
	d.await("a", units.StateRunning)
	for _, name := range []string{"b", "c"} {
		if s := d.status(name); s.State != units.StateInactive || !s.Unit.Loaded() {
			t.Errorf("%s is %s and %s, want it loaded only", name, s.State, s.Unit.Load)
		}
	}
	if s := d.status("s"); s.Unit.Loaded() {
		t.Errorf("s, a definition only, has a unit")
	}
	job, ok := d.job("a")
	if !ok || job.Phase != units.PhaseRunning {
		t.Errorf("the history has %+v of a", job)
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

func TestHealthyMachineIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"), def("a", "/bin/a"))
	d.kill()
	d = w.boot()
	before := d.await("hero_db", units.StateRunning).Unit
	d.await("a", units.StateRunning)
	d.kill()
	starts, sets := w.pid1.Calls("StartUnit"), w.pid1.Calls("StartTransientUnit")

	d = w.boot()
	after := d.await("hero_db", units.StateRunning).Unit
	if after.InvocationID != before.InvocationID || after.MainPID != before.MainPID {
		t.Errorf("hero_db was %s (process %d), is %s (process %d)", before.InvocationID, before.MainPID, after.InvocationID, after.MainPID)
	}
	if s, n := w.pid1.Calls("StartUnit"), w.pid1.Calls("StartTransientUnit"); s != starts || n != sets {
		t.Errorf("a healthy machine cost %d StartUnit and %d StartTransientUnit", s-starts, n-sets)
	}
	d.expect()
	if job, ok := d.job("hero_db"); !ok || job.Attempt != 1 || job.Phase != units.PhaseRunning {
		t.Errorf("hero_db was not adopted: %+v", job)
	}
}

func TestHeroDBPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		def    map[string]any
		policy func(*supervisor.Policy)
		hang   bool
		want   []string
		log    []string
		state  units.State
	}{
		{name: "stop", def: def("hero_db", "/bin/db", "status", "stop"), want: []string{"not-start-intent core/hero_db"}, log: []string{"not-start-intent warning"}, state: units.StateInactive},
		{name: "ignore", def: def("hero_db", "/bin/db", "status", "ignore"), want: []string{"not-start-intent core/hero_db"}, log: []string{"not-start-intent warning"}, state: units.StateInactive},
		{name: "spec", def: def("hero_db", "/bin/db", "status", "spec"), want: []string{"not-start-intent core/hero_db"}, log: []string{"not-start-intent warning"}, state: units.StateInactive},
		{name: "opted out", def: def("hero_db", "/bin/db", "status", "stop"), policy: func(p *supervisor.Policy) { p.NoAutostartDB = true }, state: units.StateInactive},
		{name: "another context", def: def("hero_db", "/bin/db"), policy: func(p *supervisor.Policy) { p.HeroDB.Context = "data" },
			want: []string{"not-registered data/hero_db"}, log: []string{"not-registered error"}, state: units.StateRunning},
		{name: "no such program", def: def("hero_db", "/nonexistent"), want: []string{"start-failed core/hero_db"}, log: []string{"start-failed error"}, state: units.StateFailed},
		{name: "ends at once", def: def("hero_db", "/bin/false"), want: []string{"start-failed core/hero_db"}, log: []string{"start-failed error"}, state: units.StateFailed},
		{name: "never ready", def: def("hero_db", "/bin/db", "ready", "notify"), hang: true, policy: func(p *supervisor.Policy) { p.StartTimeout = 100 * time.Millisecond },
			want: []string{"start-timeout core/hero_db"}, log: []string{"start-timeout error"}, state: units.StateActivating},
		{name: "requires what isn't there", def: def("hero_db", "/bin/db", "requires", "ghost"),
			want: []string{"dependency-missing core/hero_db", "dependency-missing core/hero_db"}, log: []string{"dependency-missing error"}, state: units.StateBlocked},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.boot()
			first.define(c.def)
			first.kill()
			if c.hang {
				w.pid1.Hang("hero-core-hero_db.service")
			}
			var policy []func(*supervisor.Policy)
			if c.policy != nil {
				policy = append(policy, c.policy)
			}
			d := w.boot(policy...)
			d.expect(c.want...)
			// The first boot, of the empty store, has left its line.
			d.expectLog(append([]string{"not-registered error"}, c.log...)...)
			d.await("hero_db", c.state)
		})
	}
}

func TestHeroDBWhoseDependencyFails(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("disk", "/bin/false", "ready", "notify"), def("hero_db", "/bin/db", "requires", "disk"))
	d.kill()
	d = w.boot()
	d.expect("dependency-failed core/hero_db")
	s := d.await("hero_db", units.StateBlocked)
	if !strings.Contains(s.Reason, "hero-core-disk.service, which is failed") {
		t.Errorf("hero_db is blocked because %q", s.Reason)
	}
}

func TestFaultsCostOnlyThemselves(t *testing.T) {
	w := newWorld(t)
	d := w.boot(func(p *supervisor.Policy) { p.NoAutostartDB = true })
	d.define(def("good", "/bin/good"), def("x", "/bin/x", "after", "y"), def("y", "/bin/y", "after", "x"), def("z", "/bin/z", "requires", "x"), def("m", "/bin/m", "requires", "ghost"))
	d.kill()
	d = w.boot(func(p *supervisor.Policy) { p.NoAutostartDB = true })
	d.expect("dependency-missing core/m", "dependency-cycle core/x", "dependency-cycle core/y", "dependency-failed core/z")
	d.await("good", units.StateRunning)
	for _, name := range []string{"m", "x", "y", "z"} {
		if s := d.status(name); s.State != units.StateBlocked || !s.Unit.Loaded() || s.Remedy == "" {
			t.Errorf("%s is %s and %s with remedy %q, want it blocked, loaded and mendable", name, s.State, s.Unit.Load, s.Remedy)
		}
		if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: name}); units.CodeOf(err) != units.CodeBlocked {
			t.Errorf("starting %s answered %v, want Blocked", name, err)
		}
	}
}

func TestSystemctlAndHeroProcDoNotFight(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	id := units.ID{Context: "core", Name: "a"}
	first, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if first, err = d.WaitReady(t.Context(), first.ID); err != nil || first.Phase != units.PhaseRunning {
		t.Fatalf("the first job is %+v, %v", first, err)
	}

	// As systemctl does it: by another connection.
	other, err := systemd.Connect(t.Context(), systemd.Options{Dial: w.bus.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	done, err := other.Stop(t.Context(), id.Unit(), "replace")
	if err != nil || <-done != "done" {
		t.Fatalf("cannot stop: %v", err)
	}
	ended, err := d.Wait(t.Context(), first.ID)
	if err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the first job ended as %+v, %v; want it canceled", ended, err)
	}
	if s := d.await("a", units.StateInactive); !s.Unit.Loaded() {
		t.Error("the stopped unit is not loaded any more")
	}
	done, err = other.Start(t.Context(), id.Unit(), "replace")
	if err != nil || <-done != "done" {
		t.Fatalf("cannot start: %v", err)
	}
	d.await("a", units.StateRunning)
	second, ok := d.job("a")
	if !ok || second.Run == first.Run || second.ID == first.ID {
		t.Errorf("the job of systemctl's start is %+v, after %+v", second, first)
	}
}

func TestRestartBringsTheNewDefinition(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/db"), def("a", "/bin/a", "requires", "db"), def("b", "/bin/b", "after", "db"))
	for _, name := range []string{"a", "b"} {
		if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: name}); err != nil {
			t.Fatal(err)
		}
		d.await(name, units.StateRunning)
	}
	db := units.ID{Context: "core", Name: "db"}
	old, before := d.status("db").Unit, d.status("b").Unit
	oldJob, _ := d.job("db")
	d.define(def("db", "/bin/db --faster"))
	if s := d.status("db"); !s.Stale || s.State != units.StateRunning || s.Unit.InvocationID != old.InvocationID {
		t.Errorf("after a change db is %+v, want it running on and stale", s)
	}
	job, err := d.Restart(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseRunning {
		t.Fatalf("the job of the restart is %+v, %v", job, err)
	}
	if s := d.status("db"); s.Stale || s.Unit.InvocationID == old.InvocationID {
		t.Errorf("after the restart db is %+v, want it new", s)
	}
	if ended, err := d.Wait(t.Context(), oldJob.ID); err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the job before is %+v, %v; want it canceled", ended, err)
	}
	d.await("a", units.StateRunning) // stopped with db, and started again
	if after := d.status("b").Unit; after.InvocationID != before.InvocationID {
		t.Error("b, which is only ordered after db, was restarted")
	}

	// With the definition that it has, a restart is systemd's own.
	job, err = d.Restart(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseRunning {
		t.Errorf("the job of the second restart is %+v, %v", job, err)
	}
}

func TestAStoppedServiceTakesItsNewDefinition(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	id := units.ID{Context: "core", Name: "a"}
	job, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	d.define(def("a", "/bin/a --new"))
	if _, err := d.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Wait(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); d.status("a").Stale; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stopped unit still has its old definition")
		}
	}
}

func TestSetRefusesWithNothingLost(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	before, err := d.Definition(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []map[string]any{
		{"name": "a", "actions": []map[string]any{{"name": "main", "exec": "/bin/a", "colour": "red"}}},
		{"name": "a"},
		{"name": "a-r1", "actions": []map[string]any{{"name": "main", "exec": "/bin/a"}}},
		{"actions": []map[string]any{{"name": "main", "exec": "/bin/a"}}},
		{},
		nil,
	} {
		if err := d.Set(t.Context(), bad, false); units.CodeOf(err) != units.CodeInvalidDefinition {
			t.Errorf("setting %v answered %v, want InvalidDefinition", bad, err)
		}
	}
	after, err := d.Definition(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil || after.Digest() != before.Digest() {
		t.Errorf("the definition is %+v, %v; was %+v", after, err, before)
	}
	services, err := d.Services(t.Context())
	if err != nil || len(services) != 1 {
		t.Errorf("services are %+v, %v; want one", services, err)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/db"), def("a", "/bin/a", "requires", "db"), def("b", "/bin/b", "after", "a"))
	id := func(name string) units.ID { return units.ID{Context: "core", Name: name} }
	job, err := d.Start(t.Context(), id("a"))
	if err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	for _, c := range []struct {
		name string
		stop bool
		want units.Code // "" is done
	}{
		{"ghost", false, units.CodeNoSuchService},
		{"db", true, units.CodeInUse}, // a requires it
		{"a", false, units.CodeInUse}, // it runs
		{"a", true, ""},
		{"a", false, units.CodeNoSuchService},
		{"db", true, ""},
	} {
		err := d.Remove(t.Context(), id(c.name), c.stop)
		if (err == nil) != (c.want == "") || err != nil && units.CodeOf(err) != c.want {
			t.Errorf("removing %s (stop %v) answered %v, want %q", c.name, c.stop, err, c.want)
		}
	}
	listed, err := d.manager.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range listed {
		// b still names a's unit, so systemd knows the name.
		if u.Loaded() != (u.Name == "hero-core-b.service") {
			t.Errorf("%s is %s", u.Name, u.Load)
		}
	}
	if ended, err := d.Supervisor.Job(t.Context(), job.ID); err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the job of the removed service is %+v, %v; want it canceled", ended, err)
	}
}

func TestLossOfTheBus(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"), def("down", "/bin/down"))
	if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: "hero_db"}); err != nil {
		t.Fatal(err)
	}
	before := d.await("hero_db", units.StateRunning).Unit
	w.bus.Restart()
	for deadline := time.Now().Add(20 * time.Second); !slices.Contains(d.reported(), "bus-back"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the bus is not back; reported: %q", d.reported())
		}
	}
	after := d.await("hero_db", units.StateRunning).Unit
	if after.InvocationID != before.InvocationID {
		t.Error("hero_db was restarted")
	}
	for deadline := time.Now().Add(20 * time.Second); !d.status("down").Unit.Loaded(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a unit that was down is not loaded again")
		}
	}
	if s := d.status("down"); s.State != units.StateInactive {
		t.Errorf("a unit that was down is %s", s.State)
	}
	d.expect("not-registered core/hero_db", "bus-lost", "bus-back")
}
