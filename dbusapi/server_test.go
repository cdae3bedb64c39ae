package dbusapi_test

import (
	"context"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestEveryMethodAnswersWhatTheTableSays(t *testing.T) {
	t.Parallel()
	for _, row := range dbusapi.Rows() {
		t.Run(row.Interface+"."+row.Member, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t)
			start(t, s)
			want := ""
			switch row.Member {
			case "Wait":
				if _, err := s.Controller.Stop(context.Background(), web); err != nil {
					t.Fatal(err)
				}
			case "RemoveService", "Remove":
				want = units.CodeInUse.Info().DBus
			case "Set":
				want = wire.ErrPropertyReadOnly
			}
			path, args := sample(row)
			for _, method := range []string{row.Interface + "." + row.Member, row.Member} { // with and without an interface
				call := invoke(testContext(t), s.Bus.Conn(), path, method, args...)
				if got := errorName(call.Err); got != want {
					t.Fatalf("%s: error is %q (%v); want %q", method, got, call.Err, want)
				}
				signature := ""
				for _, a := range row.Out {
					signature += a.Type
				}
				if got := dbus.SignatureOf(call.Body...).String(); want == "" && got != signature {
					t.Errorf("%s: answer is %q; want %q", method, got, signature)
				}
			}
		})
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	start(t, s)
	conn := s.Bus.Conn()
	gone := wire.ServicePath(units.ID{Context: "core", Name: "gone"})
	for _, tt := range []struct {
		name   string
		path   dbus.ObjectPath
		method string
		args   []any
		want   string
	}{
		{name: "object of another program", path: "/org/example", method: "org.example.X.Y", want: wire.ErrUnknownObject},
		{name: "no such object, standard interface", path: "/org/example", method: wire.PropertiesInterface + ".GetAll", args: []any{""}, want: wire.ErrUnknownObject},
		{name: "another escaping of a service's name", path: wire.ServicesPath + "/core/_77eb", method: "GetDefinition", args: []any{uint64(0)}, want: wire.ErrUnknownObject},
		{name: "interface", path: wire.RootPath, method: "org.example.X.Y", want: wire.ErrUnknownInterface},
		{name: "interface of another object", path: wire.RootPath, method: wire.JobInterface + ".Wait", args: []any{uint64(0)}, want: wire.ErrUnknownInterface},
		{name: "method", path: wire.RootPath, method: wire.ManagerInterface + ".Explode", want: wire.ErrUnknownMethod},
		{name: "method, no interface", path: wire.RootPath, method: "Explode", want: wire.ErrUnknownMethod},
		{name: "method of another object, no interface", path: wire.RootPath, method: "Wait", args: []any{uint64(0)}, want: wire.ErrUnknownMethod},
		{name: "method of a parent", path: wire.ServicesPath, method: wire.ManagerInterface + ".ListServices", want: wire.ErrUnknownInterface},
		{name: "property", path: wire.RootPath, method: wire.PropertiesInterface + ".Get", args: []any{wire.ManagerInterface, "Mood"}, want: wire.ErrUnknownProperty},
		{name: "property of another interface", path: wire.RootPath, method: wire.PropertiesInterface + ".Get", args: []any{wire.JobInterface, "Phase"}, want: wire.ErrUnknownInterface},
		{name: "service", path: gone, method: wire.PropertiesInterface + ".GetAll", args: []any{""}, want: units.CodeNoSuchService.Info().DBus},
		{name: "context", path: wire.ContextPath("none"), method: wire.PropertiesInterface + ".GetAll", args: []any{""}, want: wire.ErrUnknownObject},
		{name: "introspection of a context that is not there", path: wire.ContextPath("none"), method: "Introspect", want: wire.ErrUnknownObject},
		{name: "managed objects of a service", path: wire.ServicePath(web), method: wire.ObjectManagerInterface + ".GetManagedObjects", want: wire.ErrUnknownInterface},
		{name: "definition", path: gone, method: "GetDefinition", args: []any{uint64(0)}, want: units.CodeNoSuchService.Info().DBus},
		{name: "introspection of a service", path: gone, method: "Introspect", want: units.CodeNoSuchService.Info().DBus},
		{name: "introspection of a context", path: wire.ServicesPath + "/none", method: "Introspect", want: wire.ErrUnknownObject},
		{name: "introspection of a job", path: wire.JobPath(99), method: "Introspect", want: units.CodeNoSuchJob.Info().DBus},
		{name: "job", path: wire.JobPath(99), method: "Wait", args: []any{uint64(0)}, want: units.CodeNoSuchJob.Info().DBus},
		{name: "job 0", path: wire.RootPath, method: "GetJob", args: []any{uint64(0), uint64(0)}, want: units.CodeNoSuchJob.Info().DBus},
		{name: "job beyond all numbers", path: wire.RootPath, method: "GetJob", args: []any{^uint64(0), uint64(0)}, want: units.CodeNoSuchJob.Info().DBus},
	} {
		err := invoke(testContext(t), conn, tt.path, tt.method, tt.args...).Err
		if got := errorName(err); got != tt.want {
			t.Errorf("%s: error is %q (%v); want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	set(t, s, web.Name)
	conn := s.Bus.Conn()
	type dict = map[string]dbus.Variant
	v := dbus.MakeVariant
	for _, tt := range []struct {
		name   string
		member string
		args   []any
		want   units.Code
		says   string
	}{
		{name: "none", member: "StartService", want: units.CodeInvalidArgument, says: `StartService was called with ""; want "sst"`},
		{name: "too few", member: "StartService", args: []any{"core", "web"}, want: units.CodeInvalidArgument, says: `"ss"; want "sst"`},
		{name: "too many", member: "ListServices", args: []any{"core"}, want: units.CodeInvalidArgument, says: `"s"; want ""`},
		{name: "flags of another type", member: "StartService", args: []any{"core", "web", uint32(0)}, want: units.CodeInvalidArgument, says: `"ssu"; want "sst"`},
		{name: "one struct", member: "GetService", args: []any{struct{ A, B string }{"core", "web"}}, want: units.CodeInvalidArgument, says: `"(ss)"; want "ss"`},
		{name: "dict of text", member: "QueryLogs", args: []any{map[string]string{"level": "error"}}, want: units.CodeInvalidArgument, says: `"a{ss}"; want "a{sv}"`},
		{name: "no context's name", member: "StartService", args: []any{"../core", "web", uint64(0)}, want: units.CodeInvalidArgument, says: "context is"},
		{name: "no service's name", member: "GetService", args: []any{"core", ""}, want: units.CodeInvalidArgument, says: "service name is"},
		{name: "unknown flag of StartService", member: "StartService", args: []any{"core", "web", uint64(1)}, want: units.CodeInvalidArgument, says: "flags are 0x1"},
		{name: "unknown flag of SetService", member: "SetService", args: []any{dict{}, uint64(6)}, want: units.CodeInvalidArgument, says: "flags are 0x6"},
		{name: "unknown flag of RemoveService", member: "RemoveService", args: []any{"core", "web", uint64(2)}, want: units.CodeInvalidArgument, says: "flags are 0x2"},
		{name: "wrong type in a filter", member: "QueryLogs", args: []any{dict{"level": v(uint64(3))}}, want: units.CodeInvalidArgument, says: `"level" is not a string`},
		{name: "unknown key in a filter", member: "QueryLogs", args: []any{dict{"grep": v("x")}}, want: units.CodeInvalidArgument, says: `"grep" is not a key`},
		{name: "no definition", member: "SetService", args: []any{dict{}, uint64(0)}, want: units.CodeInvalidDefinition, says: "name"},
		{name: "wrong type in a definition", member: "SetService", args: []any{dict{"name": v(true)}, uint64(0)}, want: units.CodeInvalidDefinition, says: "name"},
		{name: "struct in a definition", member: "SetService", args: []any{dict{"name": v(struct{ A string }{"x"})}, uint64(0)}, want: units.CodeInvalidDefinition, says: "name is of type (s)"},
		{name: "path in an action", member: "SetService", args: []any{dict{"name": v("x"), "actions": v([]dict{{"exec": v(dbus.ObjectPath("/bin/true"))}})}, uint64(0)}, want: units.CodeInvalidDefinition, says: "actions[0].exec is of type o"},
		{name: "unknown key in a definition", member: "SetService", args: []any{dict{"name": v("x"), "depend_on": v("y")}, uint64(0)}, want: units.CodeInvalidDefinition, says: "depend_on"},
	} {
		err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+"."+tt.member, tt.args...).Err
		if got := errorName(err); got != tt.want.Info().DBus || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error is %q (%v); want %q that says %q", tt.name, got, err, tt.want.Info().DBus, tt.says)
		}
	}
	if list, _ := s.Controller.Services(context.Background()); len(list) != 1 {
		t.Errorf("there are %d services; want the one that was there", len(list))
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	start(t, s)
	conn := s.Bus.Conn()
	for _, tt := range []struct {
		name  string
		path  dbus.ObjectPath
		iface string
		count int
	}{
		{name: "manager", path: wire.RootPath, iface: wire.ManagerInterface, count: len(wire.Health)},
		{name: "manager, any interface", path: wire.RootPath, iface: "", count: len(wire.Health)},
		{name: "service", path: wire.ServicePath(web), iface: wire.ServiceInterface, count: len(wire.Status)},
		{name: "job", path: wire.JobPath(1), iface: wire.JobInterface, count: len(wire.Job)},
		{name: "context", path: wire.ContextPath("core"), iface: wire.ContextInterface, count: len(wire.Context)},
		{name: "log", path: wire.LogControlPath, iface: wire.LogControlInterface, count: len(wire.LogControl)},
		{name: "standard interface", path: wire.RootPath, iface: wire.IntrospectableInterface},
		{name: "parent", path: wire.JobsPath, iface: ""},
	} {
		var all map[string]dbus.Variant
		if err := invoke(testContext(t), conn, tt.path, wire.PropertiesInterface+".GetAll", tt.iface).Store(&all); err != nil || len(all) != tt.count {
			t.Errorf("%s: %d properties, %v; want %d", tt.name, len(all), err, tt.count)
		}
		for name, value := range all {
			var one dbus.Variant
			if err := invoke(testContext(t), conn, tt.path, wire.PropertiesInterface+".Get", tt.iface, name).Store(&one); err != nil || one.String() != value.String() {
				t.Errorf("%s: %s is %v, %v; want %v", tt.name, name, one, err, value)
			}
		}
	}
}

func TestNameTaken(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	second := dbusapi.New(dbusapi.Options{Controller: s.Controller, Dial: s.Bus.Dial})
	err := second.Run(testContext(t))
	if units.CodeOf(err) != units.CodeInUse || !strings.Contains(err.Error(), "another hero_proc owns tf.ourworld.HeroProc1 (process ") {
		t.Errorf("error is %v", err)
	}
	alive(t, s)
}

func TestBusRestart(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{}, 1)
	released := make(chan error, 1)
	s := apitest.Start(t, behind(func(c dbusapi.Controller) dbusapi.Controller { return &watched{c, waiting, released} }))
	start(t, s)
	s.Bus.Conn().Object(wire.BusName, wire.JobPath(1)).Go("Wait", 0, nil, uint64(0))
	receive(t, waiting)
	s.Bus.Restart()
	if err := receive(t, released); err == nil {
		t.Error("a wait that nobody can hear of any more ended without an error")
	}
	awaitName(t, s)
	alive(t, s)
}

func TestStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	bus, c := privatebus.Start(t), apitest.NewController()
	waiting := make(chan struct{}, 1)
	server := dbusapi.New(dbusapi.Options{
		Controller: &watched{c, waiting, make(chan error, 30)},
		Dial: func(_ context.Context, o ...dbus.ConnOption) (*dbus.Conn, error) {
			return bus.Dial(testContext(t), o...)
		},
		UID: func(context.Context, *dbus.Conn, string) (uint32, error) { return 0, nil },
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	receive(t, server.Ready())
	if err := c.Set(ctx, definition("web"), false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(ctx, web); err != nil {
		t.Fatal(err)
	}
	// Many, so that the last answers would be under way when all have left.
	var calls []*dbus.Call
	for range 30 {
		calls = append(calls, bus.Conn().Object(wire.BusName, wire.JobPath(1)).Go("Wait", 0, nil, uint64(0)))
		receive(t, waiting)
	}
	stop()
	for _, call := range calls {
		if got, want := errorName(receive(t, call.Done).Err), units.CodeCanceled.Info().DBus; got != want {
			t.Errorf("error is %q; want %q", got, want)
		}
	}
	if err := receive(t, done); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// watched tells when somebody waits for a job, and how that ended.
type watched struct {
	dbusapi.Controller
	waiting  chan struct{}
	released chan error
}

func (w *watched) Wait(ctx context.Context, job int64) (units.Job, error) {
	w.waiting <- struct{}{}
	j, err := w.Controller.Wait(ctx, job)
	w.released <- err
	return j, err
}
