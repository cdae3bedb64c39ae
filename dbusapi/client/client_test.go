package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var web = units.ID{Context: "core", Name: "web"}

func definition() map[string]any {
	return map[string]any{"name": "web", "description": "the web", "actions": []any{map[string]any{"exec": "/bin/sleep 1h", "env": map[string]any{"A": "1"}}}}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), apitest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryCall(t *testing.T) {
	t.Parallel()
	ctx, s := testContext(t), apitest.Start(t)
	c := s.Client()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Set(ctx, definition(), false))
	must(c.Set(ctx, map[string]any{"name": "web", "status": "stop"}, true))
	def, err := c.Definition(ctx, web)
	must(err)
	if def["description"] != "the web" || def["status"] != "stop" {
		t.Errorf("definition is %v; want what was set, merged", def)
	}
	must(c.Set(ctx, def, false)) // what is read can be set again

	s.Controller.Hold(web)
	started, err := c.Start(ctx, web)
	must(err)
	if started.Phase != units.PhasePending || started.Service != web {
		t.Errorf("start answered %+v; want a pending job", started)
	}
	s.Controller.Release(web)
	ready, err := c.WaitReady(ctx, started.ID)
	must(err)
	job, err := c.Job(ctx, started.ID)
	must(err)
	if ready.Phase != units.PhaseRunning || job != ready {
		t.Errorf("job is %+v, and was %+v when it got ready", job, ready)
	}
	status, err := c.Status(ctx, web)
	must(err)
	if status.State != units.StateRunning || status.ID != web || status.Wanted != units.WantedStop || status.Unit.MainPID != job.MainPID {
		t.Errorf("status is %+v", status)
	}
	list, err := c.Services(ctx)
	must(err)
	if len(list) != 1 || list[0].String() != status.String() || list[0].State != status.State {
		t.Errorf("services are %+v; want the one", list)
	}
	restarted, err := c.Restart(ctx, web)
	must(err)
	if restarted.ID == started.ID {
		t.Error("restart answered the old job")
	}
	stopped, err := c.Stop(ctx, web)
	must(err)
	ended, err := c.Wait(ctx, stopped.ID)
	must(err)
	if ended.Phase != units.PhaseCanceled {
		t.Errorf("the stopped job is %+v", ended)
	}
	health, err := c.Health(ctx)
	must(err)
	if health.Version == "" || health.Services[units.StateInactive] != 1 {
		t.Errorf("health is %+v", health)
	}
	s.Controller.AddLog(units.Event{Source: units.SourceHeroDB, Level: units.LevelError, Code: units.EventNotRegistered, Message: "no hero_db"})
	s.Controller.AddLog(units.Event{Source: units.SourceStore, Level: units.LevelError})
	entries, err := c.Logs(ctx, units.LogFilter{Source: units.SourceHeroDB, Level: units.LevelError, Limit: 5})
	must(err)
	if len(entries) != 1 || entries[0].Message != "no hero_db" || entries[0].Code != units.EventNotRegistered {
		t.Errorf("log is %+v", entries)
	}
	must(c.Remove(ctx, web, true))
	if _, err := c.Status(ctx, web); units.CodeOf(err) != units.CodeNoSuchService || err.(*units.Error).Remedy == "" {
		t.Errorf("after it was removed: error is %v", err)
	}
}

// failing answers everything with one error.
type failing struct {
	dbusapi.Controller
	err error
}

func (f failing) Services(context.Context) ([]units.Status, error) { return nil, f.err }

func TestErrorsKeepTheirCode(t *testing.T) {
	t.Parallel()
	for _, row := range units.Codes {
		if row.Code == units.CodeInternal || row.Code == units.CodeNotRunning {
			continue // told by their own tests
		}
		failure := units.Errorf(row.Code, "cannot do it").WithRemedy("do that")
		s := apitest.Start(t, func(o *dbusapi.Options) { o.Controller = failing{o.Controller, failure} })
		_, err := s.Client().Health(testContext(t))
		var e *units.Error
		if !errors.As(err, &e) || e.Code != row.Code || e.Message != "cannot do it" || e.Remedy != "do that" {
			t.Errorf("%s came as %#v", row.Code, err)
		}
	}
}

