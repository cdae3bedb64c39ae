package client_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// daemon is a connection that has our name, and so may signal in it.
func daemon(t *testing.T, bus *privatebus.Bus) *dbus.Conn {
	t.Helper()
	conn := bus.Conn()
	if reply, err := conn.RequestName(wire.BusName, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("cannot take the name: %v, %v", reply, err)
	}
	return conn
}

func dial(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.DialAddress(testContext(t), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func watch(t *testing.T, c *client.Client) (<-chan units.Touched, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	changes, err := c.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return changes, cancel
}

func next(t *testing.T, changes <-chan units.Touched) units.Touched {
	t.Helper()
	select {
	case change, ok := <-changes:
		if !ok {
			t.Fatal("the watch ended")
		}
		return change
	case <-testContext(t).Done():
		t.Fatal("nothing was told")
	}
	panic("not reached")
}

var everything = units.Touched{All: true}

func TestWatch(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	changed := []any{wire.ServiceInterface, map[string]dbus.Variant{}, []string{"State"}}
	for _, tt := range []struct {
		name   string
		path   dbus.ObjectPath
		member string
		body   []any
		want   units.Touched
	}{
		{name: "a service's property", path: wire.ServicePath(web), member: wire.PropertiesInterface + ".PropertiesChanged", body: changed,
			want: units.Touched{Services: []units.ID{web}}},
		{name: "a job's property", path: wire.JobPath(7), member: wire.PropertiesInterface + ".PropertiesChanged", body: changed,
			want: units.Touched{Jobs: []int64{7}}},
		{name: "the daemon's own property", path: wire.RootPath, member: wire.PropertiesInterface + ".PropertiesChanged", body: changed},
		{name: "a service that came", path: wire.RootPath, member: "org.freedesktop.DBus.ObjectManager.InterfacesAdded",
			body: []any{wire.ServicePath(web), map[string]map[string]dbus.Variant{}}, want: units.Touched{Services: []units.ID{web}}},
		{name: "a job that went", path: wire.RootPath, member: "org.freedesktop.DBus.ObjectManager.InterfacesRemoved",
			body: []any{wire.JobPath(8), []string{wire.JobInterface}}, want: units.Touched{Jobs: []int64{8}}},
	} {
		d := daemon(t, bus)
		c := dial(t, bus.Address)
		changes, _ := watch(t, c)
		if first := next(t, changes); !reflect.DeepEqual(first, everything) {
			t.Errorf("the first value is %+v; want all", first)
		}
		if err := d.Emit(tt.path, tt.member, tt.body...); err != nil {
			t.Fatal(err)
		}
		if got := next(t, changes); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: told %+v; want %+v", tt.name, got, tt.want)
		}
		// The daemon leaves, as in a restart.
		if _, err := d.ReleaseName(wire.BusName); err != nil {
			t.Fatal(err)
		}
		if got := next(t, changes); !reflect.DeepEqual(got, everything) {
			t.Errorf("after the daemon left: told %+v; want all", got)
		}
	}
}

func TestWatchCoalesces(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	d, c := daemon(t, bus), dial(t, bus.Address)
	few, _ := watch(t, c)
	many, _ := watch(t, c)
	next(t, few)
	next(t, many)
	emit := func(path dbus.ObjectPath) {
		t.Helper()
		if err := d.Emit(path, wire.PropertiesInterface+".PropertiesChanged", wire.JobInterface, map[string]dbus.Variant{}, []string{"Phase"}); err != nil {
			t.Fatal(err)
		}
	}
	// settle returns when the client has read all that was emitted: the bus
	// keeps the order, and another watch on the same connection hears of it.
	settle := func() {
		t.Helper()
		mark := units.ID{Context: "core", Name: "settled"}
		emit(wire.ServicePath(mark))
		for range 3000 {
			if v := next(t, few); v.All || slices.Contains(v.Services, mark) {
				return
			}
		}
		t.Fatal("the end was never told")
	}
	for range 100 {
		emit(wire.JobPath(3))
		emit(wire.ServicePath(web))
	}
	settle()
	var all units.Touched
	for len(all.Services) < 2 {
		v := next(t, many)
		all.Services, all.Jobs = append(all.Services, v.Services...), append(all.Jobs, v.Jobs...)
	}
	// One value may have been taken up before the rest came.
	if len(all.Services) > 4 || len(all.Jobs) > 2 {
		t.Errorf("100 changes of the same two were told as %d and %d", len(all.Services), len(all.Jobs))
	}
	for i := range int64(1100) {
		emit(wire.JobPath(i + 1))
	}
	settle()
	for v := next(t, many); !v.All; v = next(t, many) {
		if len(v.Jobs)+len(v.Services) > 1024 {
			t.Fatalf("one value has %d jobs", len(v.Jobs))
		}
	}
}

func TestWatchSurvivesTheBus(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	c := dial(t, bus.Address)
	changes, stop := watch(t, c)
	next(t, changes)
	bus.Restart()
	if got := next(t, changes); !reflect.DeepEqual(got, everything) {
		t.Errorf("after the bus came back: told %+v; want all", got)
	}
	d := daemon(t, bus)
	if got := next(t, changes); !reflect.DeepEqual(got, everything) {
		t.Errorf("after the daemon came back: told %+v; want all", got)
	}
	if err := d.Emit(wire.ServicePath(web), wire.PropertiesInterface+".PropertiesChanged", wire.ServiceInterface, map[string]dbus.Variant{}, []string{"State"}); err != nil {
		t.Fatal(err)
	}
	if got := next(t, changes); len(got.Services) != 1 || got.Services[0] != web {
		t.Errorf("on the new bus: told %+v; want %s", got, web)
	}
	stop()
	ended(t, changes)
}

func ended(t *testing.T, changes <-chan units.Touched) {
	t.Helper()
	for {
		select {
		case _, ok := <-changes:
			if !ok {
				return
			}
		case <-testContext(t).Done():
			t.Fatal("the watch goes on")
		}
	}
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	c := dial(t, bus.Address)
	stopped, stop := watch(t, c)
	changes, _ := watch(t, c)
	stop()
	ended(t, stopped)
	next(t, changes) // the other one goes on
	c.Close()
	ended(t, changes)
	if _, err := c.Watch(testContext(t)); units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("a watch of a closed client: %v", err)
	}
}
