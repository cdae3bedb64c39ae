package dbusapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// broken is a controller with faults.
type broken struct{ dbusapi.Controller }

func (broken) Status(context.Context, units.ID) (units.Status, error) { panic("secret of a panic") }
func (broken) Services(context.Context) ([]units.Status, error) {
	return nil, errors.New("secret of an error")
}
func (broken) Logs(context.Context, units.LogFilter) ([]units.LogEntry, error) {
	return []units.LogEntry{{Event: units.Event{Message: "a\x00b\xffc"}}}, nil
}

func TestFaultsOfTheController(t *testing.T) {
	t.Parallel()
	var log logged
	s := apitest.Start(t, logTo(&log), behind(func(c dbusapi.Controller) dbusapi.Controller { return broken{c} }))
	c := s.Client()

	for _, tt := range []struct {
		name   string
		do     func() error
		logged []string
	}{
		{name: "panic", logged: []string{"secret of a panic", "stack=", "hostile_test.go"}, do: func() error { _, err := c.Status(testContext(t), web); return err }},
		{name: "unknown error", logged: []string{"secret of an error"}, do: func() error { _, err := c.Services(testContext(t)); return err }},
	} {
		err := tt.do()
		if units.CodeOf(err) != units.CodeInternal || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v", tt.name, err)
		}
		for _, s := range tt.logged {
			if !log.has(s) {
				t.Errorf("%s: the log has no %q", tt.name, s)
			}
		}
		alive(t, s)
	}
	// An invalid string would end the daemon's connection.
	entries, err := c.Logs(testContext(t), units.LogFilter{})
	if err != nil || len(entries) != 1 || entries[0].Message != "a\ufffdb\ufffdc" {
		t.Errorf("text unfit for the bus: got %q, %v", entries, err)
	}
	alive(t, s)
}

func TestUsersMayNotChangeAnything(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, as(1000))
	start(t, s)
	changing := 0
	for _, row := range dbusapi.Rows() {
		if !row.Changes {
			continue
		}
		changing++
		path, args := sample(row)
		for _, method := range []string{row.Interface + "." + row.Member, row.Member} { // with and without an interface
			err := invoke(testContext(t), s.Bus.Conn(), path, method, args...).Err
			if errorName(err) != units.CodeAccessDenied.Info().DBus || len(err.(dbus.Error).Body) != 2 {
				t.Errorf("%s: error is %#v; want a refusal with a remedy", method, err)
			}
		}
	}
	if changing == 0 {
		t.Fatal("the table has no method that changes anything")
	}
	list, err := s.Controller.Services(context.Background())
	if err != nil || len(list) != 1 || list[0].State != units.StateRunning {
		t.Errorf("services are %+v, %v; want the one that ran", list, err)
	}
}

func TestWhoCannotBeToldIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want units.Code
	}{
		{name: "the bus answers too late", err: context.DeadlineExceeded, want: units.CodeTimeout},
		{name: "the bus refuses to say", err: dbus.Error{Name: "org.freedesktop.DBus.Error.LimitsExceeded"}, want: units.CodeUnavailable},
		{name: "the bus is gone", err: dbus.ErrClosed, want: units.CodeUnavailable},
		{name: "the caller is gone", err: dbus.Error{Name: "org.freedesktop.DBus.Error.NameHasNoOwner"}, want: units.CodeCanceled},
	} {
		s := apitest.Start(t, func(o *dbusapi.Options) {
			o.UID = func(context.Context, *dbus.Conn, string) (uint32, error) { return 0, tt.err }
		})
		err := s.Client().Set(testContext(t), definition("web"), false)
		if units.CodeOf(err) != tt.want {
			t.Errorf("%s: error is %v; want code %s", tt.name, err, tt.want)
		}
		if list, _ := s.Controller.Services(context.Background()); len(list) > 0 {
			t.Errorf("%s: the call was done", tt.name)
		}
	}
}

