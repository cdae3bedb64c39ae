package cli

import (
	"bytes"
	"context"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is when every test takes place.
var now = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// machine is a daemon behind the API: it keeps definitions as the real one
// does, by package units, and lets a test say what systemd would.
type machine struct {
	dbusapi.Controller // answers what no test of this machine asks

	mu       sync.Mutex
	services map[units.ID]units.Service
	statuses map[units.ID]units.Status
	jobs     map[int64]units.Job
	logs     []units.LogEntry
	health   units.Health
	filter   units.LogFilter        // the last one asked for
	ends     map[units.ID]units.Job // how jobs end, where it is not well
	live     []units.Job            // what Jobs answers
	whole    bool                   // a start brings all actions up
	waiting  chan struct{}          // gets one when somebody waits for a job that never ends

	address string // of its bus
}

// newMachine is an empty machine, served by the real API on a bus of its own.
func newMachine(t *testing.T, options ...func(*dbusapi.Options)) *machine {
	t.Helper()
	m := &machine{
		Controller: apitest.NewController(),
		services:   map[units.ID]units.Service{}, statuses: map[units.ID]units.Status{},
		jobs: map[int64]units.Job{}, whole: true, waiting: make(chan struct{}, 10),
	}
	options = append([]func(*dbusapi.Options){func(o *dbusapi.Options) { o.Controller = m }}, options...)
	m.address = apitest.Start(t, options...).Address
	return m
}

// unprivileged makes every caller one who is not root.
func unprivileged(o *dbusapi.Options) {
	o.UID = func(context.Context, *dbus.Conn, string) (uint32, error) { return 65534, nil }
}

func core(name string) units.ID { return units.ID{Context: "core", Name: name} }

// with is for what a test changes, or looks at: the API reads already, for its
// signals.
func (m *machine) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// add registers a service, with the state that it is to show.
func (m *machine) add(t *testing.T, def map[string]any, status units.Status) {
	t.Helper()
	s, err := units.DecodeService(def)
	if err != nil {
		t.Fatal(err)
	}
	status.ID, status.Description, status.Wanted, status.HealthState = s.ID, s.Description, s.Wanted, units.WorstHealth(status.Health)
	m.with(func() { m.services[s.ID], m.statuses[s.ID] = s, status })
}

// service is the definition that is registered.
func (m *machine) service(id units.ID) (units.Service, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.services[id]
	return s, ok
}

// populated is a machine with a service in most of the states.
func populated(t *testing.T, options ...func(*dbusapi.Options)) *machine {
	t.Helper()
	m := newMachine(t, options...)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	unit := func(id units.ID, active, sub string, since time.Duration) units.Unit {
		return units.Unit{Name: id.Unit(), Load: "loaded", Active: active, Sub: sub, ActiveSince: ago(since), ChangedAt: ago(since)}
	}
	db := unit(core("hero_db"), "active", "running", 90*time.Minute)
	db.MainPID, db.InvocationID, db.Restarts, db.CPU = 812, "6f3a4b0c9d1e4f2a8b7c6d5e4f3a2b1c", 2, 1234*time.Millisecond
	m.add(t, map[string]any{
		"name": "hero_db", "description": "The store that nearly every other Hero service needs",
		"actions": []any{map[string]any{
			"exec": "/usr/bin/hero_db --dir '/var/lib/hero db'", "memory_max": "512M", "ready": "notify",
			"env": map[string]any{"TOKEN": "hunter2", "MODE": "fast"}, "credentials": map[string]any{"key": "/etc/hunter2"},
		}},
	}, units.Status{State: units.StateRunning, Unit: db, Actions: []units.ActionStatus{{Name: "main", Unit: db}},
		Health: []units.ActionHealth{{Action: "main", Probe: "redis://127.0.0.1:6379", State: units.HealthHealthy, Since: ago(89 * time.Minute)}}})

	web := unit(core("web"), "active", "running", 50*time.Hour)
	webLog := units.Unit{Name: core("web").ActionUnit("log"), Load: "loaded", Active: "failed", Sub: "failed", Result: "exit-code", ExitCode: 1, ExitStatus: 203, ChangedAt: ago(time.Minute)}
	m.add(t, map[string]any{
		"name": "web", "requires": []any{"hero_db"},
		"actions": []any{map[string]any{"name": "serve", "exec": "/usr/bin/caddy run"}, map[string]any{"name": "log", "exec": "/usr/bin/rotate", "env": map[string]any{"A": "1"}}},
	}, units.Status{State: units.StateDegraded, Unit: web, Stale: true, Reason: "its action log is down: exit-code",
		Actions: []units.ActionStatus{{Name: "serve", Unit: web}, {Name: "log", Unit: webLog}},
		Health: []units.ActionHealth{
			{Action: "serve", Probe: "http://127.0.0.1:8080/health", State: units.HealthUnhealthy, Since: ago(time.Minute), Failures: 7,
				Says: "status 503 Service Unavailable", Note: "not restarted, since on_unhealthy is warn"},
			{Action: "log", Probe: "exec:/usr/bin/check-log", State: units.HealthUnknown, Says: "it does not run"},
		}})

	worker := unit(core("worker"), "failed", "failed", 42*time.Second)
	worker.Result = "exit-code"
	m.add(t, map[string]any{"name": "worker", "actions": []any{map[string]any{"exec": "/usr/bin/worker"}}},
		units.Status{State: units.StateFailed, Unit: worker, Actions: []units.ActionStatus{{Name: "main", Unit: worker}},
			Reason: "its unit hero-core-worker.service failed with result exit-code, and was started five times in ten seconds",
			Remedy: "journalctl -u hero-core-worker.service\nhero_proc service start worker"})

	m.add(t, map[string]any{"name": "template", "status": "spec", "description": "What others are made of"},
		units.Status{State: units.StateInactive})
	m.add(t, map[string]any{"context": "lab", "name": "probe", "status": "stop", "requires": "gone", "actions": []any{map[string]any{"exec": "/usr/bin/probe"}}},
		units.Status{State: units.StateBlocked, Reason: "it requires lab/gone, which is not registered",
			Unit: units.Unit{Name: "hero-lab-probe.service", Load: "not-found", Active: "inactive", Sub: "dead"}})

	m.mu.Lock()
	defer m.mu.Unlock()
	m.health = units.Health{Version: "1.2.3", Systemd: 252, Started: ago(26 * time.Hour), Ready: true, HeroDB: "active",
		Services: map[units.State]int{units.StateRunning: 1, units.StateDegraded: 1, units.StateFailed: 1, units.StateInactive: 1, units.StateBlocked: 1}}
	m.logs = []units.LogEntry{
		{ID: 7, Event: units.Event{Time: ago(26 * time.Hour), Source: units.SourceHeroDB, Code: units.EventNotRegistered, Level: units.LevelError,
			Service: core("hero_db"), Message: "hero_db is not started, because no service hero_db is registered in context core.",
			Remedy: "hero_proc service set hero_db --exec '/usr/bin/hero_db --dir /var/lib/hero_db'\nhero_proc service start hero_db"}},
		{ID: 8, Event: units.Event{Time: ago(time.Minute), Source: units.SourceBus, Code: units.EventBusBack, Level: units.LevelInfo, Message: "The connection to the bus is back."}},
	}
	return m
}

func (m *machine) Health([]units.Status) units.Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health
}

