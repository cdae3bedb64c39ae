package dbusapi_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

type dict = map[string]dbus.Variant

// mirror is a client that knows nothing but what GetManagedObjects and the
// signals have told it, as GDBusObjectManager does.
type mirror struct {
	t       *testing.T
	conn    *dbus.Conn
	signals chan *dbus.Signal
	// objects has the properties of each object's own interface. An
	// invalidated one is missing.
	objects map[dbus.ObjectPath]dict
	// heard are the signals so far: "+" came, "-" went, "~" changed.
	heard []string
}

// follow subscribes to everything, and reads what there is if read is set.
func follow(t *testing.T, s *apitest.Server, read bool) *mirror {
	t.Helper()
	m := &mirror{t: t, conn: s.Bus.Conn(dbus.WithSignalHandler(dbus.NewSequentialSignalHandler())),
		signals: make(chan *dbus.Signal, 1024), objects: map[dbus.ObjectPath]dict{}}
	m.conn.Signal(m.signals)
	err := m.conn.AddMatchSignalContext(testContext(t), dbus.WithMatchSender(wire.BusName), dbus.WithMatchPathNamespace(wire.RootPath))
	if err != nil {
		t.Fatal(err)
	}
	if read {
		var all map[dbus.ObjectPath]map[string]dict
		if err := invoke(testContext(t), m.conn, wire.RootPath, wire.ObjectManagerInterface+".GetManagedObjects").Store(&all); err != nil {
			t.Fatal(err)
		}
		for path, interfaces := range all {
			m.came(path, interfaces)
		}
	}
	return m
}

func (m *mirror) came(path dbus.ObjectPath, interfaces map[string]dict) {
	m.t.Helper()
	if len(interfaces) != 1 {
		m.t.Errorf("%s came with the interfaces %v", path, interfaces)
	}
	for _, properties := range interfaces {
		m.objects[path] = properties
	}
}

// until takes in signals until the objects are as wanted.
func (m *mirror) until(what string, enough func() bool) {
	m.t.Helper()
	ctx := testContext(m.t)
	for !enough() {
		select {
		case signal := <-m.signals:
			m.take(signal)
		case <-ctx.Done():
			m.t.Fatalf("%s was not told; there were %q", what, m.heard)
		}
	}
}

func (m *mirror) take(signal *dbus.Signal) {
	m.t.Helper()
	if want, ok := sent[signal.Name]; ok && dbus.SignatureOf(signal.Body...).String() != want {
		m.t.Errorf("%s carries %s; want %s", signal.Name, dbus.SignatureOf(signal.Body...), want)
	}
	switch signal.Name {
	case wire.ObjectManagerInterface + ".InterfacesAdded":
		path := signal.Body[0].(dbus.ObjectPath)
		m.heard = append(m.heard, "+"+string(path))
		m.came(path, signal.Body[1].(map[string]dict))
	case wire.ObjectManagerInterface + ".InterfacesRemoved":
		path := signal.Body[0].(dbus.ObjectPath)
		m.heard = append(m.heard, "-"+string(path))
		delete(m.objects, path)
	case wire.PropertiesInterface + ".PropertiesChanged":
		m.heard = append(m.heard, "~"+string(signal.Path))
		if m.objects[signal.Path] == nil {
			m.objects[signal.Path] = dict{}
		}
		emissions := wire.Emissions(signal.Body[0].(string))
		for name, value := range signal.Body[1].(dict) {
			if emissions[name] != wire.EmitsValue {
				m.t.Errorf("%s of %s was told, and is annotated %q", name, signal.Path, emissions[name])
			}
			if old, had := m.objects[signal.Path][name]; had && reflect.DeepEqual(old, value) {
				m.t.Errorf("%s of %s was told, and has not changed", name, signal.Path)
			}
			m.objects[signal.Path][name] = value
		}
		for _, name := range signal.Body[2].([]string) {
			if emissions[name] != wire.EmitsInvalidated {
				m.t.Errorf("%s of %s was invalidated, and is annotated %q", name, signal.Path, emissions[name])
			}
			delete(m.objects[signal.Path], name)
		}
	}
}

// read reads the object's properties into the mirror, the invalidated ones too.
func (m *mirror) read(path dbus.ObjectPath) dict {
	m.t.Helper()
	var all dict
	if err := invoke(testContext(m.t), m.conn, path, wire.PropertiesInterface+".GetAll", "").Store(&all); err != nil {
		m.t.Fatal(err)
	}
	return all
}

