package dbusapi_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// names are the values of one key of the rows, in their order.
func names(rows []dict, key string) (all []string) {
	for _, row := range rows {
		name, _ := row[key].Value().(string)
		all = append(all, name)
	}
	return all
}

// populate registers three services in two contexts and runs two of them.
func populate(t *testing.T, s *apitest.Server) {
	t.Helper()
	ctx := context.Background()
	for _, id := range []units.ID{{Context: "core", Name: "db"}, {Context: "core", Name: "web"}, {Context: "test", Name: "web"}} {
		def := definition(id.Name)
		def["context"] = id.Context
		if id.Name == "web" {
			def["after"] = []any{"core/db"}
		}
		if id.Context == "test" {
			def["wants"] = []any{"gone"}
		}
		if err := s.Controller.Set(ctx, def, false); err != nil {
			t.Fatal(err)
		}
		if id.Name == "web" {
			if _, err := s.Controller.Start(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFilteredLists(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	populate(t, s)
	conn, none := s.Bus.Conn(), uint64(0)
	v := dbus.MakeVariant
	for _, tt := range []struct {
		name   string
		method string
		args   []any
		key    string
		want   []string
	}{
		{name: "all services", method: "ListServicesFiltered", args: []any{dict{}, none}, key: "Name", want: []string{"db", "web", "web"}},
		{name: "services of a context", method: "ListServicesFiltered", args: []any{dict{"context": v("core")}, none}, key: "Name", want: []string{"db", "web"}},
		{name: "services in a state", method: "ListServicesFiltered", args: []any{dict{"state": v("running")}, none}, key: "Context", want: []string{"core", "test"}},
		{name: "services by both", method: "ListServicesFiltered", args: []any{dict{"context": v("core"), "state": v("running")}, none}, key: "Name", want: []string{"web"}},
		{name: "services of no context", method: "ListServicesFiltered", args: []any{dict{"context": v("none")}, none}, key: "Name"},
		{name: "all live jobs", method: "ListJobs", args: []any{dict{}, none}, key: "Context", want: []string{"core", "test"}},
		{name: "live jobs of a context", method: "ListJobs", args: []any{dict{"context": v("test")}, none}, key: "Context", want: []string{"test"}},
		{name: "live jobs of a service", method: "ListJobs", args: []any{dict{"service": v("web")}, none}, key: "Service", want: []string{"web", "web"}},
		{name: "live jobs of another", method: "ListJobs", args: []any{dict{"service": v("db")}, none}, key: "Service"},
		{name: "the history of a service", method: "ListJobs", args: []any{dict{"context": v("core"), "service": v("web"), "phase": v("running")}, uint64(1)}, key: "Service", want: []string{"web"}},
		{name: "the newest of the history", method: "ListJobs", args: []any{dict{"limit": v(uint32(1))}, uint64(1)}, key: "Context", want: []string{"test"}},
		{name: "a phase that none is in", method: "ListJobs", args: []any{dict{"phase": v("lost")}, uint64(1)}, key: "Service"},
		{name: "dependencies", method: "ListDependencies", args: []any{none}, key: "OnService", want: []string{"db", "db", "gone"}},
		{name: "contexts", method: "ListContexts", args: []any{none}, key: "Name", want: []string{"core", "test"}},
	} {
		var rows []dict
		err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+"."+tt.method, tt.args...).Store(&rows)
		if got := names(rows, tt.key); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %s are %q, %v; want %q", tt.name, tt.key, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		method string
		args   []any
		says   string
	}{
		{method: "ListServicesFiltered", args: []any{dict{"state": v("sleepy")}, none}, says: `service filter: "state" is "sleepy"; want one of [running activating degraded failed exited inactive blocked unknown]`},
		{method: "ListServicesFiltered", args: []any{dict{"context": v(true)}, none}, says: `service filter: "context" is not a string (s)`},
		{method: "ListServicesFiltered", args: []any{dict{"name": v("x")}, none}, says: `service filter: "name" is not a key; want context or state`},
		{method: "ListServicesFiltered", args: []any{dict{}, uint64(1)}, says: "flags are 0x1; want none but 0x0"},
		{method: "ListJobs", args: []any{dict{"service": v("-"), "mood": v("x")}, none}, says: `job filter: "mood" is not a key; want context, service, action, phase, origin, run, since, until, before or limit; "service" is "-"; want 1 to 100 of A-Z, a-z, 0-9, _, . and -, not starting with . or -`},
		{method: "ListJobs", args: []any{dict{"limit": v(uint64(1001)), "phase": v("tired"), "run": v("7"), "before": v(uint64(0)), "origin": v("me")}, none},
			says: `job filter: "before" is 0; want no such key for no limit; "limit" is 1001; want at most 1000; "origin" is "me"; want one of [boot api systemd]; "phase" is "tired"; want one of [pending running succeeded failed canceled lost]; "run" is not a number (t)`},
		{method: "ListJobs", args: []any{dict{}, uint64(4)}, says: "flags are 0x4; want none but 0x1"},
		{method: "ListContexts", args: []any{uint64(1)}, says: "flags are 0x1; want none but 0x0"},
		{method: "ListDependencies", args: []any{uint64(1)}, says: "flags are 0x1; want none but 0x0"},
		{method: "AnalyzeBoot", args: []any{uint64(1)}, says: "flags are 0x1; want none but 0x0"},
		{method: "ExplainService", args: []any{"core", "web", uint64(1)}, says: "flags are 0x1; want none but 0x0"},
		{method: "ExplainService", args: []any{"Core", "web", none}, says: `context is "Core"; want 1 to 64 of a-z, 0-9 and _`},
		{method: "PruneLogs", args: []any{dict{"level": v("info")}, uint64(2)}, says: "flags are 0x2; want none but 0x1"},
		{method: "PruneLogs", args: []any{dict{"limit": v(uint64(1)), "level": v("info")}, none}, says: `log filter: "limit" is not a key; want source, level, context, service, since or until`},
		{method: "PruneLogs", args: []any{dict{"sauce": v("x")}, none}, says: `log filter: "sauce" is not a key; want source, level, exact, context, service, since, until or limit`},
		{method: "PruneLogs", args: []any{dict{}, none}, says: "the filter selects the whole log; flag 1 says that this is meant"},
		{method: "PruneLogs", args: []any{dict{"source": v("")}, none}, says: "the filter selects the whole log; flag 1 says that this is meant"},
	} {
		err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+"."+tt.method, tt.args...).Err
		if errorName(err) != units.CodeInvalidArgument.Info().DBus || err.Error() != tt.says {
			t.Errorf("%s%v: error is %v; want %s", tt.method, tt.args, err, tt.says)
		}
	}
}

// A row has what is not zero, and of the actions only what the service doesn't say.
func TestRowsAreSparse(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	start(t, s)
	two := definition("two")
	two["actions"] = append(two["actions"].([]any), map[string]any{"name": "side", "exec": "/bin/sleep 1h"})
	two["actions"].([]any)[0].(map[string]any)["name"] = "main"
	if err := s.Controller.Set(context.Background(), two, false); err != nil {
		t.Fatal(err)
	}
	var rows []dict
	if err := invoke(testContext(t), s.Bus.Conn(), wire.RootPath, wire.ManagerInterface+".ListServices").Store(&rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for name, value := range row {
			if value.Value() == "" || value.Value() == uint32(0) || value.Value() == uint64(0) || value.Value() == false {
				t.Errorf("a row has %s, which is zero", name)
			}
		}
		_, has := row["Actions"]
		if several := row["Name"].Value() == "two"; has != several {
			t.Errorf("%v: it has Actions: %v", row["Name"], has)
		}
	}
	list, err := s.Client().Services(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range list {
		one, err := s.Controller.Status(context.Background(), st.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st.State != one.State || st.Unit != one.Unit {
			t.Errorf("%s came over the bus as %+v; want %+v", st.ID, st, one)
		}
	}
}

func TestPruneLogs(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	for _, level := range []units.Level{units.LevelInfo, units.LevelInfo, units.LevelError} {
		s.Controller.AddLog(units.Event{Source: "hero_proc.store", Level: level, Message: "x"})
	}
	conn := s.Bus.Conn()
	for _, tt := range []struct {
		name   string
		filter dict
		flags  uint64
		want   uint64
	}{
		{name: "another source", filter: dict{"source": dbus.MakeVariant("hero_proc.bus")}},
		{name: "by level", filter: dict{"level": dbus.MakeVariant("info")}, want: 2},
		{name: "the same again", filter: dict{"level": dbus.MakeVariant("info")}},
		{name: "everything", flags: wire.FlagEverything, filter: dict{}, want: 1},
	} {
		var got uint64
		err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+".PruneLogs", tt.filter, tt.flags).Store(&got)
		if err != nil || got != tt.want {
			t.Errorf("%s: %d were deleted, %v; want %d", tt.name, got, err, tt.want)
		}
	}
}

func TestServiceAndJobObjectsControl(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	set(t, s, web.Name)
	conn, path := s.Bus.Conn(), wire.ServicePath(web)
	control := func(method string, want dbus.ObjectPath, state units.State) {
		t.Helper()
		var job dbus.ObjectPath
		if err := invoke(testContext(t), conn, path, wire.ServiceInterface+"."+method, uint64(0)).Store(&job); err != nil || job != want {
			t.Errorf("%s answered %s, %v; want %s", method, job, err, want)
		}
		if st, err := s.Controller.Status(context.Background(), web); err != nil || st.State != state {
			t.Errorf("after %s it is %s, %v; want %s", method, st.State, err, state)
		}
	}
	control("Start", wire.JobPath(1), units.StateRunning)
	control("Restart", wire.JobPath(2), units.StateRunning)
	for _, again := range []string{"the first time", "when it is over"} {
		if err := invoke(testContext(t), conn, wire.JobPath(2), wire.JobInterface+".Cancel", uint64(0)).Err; err != nil {
			t.Errorf("Cancel, %s: %v", again, err)
		}
	}
	if job, err := s.Controller.Wait(testContext(t), 2); err != nil || job.Phase != units.PhaseCanceled {
		t.Errorf("after Cancel the job is %s, %v", job.Phase, err)
	}
	if err := invoke(testContext(t), conn, wire.JobPath(99), wire.JobInterface+".Cancel", uint64(0)).Err; errorName(err) != units.CodeNoSuchJob.Info().DBus {
		t.Errorf("Cancel of no job: error is %v", err)
	}
	control("Start", wire.JobPath(3), units.StateRunning)
	remove := func(flags uint64) error {
		return invoke(testContext(t), conn, path, wire.ServiceInterface+".Remove", flags).Err
	}
	if err := remove(0); errorName(err) != units.CodeInUse.Info().DBus {
		t.Errorf("Remove of what runs: error is %v", err)
	}
	if err := remove(2); errorName(err) != units.CodeInvalidArgument.Info().DBus {
		t.Errorf("Remove with an unknown flag: error is %v", err)
	}
	if err := remove(wire.FlagStop); err != nil {
		t.Errorf("Remove with stop: %v", err)
	}
	for _, method := range []string{"Start", "Stop", "Restart"} {
		if err := invoke(testContext(t), conn, path, wire.ServiceInterface+"."+method, uint64(0)).Err; errorName(err) != units.CodeNoSuchService.Info().DBus {
			t.Errorf("%s of what is removed: error is %v", method, err)
		}
		if err := invoke(testContext(t), conn, path, wire.ServiceInterface+"."+method, uint64(1)).Err; errorName(err) != units.CodeInvalidArgument.Info().DBus {
			t.Errorf("%s with an unknown flag: error is %v", method, err)
		}
	}
}

// crowded is a controller that counts who reads everything at once.
type crowded struct {
	dbusapi.Controller
	inside, most atomic.Int64
	entered      chan struct{}
	leave        chan struct{}
}

func (c *crowded) Services(ctx context.Context) ([]units.Status, error) {
	n := c.inside.Add(1)
	defer c.inside.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	c.entered <- struct{}{}
	<-c.leave
	return c.Controller.Services(ctx)
}

// Big answers are worked on by turns, whoever asks for them.
func TestBulkAnswersTakeTurns(t *testing.T) {
	t.Parallel()
	c := &crowded{entered: make(chan struct{}, 100), leave: make(chan struct{})}
	s := apitest.Start(t, behind(func(inner dbusapi.Controller) dbusapi.Controller { c.Controller = inner; return c }))
	receive(t, c.entered) // the signals' own first look
	const calls = 20
	answers := make(chan *dbus.Call, calls)
	for range calls {
		s.Bus.Conn().Object(wire.BusName, wire.RootPath).Go(wire.ObjectManagerInterface+".GetManagedObjects", 0, answers)
	}
	receive(t, c.entered)
	receive(t, c.entered)
	alive := s.Bus.Conn().Object(wire.BusName, "/").CallWithContext(testContext(t), wire.IntrospectableInterface+".Introspect", 0)
	if alive.Err != nil {
		t.Errorf("a small call had to wait: %v", alive.Err)
	}
	close(c.leave)
	for range calls {
		if call := receive(t, answers); call.Err != nil {
			t.Error(call.Err)
		}
	}
	if most := c.most.Load(); most != 3 { // two, and the signals' own
		t.Errorf("%d read everything at once; want 3", most)
	}
}
