package systemd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd/systemdtest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// realSystemd makes the contract test run over the systemd of the machine it
// is on, as root, when it is "real". That stops units, and restarts the bus.
const realSystemd = "HERO_PROC_TEST_SYSTEMD"

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// testContext is a context that no service of the machine has.
const testContext = "contract_test"

// target is the systemd that a test runs over.
type target struct {
	*testing.T
	bus  *privatebus.Bus      // nil for the real one
	fake *systemdtest.Systemd // nil for the real one
}

func newTarget(t *testing.T) *target {
	if os.Getenv(realSystemd) == "real" {
		return &target{T: t} // one test at a time
	}
	t.Parallel()
	bus := privatebus.Start(t)
	return &target{t, bus, systemdtest.Start(t, bus)}
}

// manager connects; the test's units are gone when it ends.
func (x *target) manager() *systemd.Manager {
	x.Helper()
	address := ""
	if x.bus != nil {
		address = x.bus.Address
	}
	// As the daemon does.
	dial := func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
		return wire.DialKeeping(ctx, address, wire.MaxMessage, systemd.ReadProperties, append(opts, dbus.WithContext(ctx))...)
	}
	m, err := systemd.Connect(x.Context(), systemd.Options{Dial: dial})
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { x.clear(m) })
	return m
}

func (x *target) clear(m *systemd.Manager) {
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := m.Units(ctx)
	if err != nil {
		return // closed by the test
	}
	var names []string
	for _, u := range list {
		if ref, _ := units.ParseUnit(u.Name); ref.Context == testContext {
			names = append(names, u.Name)
			if job, err := m.Stop(ctx, u.Name, "replace"); err == nil {
				<-job
			}
		}
	}
	if err := m.Unload(ctx, names...); err != nil {
		x.Errorf("cannot clear up: %v", err)
	}
}

func (x *target) restartBus() {
	x.Helper()
	if x.bus != nil {
		x.bus.Restart()
	} else {
		x.systemctl("restart", "dbus.service")
	}
}

func (x *target) reexec() {
	x.Helper()
	if x.fake != nil {
		x.fake.Reexec()
	} else {
		x.systemctl("daemon-reexec")
	}
}

func (x *target) kill(m *systemd.Manager, unit string) {
	x.Helper()
	if x.fake != nil {
		x.fake.Crash(unit, "signal")
	} else if err := syscall.Kill(int(x.read(m, unit).MainPID), syscall.SIGKILL); err != nil {
		x.Fatal(err)
	}
}

func (x *target) systemctl(args ...string) {
	x.Helper()
	if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
		x.Fatalf("systemctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// service is one with a single process action, as a definition has it.
func service(name string, argv ...string) units.Service {
	a := units.NewAction("main")
	a.Exec, a.Restart = argv, units.RestartNo
	return units.Service{ID: units.ID{Context: testContext, Name: name}, Wanted: units.WantedStart, Actions: []units.Action{a}}
}

// oneshot is one that runs to its end.
func oneshot(name string, argv ...string) units.Service {
	s := service(name, argv...)
	s.Actions[0].Process = false
	return s
}

func unitOf(name string) string { return units.ID{Context: testContext, Name: name}.Unit() }

// set loads all services, and starts some.
func set(start []string, services ...units.Service) transient.Set {
	var all []transient.Unit
	for _, s := range services {
		all = append(all, transient.Service(s, s.Digest(), 252)...)
	}
	return transient.BootSet(setName(), all, start)
}

var sets atomic.Int64

// setName is a new name for the throw-away slice of a set.
func setName() string { return fmt.Sprintf("hero_proc_contract_test%d.slice", sets.Add(1)) }

func (x *target) load(m *systemd.Manager, services ...units.Service) {
	x.Helper()
	if err := m.Make(x.Context(), set(nil, services...)); err != nil {
		x.Fatal(err)
	}
}

func (x *target) read(m *systemd.Manager, unit string) units.Unit {
	x.Helper()
	u, err := m.Unit(x.Context(), unit)
	if err != nil {
		x.Fatal(err)
	}
	return u
}

// start queues a start and gives the job's result.
func (x *target) start(m *systemd.Manager, unit string) string {
	x.Helper()
	return x.result(m.Start(x.Context(), unit, "replace"))
}

func (x *target) stop(m *systemd.Manager, unit string) string {
	x.Helper()
	return x.result(m.Stop(x.Context(), unit, "replace"))
}

// result is a job's; "" when the channel was closed without one.
func (x *target) result(job <-chan string, err error) string {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
	select {
	case result := <-job:
		return result
	case <-time.After(patience):
		x.Fatal("the job has no result yet")
		return ""
	}
}

// eventually waits for a condition, woken up by nothing but systemd's signals.
func (x *target) eventually(m *systemd.Manager, what string, condition func() bool) {
	x.Helper()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-m.Wake():
			m.Take()
		case <-deadline:
			x.Fatalf("in %v no signal said that %s", patience, what)
		}
	}
}

// wantState checks a unit's ActiveState.
func (x *target) wantState(m *systemd.Manager, unit, want string) units.Unit {
	x.Helper()
	u := x.read(m, unit)
	if u.Active != want {
		x.Errorf("%s is %s (%s, %s), want %s", unit, u.Active, u.Sub, u.Result, want)
	}
	return u
}

func (x *target) wantCode(err error, want units.Code, says string) {
	x.Helper()
	if err == nil || units.CodeOf(err) != want || !strings.Contains(err.Error(), says) {
		x.Errorf("error is %v (%s), want %s saying %q", err, units.CodeOf(err), want, says)
	}
}