// Whatever queue users stand in, root does not stand behind them.
func TestRootHasTurnsOfItsOwn(t *testing.T) {
	t.Parallel()
	var user atomic.Value // the unique name of the connection that is not root's
	waiting, release := make(chan struct{}, 64), make(chan struct{})
	s := apitest.Start(t, behind(func(c dbusapi.Controller) dbusapi.Controller { return &slowLogs{c, waiting, release} }),
		func(o *dbusapi.Options) {
			o.UID = func(_ context.Context, _ *dbus.Conn, sender string) (uint32, error) {
				if sender == user.Load() {
					return 1000, nil
				}
				return 0, nil
			}
		})
	crowd := s.Bus.Conn()
	user.Store(crowd.Names()[0])
	answers := make(chan *dbus.Call, dbusapi.MaxOfSender)
	for range dbusapi.MaxOfSender {
		crowd.Object(wire.BusName, wire.RootPath).Go(wire.ManagerInterface+".QueryLogs", 0, answers, map[string]dbus.Variant{})
	}
	receive(t, waiting)
	if _, err := s.Client().Services(testContext(t)); err != nil {
		t.Errorf("root is not served: %v", err)
	}
	close(release)
	for range dbusapi.MaxOfSender {
		if call := receive(t, answers); call.Err != nil {
			t.Errorf("a user's call ended with %v", call.Err)
		}
	}
}

// slowLogs is a controller whose log is not read before it is released.
type slowLogs struct {
	dbusapi.Controller
	waiting, release chan struct{}
}

func (s *slowLogs) Logs(ctx context.Context, f units.LogFilter) ([]units.LogEntry, error) {
	s.waiting <- struct{}{}
	<-s.release
	return s.Controller.Logs(ctx, f)
}

// What is not read is answered all the same.
func TestCallsThatAreNotRead(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	deep := dbus.MakeVariant("bottom")
	for range 60 {
		deep = dbus.MakeVariant(deep)
	}
	for _, tt := range []struct {
		name string
		args []any
		want units.Code
	}{
		{name: "long", args: []any{strings.Repeat("x", 2*dbusapi.MaxBody)}, want: units.CodeLimitsExceeded},
		{name: "as long as the bus takes", args: []any{strings.Repeat("x", wire.MaxMessage-1<<10)}, want: units.CodeLimitsExceeded},
		{name: "deep", args: []any{deep}, want: units.CodeInvalidArgument},
	} {
		err := invoke(testContext(t), s.Bus.Conn(), wire.RootPath, wire.ManagerInterface+".SetService", tt.args...).Err
		if got, want := errorName(err), tt.want.Info().DBus; got != want {
			t.Errorf("%s: error is %v; want %s", tt.name, err, want)
		}
	}
	alive(t, s)
}

func TestTooLongAMessage(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	long := map[string]any{"name": "web", "description": strings.Repeat("x", dbusapi.MaxBody)}
	c := s.Client()
	if err := c.Set(testContext(t), long, false); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("error is %v", err)
	}
	long["description"] = strings.Repeat("x", wire.MaxMessage)
	if err := c.Set(testContext(t), long, false); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("longer than the bus takes: error is %v", err)
	}
	alive(t, s)
}

// verbose is a controller with more to say than the bus takes.
type verbose struct{ dbusapi.Controller }

func (verbose) Logs(context.Context, units.LogFilter) ([]units.LogEntry, error) {
	return []units.LogEntry{{Event: units.Event{Message: strings.Repeat("x", wire.MaxMessage)}}}, nil
}

// The bus would end the daemon's connection.
func TestTooLongAnAnswer(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, behind(func(c dbusapi.Controller) dbusapi.Controller { return verbose{c} }))
	c := s.Client()
	if _, err := c.Logs(testContext(t), units.LogFilter{}); units.CodeOf(err) != units.CodeInternal {
		t.Errorf("error is %v", err)
	}
	if _, err := c.Health(testContext(t)); err != nil {
		t.Errorf("after that: %v", err)
	}
	alive(t, s)
}

