package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
)

const (
	busName = "tf.ourworld.HeroProc1"
	root    = dbus.ObjectPath("/tf/ourworld/HeroProc1")
	manager = busName + ".Manager"
)

// attacker knows the daemon as its introspection describes it.
type attacker struct {
	*tally
	methods []method
	unique  string // the daemon's name
}

type method struct {
	path   dbus.ObjectPath
	name   string
	inputs []string // types
}

func prepare(t *tally) (*attacker, error) {
	a := &attacker{tally: t}
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, busName).Store(&a.unique); err != nil {
		return nil, err
	}
	const prey = root + "/service/core/prey"
	for _, path := range []dbus.ObjectPath{root, root + "/context/core", prey, root + "/job/1", "/org/freedesktop/LogControl1"} {
		like := path
		if path == prey {
			like = root + "/service/core/steady" // another attacker may be quicker at removing the prey
		}
		var text string
		if err := conn.Object(busName, like).Call("org.freedesktop.DBus.Introspectable.Introspect", 0).Store(&text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		var node introspect.Node
		if err := xml.Unmarshal([]byte(text), &node); err != nil {
			return nil, err
		}
		for _, i := range node.Interfaces {
			for _, m := range i.Methods {
				one := method{path: path, name: i.Name + "." + m.Name}
				for _, arg := range m.Args {
					if arg.Direction != "out" {
						one.inputs = append(one.inputs, arg.Type)
					}
				}
				a.methods = append(a.methods, one)
			}
		}
	}
	return a, nil
}

// attacks are run each in a loop of its own.
func (a *attacker) attacks() map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{
		"types":       a.types,
		"huge":        a.huge,
		"many":        a.many,
		"interrupted": a.interrupted,
		"vanish":      a.vanish,
		"look":        a.look,
		"signals":     a.signals,
		"malformed":   a.malformed,
	}
	if os.Getuid() == 0 {
		all["churn"] = a.churn
	}
	return all
}

// with does something with a connection of its own.
func with(do func(*dbus.Conn) error) error {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(conn)
}

// call makes a call, and judges the answer.
func (a *attacker) call(conn *dbus.Conn, path dbus.ObjectPath, name string, args ...any) (*dbus.Call, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call := conn.Object(busName, path).CallWithContext(ctx, name, 0, args...)
	return call, a.judge(call)
}