func (m *machine) Services(context.Context) ([]units.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.statuses)), nil
}

func (m *machine) Status(_ context.Context, id units.ID) (units.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.statuses[id]
	if !ok {
		return s, units.NoSuchService(id)
	}
	return s, nil
}

func (m *machine) Definition(_ context.Context, id units.ID) (units.Service, error) {
	s, ok := m.service(id)
	if !ok {
		return s, units.NoSuchService(id)
	}
	return s, nil
}

func (m *machine) Set(_ context.Context, def map[string]any, merge bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name, _ := def["name"].(string)
	id := core(name)
	if c, ok := def["context"].(string); ok {
		id.Context = c
	}
	old, known := m.services[id]
	s, err := units.DecodeService(def)
	if known && merge {
		s, err = units.MergeService(old, def)
	}
	if err != nil {
		return err
	}
	status := m.statuses[id]
	status.ID, status.Description, status.Wanted, status.HealthState = s.ID, s.Description, s.Wanted, units.WorstHealth(status.Health)
	if !known {
		status.State = units.StateInactive
		status.Unit = units.Unit{Name: s.Unit(), Load: "loaded", Active: "inactive", Sub: "dead"}
	} else if status.Unit.Alive() && old.Digest() != s.Digest() {
		status.Stale = true
	}
	m.services[id], m.statuses[id] = s, status
	return nil
}