func TestCallsWithoutAReply(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	conn := s.Bus.Conn()
	obj := conn.Object(wire.BusName, wire.RootPath)
	def, err := wire.EncodeDefinition(definition("web"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * dbusapi.MaxOfSender {
		obj.Go(wire.ManagerInterface+".Explode", dbus.FlagNoReplyExpected, nil)
	}
	obj.Go(wire.ManagerInterface+".SetService", dbus.FlagNoReplyExpected, nil, def, uint64(0))
	c, ctx := s.Client(), testContext(t)
	for { // it is done some time after it was sent
		if _, err := s.Controller.Status(ctx, web); err == nil {
			break
		}
		if _, err := c.Health(ctx); err != nil {
			t.Fatalf("SetService without a reply was not done, and then: %v", err)
		}
	}
}

func TestAFloodHurtsItsSenderAlone(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	start(t, s)
	const calls = 200
	flood := s.Bus.Conn().Object(wire.BusName, wire.JobPath(1))
	answers := make(chan *dbus.Call, calls)
	for range calls {
		flood.Go("Wait", 0, answers, uint64(0))
	}
	for i := range calls - dbusapi.MaxOfSender {
		select {
		case call := <-answers:
			if got, want := errorName(call.Err), units.CodeLimitsExceeded.Info().DBus; got != want {
				t.Fatalf("call %d: error is %q; want %q", i, got, want)
			}
		case <-testContext(t).Done():
			t.Fatalf("%d calls were refused; want %d", i, calls-dbusapi.MaxOfSender)
		}
	}
	alive(t, s) // another sender is served
	if _, err := s.Controller.Stop(context.Background(), web); err != nil {
		t.Fatal(err)
	}
	for range dbusapi.MaxOfSender {
		if call := receive(t, answers); call.Err != nil {
			t.Errorf("a call that was let in ended with %v", call.Err)
		}
	}
	if err := flood.Call("Wait", 0, uint64(0)).Err; err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

func TestWhoLeavesNoLongerWaits(t *testing.T) {
	t.Parallel()
	waiting, released := make(chan struct{}, 2), make(chan error, 2)
	s := apitest.Start(t, behind(func(c dbusapi.Controller) dbusapi.Controller { return &watched{c, waiting, released} }))
	start(t, s)
	leaver, stayer := s.Bus.Conn(), s.Bus.Conn()
	leaver.Object(wire.BusName, wire.JobPath(1)).Go("Wait", 0, nil, uint64(0))
	stays := stayer.Object(wire.BusName, wire.JobPath(1)).Go("Wait", 0, nil, uint64(0))
	receive(t, waiting)
	receive(t, waiting)
	leaver.Close()
	if err := receive(t, released); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait of who left ended with %v", err)
	}
	if _, err := s.Controller.Stop(context.Background(), web); err != nil {
		t.Fatal(err)
	}
	if call := receive(t, stays.Done); call.Err != nil {
		t.Errorf("who stayed got %v", call.Err)
	}
}

// godbus's own handler crashes the daemon here.
func TestIntrospectionWhileServicesComeAndGo(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	ctx, stop := context.WithCancel(testContext(t))
	var all sync.WaitGroup
	all.Go(func() {
		c := s.Client()
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprint("web", i%10)
			if err := c.Set(ctx, definition(name), false); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			if err := c.Remove(ctx, units.ID{Context: "core", Name: name}, true); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	for _, path := range []dbus.ObjectPath{"/", wire.RootPath, wire.ServicesPath, wire.ServicesPath + "/core", wire.JobsPath} {
		all.Go(func() {
			conn := s.Bus.Conn()
			for range 100 {
				err := invoke(ctx, conn, path, wire.IntrospectableInterface+".Introspect").Err
				if name := errorName(err); name != "" && name != wire.ErrUnknownObject {
					t.Errorf("introspection of %s: %v", path, err)
				}
			}
		})
	}
	all.Go(func() {
		conn := s.Bus.Conn()
		for range 100 {
			if err := invoke(ctx, conn, wire.RootPath, wire.ObjectManagerInterface+".GetManagedObjects").Err; err != nil {
				t.Errorf("GetManagedObjects: %v", err)
			}
		}
	})
	go func() { // stop the writer when the readers have had enough of it
		defer stop()
		conn := s.Bus.Conn()
		for range 300 {
			_ = invoke(ctx, conn, wire.ServicesPath, "Introspect").Err
		}
	}()
	all.Wait()
	alive(t, s)
}