// types calls every method with arguments that are wrong, each in its own way.
func (a *attacker) types(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		for _, m := range a.methods {
			if strings.Contains(m.name, ".Job.Wait") {
				continue // with a right argument it waits; see vanish
			}
			var args []any
			for _, sig := range m.inputs {
				if rand.IntN(4) == 0 {
					sig = oddTypes[rand.IntN(len(oddTypes))]
				}
				args = append(args, value(sig, 0))
			}
			if rand.IntN(8) == 0 {
				args = append(args, value("v", 0))
			}
			if _, err := a.call(conn, m.path, m.name, args...); err != nil {
				return err
			}
			odd := dbus.ObjectPath(fmt.Sprintf("%s/service/core/_%02x%d", root, rand.IntN(256), rand.IntN(9)))
			if _, err := a.call(conn, odd, m.name, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// huge sends messages up to the longest that the bus takes.
func (a *attacker) huge(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		sizes := []int{100 << 10, 1<<20 - 1<<10, 1 << 20, 5 << 20}
		if rand.IntN(10) == 0 { // it keeps the bus itself busy for long
			sizes = []int{32<<20 - 1<<10}
		}
		for _, size := range sizes {
			for _, arg := range []any{
				make([]byte, size),
				map[string]dbus.Variant{"name": dbus.MakeVariant(strings.Repeat("x", size-1<<10))},
				make([]string, size/8), // in memory it is many times as long
			} {
				name := manager + ".SetService"
				if _, err := a.call(conn, root, name, arg, uint64(0)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

var readings = []struct {
	path dbus.ObjectPath
	name string
	args []any
}{
	{root, manager + ".ListServices", nil},
	{root, manager + ".ListServicesFiltered", []any{map[string]dbus.Variant{"context": dbus.MakeVariant("soak")}, uint64(0)}},
	{root, manager + ".QueryLogs", []any{map[string]dbus.Variant{}}},
	{root, manager + ".Metrics", nil},
	{root, manager + ".ListDependencies", []any{uint64(0)}},
	{root, manager + ".ExplainService", []any{"core", "steady", uint64(0)}},
	{root, manager + ".AnalyzeBoot", []any{uint64(0)}},
	{root, "org.freedesktop.DBus.ObjectManager.GetManagedObjects", nil},
	{root + "/service/core/steady", "org.freedesktop.DBus.Properties.GetAll", []any{busName + ".Service"}},
	{root + "/service/core/steady", busName + ".Service.GetDefinition", []any{uint64(0)}},
	{root + "/job/1", "org.freedesktop.DBus.Properties.GetAll", []any{""}},
}

// many makes 200 calls from one connection at once, and takes all answers.
func (a *attacker) many(context.Context) error {
	return with(func(conn *dbus.Conn) error { return a.atOnce(conn, 200) })
}

// flood is what fits into one connection, over and over.
func (a *attacker) flood(ctx context.Context) error {
	return with(func(conn *dbus.Conn) error {
		for ctx.Err() == nil {
			if err := a.atOnce(conn, 32); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *attacker) atOnce(conn *dbus.Conn, calls int) error {
	answers := make(chan *dbus.Call, calls)
	for range calls {
		r := readings[rand.IntN(len(readings))]
		conn.Object(busName, r.path).Go(r.name, 0, answers, r.args...)
	}
	late := time.After(patience)
	for range calls {
		select {
		case call := <-answers:
			if err := a.judge(call); err != nil {
				return err
			}
		case <-late:
			return fmt.Errorf("%d calls at once: not all are answered within %v", calls, patience)
		}
	}
	return nil
}

// interrupted leaves before the answers come.
func (a *attacker) interrupted(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		for range 20 {
			m := a.methods[rand.IntN(len(a.methods))]
			var args []any
			for _, sig := range m.inputs {
				args = append(args, value(sig, 0))
			}
			conn.Object(busName, m.path).Go(m.name, 0, make(chan *dbus.Call, 1), args...)
			r := readings[rand.IntN(len(readings))]
			conn.Object(busName, r.path).Go(r.name, 0, make(chan *dbus.Call, 1), r.args...)
		}
		return nil
	})
}

// vanish waits for live jobs, and is gone before they end.
func (a *attacker) vanish(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		call, err := a.call(conn, root, manager+".ListJobs", map[string]dbus.Variant{}, uint64(0))
		if err != nil || call.Err != nil {
			return err
		}
		for _, job := range call.Body[0].([]map[string]dbus.Variant) {
			path := dbus.ObjectPath(fmt.Sprintf("%s/job/%v", root, job["ID"].Value()))
			for _, name := range []string{"Wait", "WaitReady"} {
				conn.Object(busName, path).Go(busName+".Job."+name, 0, make(chan *dbus.Call, 1), uint64(0))
			}
		}
		// By this answer the waits have begun, if they are to.
		_, err = a.call(conn, root, "org.freedesktop.DBus.Peer.Ping")
		return err
	})
}

// look reads everything while it changes.
func (a *attacker) look(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		for _, path := range []dbus.ObjectPath{"/", root, root + "/service", root + "/service/soak", root + "/job", root + "/context"} {
			if _, err := a.call(conn, path, "org.freedesktop.DBus.Introspectable.Introspect"); err != nil {
				return err
			}
			if _, err := a.call(conn, root, "org.freedesktop.DBus.ObjectManager.GetManagedObjects"); err != nil {
				return err
			}
		}
		return nil
	})
}

// signals sends the daemon what it would believe of the bus, and of systemd.
func (a *attacker) signals(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		for _, s := range []struct {
			path dbus.ObjectPath
			name string
			body []any
		}{
			{"/org/freedesktop/DBus", "org.freedesktop.DBus.NameOwnerChanged", []any{a.unique, a.unique, ""}},
			{"/org/freedesktop/DBus", "org.freedesktop.DBus.NameLost", []any{busName}},
			{"/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.Reloading", []any{true}},
			{"/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", []any{uint32(1), dbus.ObjectPath("/x"), "hero-core-steady.service", "failed"}},
			{"/x", "a.b.C", []any{value("v", 0)}},
		} {
			iface, member := s.name[:strings.LastIndex(s.name, ".")], s.name[strings.LastIndex(s.name, ".")+1:]
			// Where the bus refuses it, that is not told: a signal has no answer.
			conn.Send(&dbus.Message{Type: dbus.TypeSignal, Body: s.body, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldDestination: dbus.MakeVariant(a.unique),
				dbus.FieldPath:        dbus.MakeVariant(s.path),
				dbus.FieldInterface:   dbus.MakeVariant(iface),
				dbus.FieldMember:      dbus.MakeVariant(member),
				dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(s.body...)),
			}}, nil)
		}
		_, err := a.call(conn, root, "org.freedesktop.DBus.Peer.Ping")
		return err
	})
}

// churn adds, starts, stops and removes services, in any order.
func (a *attacker) churn(context.Context) error {
	return with(func(conn *dbus.Conn) error {
		name := fmt.Sprint("churn", rand.IntN(8))
		def := map[string]dbus.Variant{
			"context": dbus.MakeVariant("soak"), "name": dbus.MakeVariant(name), "status": dbus.MakeVariant("stop"),
			"actions": dbus.MakeVariant([]map[string]dbus.Variant{{"exec": dbus.MakeVariant(fmt.Sprint("/bin/sleep ", 1000+rand.IntN(3)))}}),
		}
		for _, step := range []func() (*dbus.Call, error){
			func() (*dbus.Call, error) { return a.call(conn, root, manager+".SetService", def, uint64(0)) },
			func() (*dbus.Call, error) {
				return a.call(conn, root, manager+".StartService", "soak", name, uint64(0))
			},
			func() (*dbus.Call, error) {
				return a.call(conn, root, manager+".RestartService", "soak", name, uint64(0))
			},
			func() (*dbus.Call, error) { return a.call(conn, root, manager+".StopService", "soak", name, uint64(0)) },
			func() (*dbus.Call, error) {
				return a.call(conn, root, manager+".RemoveService", "soak", name, uint64(1))
			},
		} {
			if rand.IntN(6) == 0 {
				continue
			}
			if _, err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}
