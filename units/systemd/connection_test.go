package systemd_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd/systemdtest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

func TestBusRestart(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	runs, hangs := service("runs", "/bin/sleep", "1000"), service("hangs", "/bin/sleep", "1000")
	hangs.Actions[0].Ready = units.ReadyNotify
	x.load(m, runs, hangs)
	x.start(m, runs.Unit())
	waiting, err := m.Start(t.Context(), hangs.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	before := x.read(m, runs.Unit())
	m.Take()

	x.restartBus()
	if got := x.result(waiting, nil); got != "" {
		t.Errorf("the job under way: %q", got)
	}
	var seen units.Changes
	for deadline := time.After(patience); !seen.Back; {
		select {
		case <-m.Wake():
			c := m.Take()
			seen.Lost, seen.Back, seen.All = seen.Lost || c.Lost, seen.Back || c.Back, seen.All || c.All
		case <-deadline:
			t.Fatalf("the connection is not back: %+v", seen)
		}
	}
	if !seen.Lost || !seen.All {
		t.Errorf("the signals said %+v", seen)
	}
	if u := x.wantState(m, runs.Unit(), "active"); u.InvocationID != before.InvocationID || u.MainPID != before.MainPID {
		t.Errorf("the running unit was %+v, is %+v", before, u)
	}
	// Signals, jobs and pins are as they were on the first connection.
	if err := m.Pin(t.Context(), runs.Unit()); err != nil {
		t.Fatal(err)
	}
	if got := x.stop(m, runs.Unit()); got != "done" {
		t.Errorf("stop: %s", got)
	}
	if u := x.wantState(m, runs.Unit(), "inactive"); !u.Loaded() {
		t.Errorf("the pinned unit reads %+v", u)
	}
	x.eventually(m, "the unit was started", func() bool {
		if u := x.read(m, runs.Unit()); u.Active == "inactive" {
			_, _ = m.Start(t.Context(), runs.Unit(), "replace")
		}
		return x.read(m, runs.Unit()).Active == "active"
	})
}

func TestReexec(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	runs, idle, slow := service("runs", "/bin/sleep", "1000"), service("idle", "/bin/sleep", "1000"), oneshot("slow", "/bin/sleep", "1.5")
	x.load(m, runs, idle, slow)
	x.start(m, runs.Unit())
	before := x.read(m, runs.Unit())
	job, err := m.Start(t.Context(), slow.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	m.Take()

	x.reexec()
	all := false
	for deadline := time.After(patience); !all; {
		select {
		case <-m.Wake():
			c := m.Take()
			if c.Lost || c.Back {
				t.Errorf("the connection was lost: %+v", c)
			}
			all = c.All
		case <-deadline:
			t.Fatal("nothing said to read all again")
		}
	}
	if u := x.wantState(m, runs.Unit(), "active"); u.InvocationID != before.InvocationID || u.Digest != before.Digest {
		t.Errorf("the running unit was %+v, is %+v", before, u)
	}
	if got := x.result(job, nil); got != "done" {
		t.Errorf("the job under way: %q", got)
	}
	x.stop(m, runs.Unit())
	for _, unit := range []string{runs.Unit(), idle.Unit()} { // pins have survived
		if u := x.wantState(m, unit, "inactive"); !u.Loaded() {
			t.Errorf("it reads %+v", u)
		}
	}
	x.eventually(m, "the unit was started", func() bool { // and so has the subscription
		if u := x.read(m, idle.Unit()); u.Active == "inactive" {
			_, _ = m.Start(t.Context(), idle.Unit(), "replace")
		}
		return x.read(m, idle.Unit()).Active == "active"
	})
}

func TestClose(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	if m.Version() < 252 {
		t.Errorf("version is %d", m.Version())
	}
	hangs := service("hangs", "/bin/sleep", "1000")
	hangs.Actions[0].Ready = units.ReadyNotify
	x.load(m, hangs)
	job, err := m.Start(t.Context(), hangs.Unit(), "replace")
	m.Close()
	if got := x.result(job, err); got != "" {
		t.Errorf("the job under way: %q", got)
	}
	_, err = m.Units(t.Context())
	x.wantCode(err, units.CodeUnavailable, "cannot list units")
	x.manager() // clears up
}

// Every local user can send a signal of any name to any connection.
func TestSignalsOfOthersAreNotHeard(t *testing.T) {
	bus := privatebus.Start(t)
	x := &target{t, bus, systemdtest.Start(t, bus)}
	m := x.manager()
	s := service("hangs", "/bin/sleep", "1000")
	s.Actions[0].Ready = units.ReadyNotify
	x.load(m, s)
	job, err := m.Start(t.Context(), s.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	id := x.read(m, s.Unit()).JobID

	liar := bus.Conn()
	var names []string
	if err := liar.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		for member, body := range map[string][]any{
			"Reloading":  {true},
			"JobRemoved": {id, dbus.ObjectPath("/org/freedesktop/systemd1/job/1"), s.Unit(), "failed"},
		} {
			lie := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldDestination: dbus.MakeVariant(name),
				dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/systemd1")),
				dbus.FieldInterface:   dbus.MakeVariant("org.freedesktop.systemd1.Manager"),
				dbus.FieldMember:      dbus.MakeVariant(member),
				dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(body...)),
			}}
			liar.Send(lie, nil)
		}
	}
	// The bus keeps the order: the lies are there before this answer, and so
	// before what systemd says after it.
	if err := liar.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
	m.Take()
	x.fake.Ready(s.Unit())
	if got := x.result(job, nil); got != "done" {
		t.Errorf("the job's result is %q", got)
	}
	if changed := m.Take(); !slices.Contains(changed.Units, s.Unit()) {
		t.Errorf("changed are %+v", changed)
	}
}

func TestCallsEndInTime(t *testing.T) {
	bus := privatebus.Start(t)
	x := &target{t, bus, systemdtest.Start(t, bus)}
	m := x.manager()
	hangs := service("hangs", "/bin/sleep", "1000")
	hangs.Actions[0].Ready = units.ReadyNotify
	late := transient.Set{Main: transient.Service(hangs, hangs.Digest(), 252)[0]} // waits for its own start
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	x.wantCode(m.Make(ctx, late), units.CodeTimeout, "cannot make "+hangs.Unit())
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Units(canceled)
	x.wantCode(err, units.CodeCanceled, "cannot list units")
	bus.Stop()
	_, err = m.Units(t.Context())
	x.wantCode(err, units.CodeUnavailable, "cannot list units")
	bus.Restart()
	x.eventually(m, "systemd is back", func() bool { _, err := m.Units(t.Context()); return err == nil })
}

func TestConnectWithoutABus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	_, err := systemd.Connect(t.Context(), systemd.Options{})
	if units.CodeOf(err) != units.CodeUnavailable {
		t.Errorf("error is %v (%s)", err, units.CodeOf(err))
	}
}