// check waits until the mirror believes nothing that is not true. What an
// annotation says nothing of may be stale.
func (m *mirror) check() {
	m.t.Helper()
	m.until("the truth", func() bool {
		for path, believed := range m.objects {
			iface := map[wire.Kind]string{
				wire.KindManager: wire.ManagerInterface, wire.KindContext: wire.ContextInterface,
				wire.KindService: wire.ServiceInterface, wire.KindJob: wire.JobInterface,
			}[wire.ParsePath(path).Kind]
			for name, value := range m.read(path) {
				if old, has := believed[name]; has && wire.Emissions(iface)[name] != wire.EmitsNothing && !reflect.DeepEqual(old, value) {
					return false
				}
			}
		}
		return true
	})
}

func (m *mirror) text(path dbus.ObjectPath, name string) string {
	s, _ := m.objects[path][name].Value().(string)
	return s
}

func TestSignalsTellTheWholeStory(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	m := follow(t, s, true)
	path, context1 := wire.ServicePath(web), wire.ContextPath("core")
	ctx := context.Background()

	set(t, s, web.Name)
	m.until("a new service", func() bool { return m.objects[path] != nil && m.objects[context1] != nil })
	if got := m.text(path, "State"); got != "inactive" || m.text(path, "Name") != "web" {
		t.Errorf("the service came with %v", m.objects[path])
	}
	maps.Copy(m.objects[path], m.read(path)) // as a client with a cache does
	m.check()

	s.Controller.Hold(web)
	if _, err := s.Controller.Start(ctx, web); err != nil {
		t.Fatal(err)
	}
	job := wire.JobPath(1)
	m.until("a job that is pending", func() bool { return m.text(job, "Phase") == "pending" && m.text(path, "State") == "activating" })
	m.check()
	maps.Copy(m.objects[path], m.read(path))
	s.Controller.Release(web)
	m.until("that it runs", func() bool { return m.text(job, "Phase") == "running" && m.text(path, "State") == "running" })
	m.check()
	maps.Copy(m.objects[path], m.read(path))
	m.until("how many run", func() bool {
		counts, _ := m.objects[context1]["ServiceCounts"].Value().(map[string]uint32)
		all, _ := m.objects[wire.RootPath]["ServiceCounts"].Value().(map[string]uint32)
		return counts["running"] == 1 && all["running"] == 1
	})

	m.heard = nil
	s.Controller.Fail(web, "exit-code")
	m.until("that the job is gone", func() bool { return m.objects[job] == nil && m.text(path, "State") == "failed" })
	if last, gone := slices.Index(m.heard, "~"+string(job)), slices.Index(m.heard, "-"+string(job)); last < 0 || gone < last {
		t.Errorf("the job ended with %q; want a last change before it goes", m.heard)
	}
	m.check()

	if err := s.Controller.Remove(ctx, web, true); err != nil {
		t.Fatal(err)
	}
	m.until("that all is gone", func() bool { return m.objects[path] == nil && m.objects[context1] == nil })
	if len(m.objects) != 1 { // the manager
		t.Errorf("what is left is %v", m.objects)
	}
	m.check()
}

// changing is a controller whose properties are all others in each pass.
type changing struct {
	dbusapi.Controller
	n     atomic.Int64
	touch chan struct{}
}

func (c *changing) Touched() <-chan struct{} { return c.touch }

// TakeTouched is what a pass begins with.
func (c *changing) TakeTouched() units.Touched {
	c.n.Add(1)
	return units.Touched{}
}

func (c *changing) now() (n int64, at time.Time) {
	n = c.n.Load()
	return n, time.UnixMicro(1700000000000000 + n)
}

func (c *changing) Services(context.Context) ([]units.Status, error) {
	n, at := c.now()
	unit := units.Unit{Name: "u" + string(rune('a'+n)), Load: "l", Active: "a", Sub: "s", JobID: uint32(n), Result: "r", InvocationID: "i", MainPID: uint32(n),
		ExitCode: int32(n), ExitStatus: int32(n), Restarts: uint32(n), ActiveSince: at, ExitedAt: at, ChangedAt: at, Digest: "d", CPU: time.Duration(n)}
	for _, s := range []*string{&unit.Load, &unit.Active, &unit.Sub, &unit.Result, &unit.InvocationID, &unit.Digest} {
		*s += string(rune('a' + n))
	}
	suffix := string(rune('a' + n))
	return []units.Status{{ID: web, Description: suffix, Wanted: units.Wanted(suffix), State: units.State(suffix), Reason: suffix, Remedy: suffix,
		HealthState: units.HealthState(suffix), Health: []units.ActionHealth{{Action: suffix}},
		Stale: n%2 == 0, Unit: unit, Actions: []units.ActionStatus{{Name: suffix, Unit: unit}}}}, nil
}