func (m *machine) Remove(_ context.Context, id units.ID, stop bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.statuses[id]
	switch {
	case !ok:
		return units.NoSuchService(id)
	case s.Unit.Alive() && !stop:
		return units.Errorf(units.CodeInUse, "cannot remove %q: it is running", id.String()).
			WithRemedy("hero_proc service remove " + id.Name + " --stop")
	}
	delete(m.services, id)
	delete(m.statuses, id)
	return nil
}

// begin makes a job that ends as given, unless the test says otherwise.
func (m *machine) begin(id units.ID, end units.Job) (units.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.statuses[id]
	if !ok {
		return units.Job{}, units.NoSuchService(id)
	}
	if e, ok := m.ends[id]; ok {
		end = e
	}
	end.ID, end.Run, end.Attempt, end.Service, end.Unit, end.Action = int64(len(m.jobs)+1), 1, 1, id, id.Unit(), "main"
	m.jobs[end.ID] = end
	if end.Phase == units.PhaseRunning && m.whole {
		s.State, s.Unit.Active, s.Unit.Sub = units.StateRunning, "active", "running"
		m.statuses[id] = s
	}
	return end, nil
}

func (m *machine) Start(_ context.Context, id units.ID) (units.Job, error) {
	return m.begin(id, units.Job{Phase: units.PhaseRunning})
}

func (m *machine) Restart(_ context.Context, id units.ID) (units.Job, error) {
	return m.begin(id, units.Job{Phase: units.PhaseRunning})
}

func (m *machine) Stop(_ context.Context, id units.ID) (units.Job, error) {
	return m.begin(id, units.Job{Phase: units.PhaseCanceled, Result: "success"})
}

func (m *machine) Jobs(context.Context, units.JobFilter) ([]units.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live, nil
}

// Job is a job before its end.
func (m *machine) Job(_ context.Context, n int64) (units.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	job := m.jobs[n]
	job.Phase, job.Result, job.ExitCode, job.ExitStatus = units.PhasePending, "", 0, 0
	return job, nil
}

// Wait answers with the end of the job; one whose end is pending never ends.
func (m *machine) Wait(ctx context.Context, n int64) (units.Job, error) {
	m.mu.Lock()
	job := m.jobs[n]
	m.mu.Unlock()
	if job.Phase == units.PhasePending {
		m.waiting <- struct{}{}
		<-ctx.Done()
		return job, ctx.Err()
	}
	return job, nil
}

func (m *machine) WaitReady(ctx context.Context, n int64) (units.Job, error) { return m.Wait(ctx, n) }

func (m *machine) Logs(_ context.Context, filter units.LogFilter) ([]units.LogEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.filter = filter
	var out []units.LogEntry
	for _, e := range m.logs {
		if filter.Level == "" || filter.Level == e.Level {
			out = append(out, e)
		}
	}
	return out, nil
}

// result is what a call of the command line left behind.
type result struct {
	exit           int
	stdout, stderr string
}

// how a call is made, beside its arguments.
type how struct {
	stdin string
	width int
	color bool
	exec  func(context.Context, []string, io.Writer) error
	// capture stands in for programs whose output is read.
	capture func(context.Context, []string) ([]byte, []byte, error)
	ctx     context.Context
}

// run runs a command line against what is at the bus of that address.
func run(t *testing.T, address string, h how, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if h.ctx == nil {
		h.ctx = t.Context()
	}
	exit := Run(h.ctx, args, Env{
		Stdin: strings.NewReader(h.stdin), Stdout: &stdout, Stderr: &stderr,
		Width: h.width, Color: h.color, Version: "1.2.3",
		Now: func() time.Time { return now },
		Dial: func(ctx context.Context) (API, error) {
			c, err := client.DialAddress(ctx, address)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Exec: h.exec, Capture: h.capture,
	})
	return result{exit, stdout.String(), stderr.String()}
}

// golden compares with a file of testdata, whole.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}
