package dbusapi_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var web = units.ID{Context: "core", Name: "web"}

func definition(name string) map[string]any {
	return map[string]any{"name": name, "actions": []any{map[string]any{
		"exec": "/bin/sleep 1h", "env": map[string]string{"PASSWORD": "hunter2"}, "credentials": map[string]string{"key": "/etc/key"},
	}}}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), apitest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// receive is the next value of a channel, which must not take for ever.
func receive[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-testContext(t).Done():
		t.Fatal("waited in vain")
	}
	return v
}

// behind puts another controller behind the API.
func behind(wrap func(dbusapi.Controller) dbusapi.Controller) func(*dbusapi.Options) {
	return func(o *dbusapi.Options) { o.Controller = wrap(o.Controller) }
}

// as makes every caller that user.
func as(uid uint32) func(*dbusapi.Options) {
	return func(o *dbusapi.Options) {
		o.UID = func(context.Context, *dbus.Conn, string) (uint32, error) { return uid, nil }
	}
}

// logTo keeps the log.
func logTo(l *logged) func(*dbusapi.Options) {
	return func(o *dbusapi.Options) { o.Logger = slog.New(slog.NewTextHandler(l, nil)) }
}

type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

// set registers a service behind the API.
func set(t *testing.T, s *apitest.Server, name string) {
	t.Helper()
	if err := s.Controller.Set(context.Background(), definition(name), false); err != nil {
		t.Fatal(err)
	}
}

// start registers the service web and starts it: its job is number 1.
func start(t *testing.T, s *apitest.Server) {
	t.Helper()
	set(t, s, web.Name)
	if _, err := s.Controller.Start(context.Background(), web); err != nil {
		t.Fatal(err)
	}
}

// invoke calls a method as any program on the bus would.
func invoke(ctx context.Context, conn *dbus.Conn, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return conn.Object(wire.BusName, path).CallWithContext(ctx, method, 0, args...)
}

// errorName is the D-Bus name of an error, "" for none.
func errorName(err error) string {
	var e dbus.Error
	if err != nil && !errors.As(err, &e) {
		return "not from the bus: " + err.Error()
	}
	return e.Name
}

// alive checks that the API still answers, on a connection of its own.
func alive(t *testing.T, s *apitest.Server) {
	t.Helper()
	if _, err := s.Client().Job(testContext(t), math.MaxInt64); units.CodeOf(err) != units.CodeNoSuchJob {
		t.Fatalf("the API does not answer any more: %v", err)
	}
}

// awaitName waits until the name is held on a bus that was restarted. It
// returns a connection to that bus.
func awaitName(t *testing.T, s *apitest.Server) *dbus.Conn {
	t.Helper()
	ctx := testContext(t)
	conn := s.Bus.Conn()
	taken := make(chan *dbus.Signal, 8)
	conn.Signal(taken)
	err := conn.AddMatchSignalContext(ctx, dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, wire.BusName))
	if err != nil {
		t.Fatal(err)
	}
	var has bool
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, wire.BusName).Store(&has); err != nil {
		t.Fatal(err)
	}
	for !has {
		select {
		case signal := <-taken:
			has = strings.HasSuffix(signal.Name, ".NameOwnerChanged")
		case <-ctx.Done():
			t.Fatal("the name was not taken again")
		}
	}
	return conn
}

// null stands for every stream.
var null = func() *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	return f
}()

// sample is where to call a method of the table, and valid arguments: those
// of the service web and of job 1.
func sample(row dbusapi.Row) (dbus.ObjectPath, []any) {
	path := map[string]dbus.ObjectPath{
		wire.ServiceInterface: wire.ServicePath(web),
		wire.JobInterface:     wire.JobPath(1),
	}[row.Interface]
	if path == "" {
		path = wire.RootPath
	}
	args := []any{}
	for _, a := range row.In {
		args = append(args, map[string]any{
			"context":        web.Context,
			"name":           web.Name,
			"flags":          uint64(0),
			"id":             uint64(1),
			"definition":     map[string]dbus.Variant{"name": dbus.MakeVariant("other"), "status": dbus.MakeVariant("spec")},
			"run":            map[string]dbus.Variant{"name": dbus.MakeVariant("other"), "exec": dbus.MakeVariant("true")},
			"stdin":          dbus.UnixFD(null.Fd()),
			"stdout":         dbus.UnixFD(null.Fd()),
			"stderr":         dbus.UnixFD(null.Fd()),
			"filter":         map[string]dbus.Variant{"context": dbus.MakeVariant(web.Context)},
			"interface_name": wire.ManagerInterface,
			"property_name":  "Version",
			"value":          dbus.MakeVariant("9"),
		}[a.Name])
	}
	return path, args
}
