package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/store"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// bench is what the parts have in common, in the machine.
type bench struct {
	settings
	rows    []row
	conn    *dbus.Conn
	systemd dbus.BusObject
	signals chan *dbus.Signal
	execs   *execs
	paths   []dbus.ObjectPath // of the services' units
}

const (
	daemon         = "hero_proc.service"
	contextSlice   = "hero-core.slice"
	systemdName    = "org.freedesktop.systemd1"
	systemdManager = systemdName + ".Manager."
	// patience bounds each wait; a machine that is well answers much earlier.
	patience = 2 * time.Minute
)

// measure runs the parts, as root of this machine, and prints their rows.
func measure(ctx context.Context, s settings) error {
	b := &bench{settings: s, signals: make(chan *dbus.Signal, 1<<16)}
	var err error
	if b.conn, err = dbus.ConnectSystemBus(dbus.WithSignalHandler(dbus.NewSequentialSignalHandler())); err != nil {
		return err
	}
	defer b.conn.Close()
	b.systemd = b.conn.Object(systemdName, "/org/freedesktop/systemd1")
	b.conn.Signal(b.signals)
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(systemdName), dbus.WithMatchMember("JobRemoved")},
		{dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, "tf.ourworld.HeroProc1")},
	} {
		if err := b.conn.AddMatchSignal(match...); err != nil {
			return err
		}
	}
	if err := b.systemd.CallWithContext(ctx, systemdManager+"Subscribe", 0).Err; err != nil {
		return err
	}
	if b.execs, err = watchExecs(daemonProgram); err != nil {
		return err
	}
	for _, p := range parts {
		if slices.Contains(s.parts, p.name) {
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, p.about)
			if err := p.run(ctx, b); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(b.rows)
}

// forget drops the signals that have come so far.
func (b *bench) forget() {
	for {
		select {
		case _, ok := <-b.signals:
			if !ok {
				return // what waits next says so
			}
		default:
			return
		}
	}
}

// signal waits for the next signal of that name.
func (b *bench) signal(ctx context.Context, member string) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case s, ok := <-b.signals:
			if !ok {
				return nil, errors.New("the connection to the bus broke")
			}
			if strings.HasSuffix(s.Name, "."+member) {
				return s.Body, nil
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the signal %s: %w", member, ctx.Err())
		}
	}
}

// removed is what JobRemoved says.
type removed struct {
	id           uint32
	job          dbus.ObjectPath
	unit, result string
}

func (b *bench) removed(ctx context.Context) (r removed, err error) {
	body, err := b.signal(ctx, "JobRemoved")
	if err == nil {
		err = dbus.Store(body, &r.id, &r.job, &r.unit, &r.result)
	}
	return r, err
}

// jobs waits until systemd has done a job for each of the units; forget comes
// before what makes them.
func (b *bench) jobs(ctx context.Context, list ...string) error {
	left := make(map[string]bool, len(list))
	for _, name := range list {
		left[name] = true
	}
	for len(left) > 0 {
		r, err := b.removed(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("%d of %d units have no result yet: %w", len(left), len(list), err)
		case !left[r.unit]:
		case r.result != "done":
			return fmt.Errorf("systemd's result of the job for %s is %s", r.unit, r.result)
		default:
			delete(left, r.unit)
		}
	}
	return nil
}

// start and stop do so with a unit, and wait for it.
func (b *bench) start(ctx context.Context, unit string) error { return b.job(ctx, "StartUnit", unit) }
func (b *bench) stop(ctx context.Context, unit string) error  { return b.job(ctx, "StopUnit", unit) }

func (b *bench) job(ctx context.Context, method, unit string) error {
	b.forget()
	job, err := b.queue(ctx, method, unit)
	var answer dbus.Error
	if errors.As(err, &answer) && answer.Name == systemdName+".NoSuchUnit" {
		return nil // stopped already
	}
	for err == nil {
		var r removed
		if r, err = b.removed(ctx); r.job == job {
			break
		}
	}
	return err
}

func (b *bench) queue(ctx context.Context, method, unit string) (job dbus.ObjectPath, err error) {
	if err := b.systemd.CallWithContext(ctx, systemdManager+method, 0, unit, "replace").Store(&job); err != nil {
		return "", fmt.Errorf("%s of %s: %w", method, unit, err)
	}
	return job, nil
}

// property is one of a unit's; iface is Unit, Service and so on.
func property[T any](ctx context.Context, b *bench, unit, iface, name string) (value T, err error) {
	var path dbus.ObjectPath
	if err := b.systemd.CallWithContext(ctx, systemdManager+"LoadUnit", 0, unit).Store(&path); err != nil {
		return value, err
	}
	var v dbus.Variant
	if err := b.conn.Object(systemdName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemdName+"."+iface, name).Store(&v); err != nil {
		return value, err
	}
	return value, v.Store(&value)
}

// active is how many units that match are active.
func (b *bench) active(ctx context.Context, pattern string) (int, error) {
	return b.count(ctx, "active", pattern)
}

// count is how many units that match are in that state.
func (b *bench) count(ctx context.Context, state, pattern string) (int, error) {
	var list [][]any
	err := b.systemd.CallWithContext(ctx, systemdManager+"ListUnitsByPatterns", 0, []string{state}, []string{pattern}).Store(&list)
	return len(list), err
}

// serviceName is the name of the i-th service.
func serviceName(i int) string { return fmt.Sprint("web", i) }

func serviceUnits(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = units.ID{Context: "core", Name: serviceName(i)}.Unit()
	}
	return list
}

// sleeper is a service that does nothing.
func sleeper(name string, wanted units.Wanted) units.Service {
	a := units.NewAction("main")
	a.Exec = []string{"/usr/bin/sleep", "infinity"}
	return units.Service{ID: units.ID{Context: "core", Name: name}, Wanted: wanted, Description: "one of many", Actions: []units.Action{a}}
}

func sleepers(n int, wanted units.Wanted) []units.Service {
	list := make([]units.Service, n)
	for i := range list {
		list[i] = sleeper(serviceName(i), wanted)
	}
	return list
}

// register stops the daemon and all of its services, and gives it a store
// with these and no history.
func (b *bench) register(ctx context.Context, services []units.Service) error {
	if err := b.clear(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(stateDir); err != nil {
		return err
	}
	db, _, err := store.Open(ctx, stateDir, store.Options{})
	if err != nil {
		return err
	}
	for _, s := range services {
		if _, err := db.UpdateService(ctx, s.ID, func(*units.Service) (units.Service, error) { return s, nil }); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close()
}

// clear stops the daemon, and then the services; the store stays.
func (b *bench) clear(ctx context.Context) error {
	if err := b.stop(ctx, daemon); err != nil {
		return err
	}
	return b.stop(ctx, contextSlice)
}

// run runs a command to its end.
func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// since is how long it has been, in milliseconds.
func since(begun time.Time) float64 { return float64(time.Since(begun).Microseconds()) / 1000 }