func (c *changing) Status(ctx context.Context, _ units.ID) (units.Status, error) {
	all, err := c.Services(ctx)
	return all[0], err
}

func (c *changing) LiveJobs(context.Context) ([]units.Job, error) {
	n, at := c.now()
	suffix := string(rune('a' + n))
	return []units.Job{{ID: 1, Run: 1, Service: web, Action: "main", Unit: "u", Attempt: 1, Phase: units.Phase(suffix), InvocationID: suffix, MainPID: uint32(n),
		Created: time.UnixMicro(1), Started: at, Ended: at, Result: suffix, ExitCode: int32(n), ExitStatus: int32(n)}}, nil
}

func (c *changing) Health([]units.Status) units.Health {
	n, _ := c.now()
	suffix := string(rune('a' + n))
	return units.Health{Version: "1", Systemd: int(n), Started: time.UnixMicro(1), Ready: n%2 == 0, HeroDB: suffix, HeroDBReason: suffix,
		Services: map[units.State]int{units.State(suffix): 1}, LogsDropped: uint64(n)}
}

// The annotations in the XML are kept: everything that can change does, and
// what is then told is what they promise.
func TestAnnotationsAreKept(t *testing.T) {
	t.Parallel()
	c := &changing{touch: make(chan struct{}, 1)}
	s := apitest.Start(t, behind(func(inner dbusapi.Controller) dbusapi.Controller { c.Controller = inner; return c }))
	m := follow(t, s, false)
	paths := map[dbus.ObjectPath]string{
		wire.RootPath: wire.ManagerInterface, wire.ContextPath("core"): wire.ContextInterface,
		wire.ServicePath(web): wire.ServiceInterface, wire.JobPath(1): wire.JobInterface,
	}
	told := map[dbus.ObjectPath][2][]string{} // changed, invalidated
	c.touch <- struct{}{}
	ctx := testContext(t)
	for len(told) < len(paths) {
		select {
		case signal := <-m.signals:
			if !strings.HasSuffix(signal.Name, ".PropertiesChanged") || len(signal.Body) != 3 {
				continue
			}
			told[signal.Path] = [2][]string{slices.Sorted(maps.Keys(signal.Body[1].(dict))), slices.Sorted(slices.Values(signal.Body[2].([]string)))}
		case <-ctx.Done():
			t.Fatalf("only these were told: %v", slices.Sorted(maps.Keys(told)))
		}
	}
	for path, iface := range paths {
		var want [2][]string
		for name, how := range wire.Emissions(iface) {
			switch how {
			case wire.EmitsValue:
				want[0] = append(want[0], name)
			case wire.EmitsInvalidated:
				want[1] = append(want[1], name)
			}
		}
		for i := range want {
			slices.Sort(want[i])
			if !slices.Equal(told[path][i], want[i]) {
				t.Errorf("%s: told %q; the annotations say %q", path, told[path][i], want[i])
			}
		}
	}
}

// Who has read everything after a restart of the bus, or of our connection to it,
// is told of what changes, and not once more of what is there.
func TestANewConnectionTellsWhatChanges(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	start(t, s)
	s.Bus.Restart()
	awaitName(t, s)
	m := follow(t, s, true)
	if m.objects[wire.ServicePath(web)] == nil || m.objects[wire.JobPath(1)] == nil {
		t.Errorf("there is nothing but %v", m.objects)
	}
	if _, err := s.Controller.Stop(context.Background(), web); err != nil {
		t.Fatal(err)
	}
	m.until("the job's end", func() bool { return m.objects[wire.JobPath(1)] == nil })
	m.check()
	for _, signal := range m.heard {
		if strings.HasPrefix(signal, "+") {
			t.Errorf("it was told that %s came, which it had read", signal[1:])
		}
	}
}

// blind is a controller that can't tell of the services until it may.
type blind struct {
	dbusapi.Controller
	asked, may chan struct{}
}