func TestNotRunning(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	check := func(name string, err error) {
		t.Helper()
		var e *units.Error
		if !errors.As(err, &e) || e.Code != units.CodeNotRunning || !strings.Contains(e.Remedy, "systemctl start hero_proc") {
			t.Errorf("%s: error is %#v; want one that says what to run", name, err)
		}
	}
	_, err := client.DialAddress(testContext(t), "unix:path=/nonexistent")
	check("no bus", err)
	c, err := client.DialAddress(testContext(t), bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Health(testContext(t))
	check("no daemon", err)
	bus.Stop()
	_, err = c.Health(testContext(t))
	check("the bus went away", err)
}

// theirs is a program that has our name and answers with an error of the bus.
type theirs struct{ name string }

func (f theirs) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return f, true }
func (f theirs) LookupInterface(string) (dbus.Interface, bool)          { return f, true }
func (f theirs) LookupMethod(string) (dbus.Method, bool)                { return f, true }
func (f theirs) NumArguments() int                                      { return 0 }
func (f theirs) NumReturns() int                                        { return 0 }
func (f theirs) ArgumentValue(int) any                                  { return nil }
func (f theirs) ReturnValue(int) any                                    { return nil }
func (f theirs) Call(...any) ([]any, error) {
	if f.name == "" {
		return []any{map[string]dbus.Variant{"Version": dbus.MakeVariant(7)}}, nil
	}
	return nil, dbus.NewError(f.name, []any{"in the words of the bus"})
}
func (f theirs) DecodeArguments(*dbus.Conn, string, *dbus.Message, []any) ([]any, error) {
	return nil, nil
}

func TestErrorsOfTheBusItself(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string // of the error; "" for an answer of another type
		want units.Code
		says string
	}{
		{name: "org.freedesktop.DBus.Error.ServiceUnknown", want: units.CodeNotRunning, says: "systemctl start hero_proc"},
		{name: "org.freedesktop.DBus.Error.NameHasNoOwner", want: units.CodeNotRunning, says: "systemctl start hero_proc"},
		{name: "org.freedesktop.DBus.Error.NoReply", want: units.CodeNotRunning, says: "systemctl status hero_proc"},
		{name: "org.freedesktop.DBus.Error.TimedOut", want: units.CodeNotRunning, says: "systemctl status hero_proc"},
		{name: "org.freedesktop.DBus.Error.Spawn.ChildExited", want: units.CodeNotRunning, says: "systemctl status hero_proc"},
		{name: "org.freedesktop.systemd1.UnitMasked", want: units.CodeNotRunning, says: "could not be started"},
		{name: "org.freedesktop.DBus.Error.AccessDenied", want: units.CodeAccessDenied, says: "sudo"},
		{name: "org.freedesktop.DBus.Error.LimitsExceeded", want: units.CodeLimitsExceeded, says: "in the words of the bus"},
		{name: wire.ErrUnknownMethod, want: units.CodeInternal, says: "in the words of the bus"},
		{name: "", want: units.CodeInternal, says: "of one version"},
	} {
		bus := privatebus.Start(t)
		if _, err := bus.Conn(dbus.WithHandler(theirs{tt.name})).RequestName(wire.BusName, 0); err != nil {
			t.Fatal(err)
		}
		c, err := client.DialAddress(testContext(t), bus.Address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Health(testContext(t))
		var e *units.Error
		if !errors.As(err, &e) || e.Code != tt.want || !strings.Contains(e.Message+e.Remedy, tt.says) {
			t.Errorf("%q came as %#v; want %s that says %q", tt.name, err, tt.want, tt.says)
		}
		c.Close()
	}
}

func TestContextEndsACall(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	c := s.Client()
	if err := c.Set(testContext(t), definition(), false); err != nil {
		t.Fatal(err)
	}
	job, err := c.Start(testContext(t), web)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(short, job.ID); units.CodeOf(err) != units.CodeTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its deadline: error is %v", err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := c.Health(ended); units.CodeOf(err) != units.CodeCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("after it was canceled: error is %v", err)
	}
	if _, err := client.DialAddress(ended, s.Address); units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("dial: error is %v", err)
	}
}

func TestWhatNeedsNoCall(t *testing.T) {
	t.Parallel()
	c := apitest.Start(t).Client()
	ctx := testContext(t)
	for _, tt := range []struct {
		name string
		do   func() error
		want units.Code
	}{
		{name: "status of a name that is none", want: units.CodeInvalidArgument, do: func() error { _, err := c.Status(ctx, units.ID{Context: "a/b"}); return err }},
		{name: "definition of a name that is none", want: units.CodeInvalidArgument, do: func() error { _, err := c.Definition(ctx, units.ID{}); return err }},
		{name: "start of a name that is none", want: units.CodeInvalidArgument, do: func() error { _, err := c.Start(ctx, units.ID{}); return err }},
		{name: "job 0", want: units.CodeNoSuchJob, do: func() error { _, err := c.Job(ctx, 0); return err }},
		{name: "wait for job -1", want: units.CodeNoSuchJob, do: func() error { _, err := c.Wait(ctx, -1); return err }},
		{name: "definition with a null", want: units.CodeInvalidDefinition, do: func() error { return c.Set(ctx, map[string]any{"name": nil}, false) }},
	} {
		if err := tt.do(); units.CodeOf(err) != tt.want {
			t.Errorf("%s: error is %v; want %s", tt.name, err, tt.want)
		}
	}
}
