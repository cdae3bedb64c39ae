// Package systemdtest is a systemd for tests: org.freedesktop.systemd1 on a
// private bus, so that the real client code runs without root.
//
// It starts no process. What a unit's program would do is read from its path:
// /nonexistent… can't be executed, false exits with 1, true with 0, sleep
// ends after its argument's seconds and never says that it is ready, and
// anything else runs on and is ready at once. ExecStartPost= is read the same
// way, and the start waits for it: see post.go. All else is state that a client
// can observe: loading in one transaction, pins, jobs and their order,
// dependencies, restarts, start limits, signals. Slices, but for the one that
// a set is made under, are not there. The contract test of package systemd
// runs over this one and over the real one. A property that would make a
// difference and that isn't honoured is refused: a fake that ignores what it
// is told is worse than none.
package systemdtest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Systemd is a running fake.
type Systemd struct {
	t     testing.TB
	bus   *privatebus.Bus
	files string // the directory of the transient units' files

	ctx     context.Context // ends with the test
	serving sync.WaitGroup

	mu              sync.Mutex
	conn            *dbus.Conn
	version         string
	booted          time.Time
	units           map[string]*unit
	jobs            map[uint32]*job
	lastJob         uint32
	lastPID         uint32
	subscribers     map[string]bool // unique names
	hung            map[string]bool // units
	masked, spoiled map[string]bool
	calls           map[string]int
	journal         []units.Entry
}

// Start starts a systemd 252 on the bus. It ends with the test; when the bus
// is restarted it comes back by itself, as the real one does.
func Start(t testing.TB, bus *privatebus.Bus) *Systemd {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Systemd{
		t:           t,
		bus:         bus,
		files:       t.TempDir(),
		ctx:         ctx,
		version:     "252.39-1~deb12u2",
		booted:      time.Now(),
		units:       make(map[string]*unit),
		jobs:        make(map[uint32]*job),
		lastPID:     1000,
		subscribers: make(map[string]bool),
		hung:        make(map[string]bool),
		masked:      map[string]bool{}, spoiled: map[string]bool{},
		calls: make(map[string]int),
	}
	t.Cleanup(func() {
		cancel()
		s.serving.Wait()
		s.mu.Lock() // what goes on ends, and nothing begins
		defer s.mu.Unlock()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.connect(); err != nil {
		t.Fatalf("cannot put a systemd on the bus: %v", err)
	}
	return s
}

// SetVersion makes it another version, for the next one who asks.
func (s *Systemd) SetVersion(version string) {
	s.do(func() { s.version = version })
}

// Calls is how often a method of the Manager was called.
func (s *Systemd) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Hang makes a unit's next starts neither end nor get ready.
func (s *Systemd) Hang(name string) {
	s.do(func() { s.hung[name] = true })
}

// Ready lets a unit that is starting be ready.
func (s *Systemd) Ready(name string) {
	s.t.Helper()
	s.withProcess(name, func(u *unit) {
		delete(s.hung, name)
		if u.sub == "start-post" {
			s.posted(u, "success")
		} else {
			s.up(u)
		}
	})
}

// Crash ends a unit's process so that systemd's result is the one given:
// success, exit-code, signal, core-dump or oom-kill.
func (s *Systemd) Crash(name, result string) {
	s.t.Helper()
	ends := map[string]end{
		"success":   {exited, 0, "success"},
		"exit-code": {exited, 1, "exit-code"},
		"signal":    {killed, 9, "signal"},
		"core-dump": {dumped, 11, "core-dump"},
		"oom-kill":  {killed, 9, "oom-kill"},
	}
	e, ok := ends[result]
	if !ok {
		s.t.Fatalf("no process ends with result %q", result)
	}
	s.withProcess(name, func(u *unit) { s.exit(u, e) })
}

// Reexec does what daemon-reexec does to a client: signals say that all units
// are gone, the name changes hands, calls under way get no answer. Units,
// jobs, pins and subscriptions stay.
func (s *Systemd) Reexec() {
	s.t.Helper()
	var err error
	s.do(func() {
		old := s.conn
		s.emit(managerPath, managerName+".Reloading", true)
		s.emitAll("UnitRemoved")
		if err = s.connect(); err == nil {
			old.Close()
			s.emit(managerPath, managerName+".Reloading", false)
		}
	})
	if err != nil {
		s.t.Fatalf("cannot put a systemd on the bus again: %v", err)
	}
}

// withProcess runs f with a unit that has a process.
func (s *Systemd) withProcess(name string, f func(*unit)) {
	s.t.Helper()
	found := false
	s.do(func() {
		if u := s.units[name]; u != nil && u.pid != 0 {
			found = true
			f(u)
		}
	})
	if !found {
		s.t.Fatalf("unit %s has no process", name)
	}
}

// do changes the state. What nobody refers to any more is gone after it. Jobs
// that can run do so a little later: their makers get their answer first.
func (s *Systemd) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return // the test is over, and nobody is there for the answer
	}
	f()
	s.collect()
	if s.next() != nil {
		time.AfterFunc(time.Millisecond, func() { s.do(s.schedule) })
	}
}

// sorted are all units, in a stable order.
func (s *Systemd) sorted() []*unit {
	return slices.SortedFunc(maps.Values(s.units), func(a, b *unit) int { return strings.Compare(a.name, b.name) })
}