func (b *blind) Services(ctx context.Context) ([]units.Status, error) {
	select {
	case b.asked <- struct{}{}:
	default:
	}
	select {
	case <-b.may:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return b.Controller.Services(ctx)
}

// Who is answered misses nothing, so nobody is before it is known what there is.
func TestNobodyIsAnsweredBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	b := &blind{asked: make(chan struct{}, 1), may: make(chan struct{})}
	s := apitest.Start(t, behind(func(inner dbusapi.Controller) dbusapi.Controller { b.Controller = inner; return b }))
	receive(t, b.asked)
	answer := make(chan *dbus.Call, 1)
	s.Bus.Conn().Object(wire.BusName, wire.RootPath).Go(wire.IntrospectableInterface+".Introspect", 0, answer)
	select {
	case call := <-answer:
		if time.Since(begun) < dbusapi.FirstLook {
			t.Errorf("it was answered before: %v", call.Err)
		}
	case <-time.After(dbusapi.FirstLook / 4):
		close(b.may)
		if call := receive(t, answer); call.Err != nil {
			t.Error(call.Err)
		}
	}
}

// Nobody is answered before it is known what there is; where that can't be known
// in time, everything comes when it is.
func TestALateBeginningMakesAllCome(t *testing.T) {
	t.Parallel()
	c := &counting{failed: make(chan struct{}, 1)}
	c.fault.Store("error")
	s := apitest.Start(t, behind(func(inner dbusapi.Controller) dbusapi.Controller { c.Controller = inner; return c }))
	receive(t, c.failed)
	set(t, s, web.Name)
	m := follow(t, s, false)
	c.fault.Store("")
	m.until("what was there", func() bool {
		return m.objects[wire.ServicePath(web)] != nil && m.objects[wire.ContextPath("core")] != nil
	})
	m.check()
}

// counting is a controller that counts how often everything is read, and may
// fail, or take its time.
type counting struct {
	dbusapi.Controller
	reads  atomic.Int64
	hold   sync.Mutex   // while it is held, nothing is read
	fault  atomic.Value // a string: "error", "panic", or ""
	failed chan struct{}
}

func (c *counting) Services(ctx context.Context) ([]units.Status, error) {
	c.hold.Lock()
	c.reads.Add(1)
	c.hold.Unlock()
	fault, _ := c.fault.Load().(string)
	if fault != "" {
		select {
		case c.failed <- struct{}{}:
		default:
		}
	}
	switch fault {
	case "panic":
		panic("a fault of the controller")
	case "error":
		return nil, errors.New("not now")
	}
	return c.Controller.Services(ctx)
}

// A thousand changes at once, before anybody has looked, are a handful of passes.
func TestSignalsAreCoalesced(t *testing.T) {
	t.Parallel()
	c := &counting{}
	s := apitest.Start(t, behind(func(inner dbusapi.Controller) dbusapi.Controller { c.Controller = inner; return c }))
	m := follow(t, s, true)
	set(t, s, web.Name)
	m.until("the service", func() bool { return m.objects[wire.ServicePath(web)] != nil })
	begun, before := time.Now(), c.reads.Load()
	c.hold.Lock()
	for range 1000 {
		if _, err := s.Controller.Restart(context.Background(), web); err != nil {
			t.Fatal(err)
		}
	}
	c.hold.Unlock()
	last := wire.JobPath(1000)
	m.until("the last job", func() bool { return m.objects[last] != nil })
	// One pass may have begun before the first change, and one be under way.
	if reads, most := c.reads.Load()-before, int64(time.Since(begun)/(50*time.Millisecond))+2; reads > most {
		t.Errorf("everything was read %d times; want %d at most", reads, most)
	}
	if n := len(m.heard); n > 200 {
		t.Errorf("%d signals tell of a thousand changes; want few", n)
	}
}

func TestSignalsGoOnAfterAFault(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"error", "panic"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			c := &counting{failed: make(chan struct{}, 1)}
			s := apitest.Start(t, behind(func(inner dbusapi.Controller) dbusapi.Controller { c.Controller = inner; return c }))
			m := follow(t, s, true)
			set(t, s, "first")
			m.until("the first service", func() bool { return m.objects[wire.ServicePath(units.ID{Context: "core", Name: "first"})] != nil })
			c.fault.Store(fault)
			set(t, s, web.Name)
			receive(t, c.failed)
			c.fault.Store("")
			m.until("the second service", func() bool { return m.objects[wire.ServicePath(web)] != nil })
			m.check()
		})
	}
}
