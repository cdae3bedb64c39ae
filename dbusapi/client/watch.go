package client

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxTouched is how many services and jobs are told one by one. When more of
// them wait for a slow reader, it is told to read all.
const maxTouched = 1024

// Waits between the attempts to find the bus again.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

const busDaemon = "org.freedesktop.DBus"

// Watch tells what may read differently: the services and jobs that have
// changed, come or gone, or All. A value with none of them is about the
// daemon's own properties: see [Client.Health]. It is a hint to read again,
// and what is read is the truth.
//
// The first value is All, so that a reader that reads first whenever it is
// told to has no gap. What changes while the reader is busy becomes one value,
// however much it is. When the daemon or the bus was restarted, All follows
// once it is back. The channel is closed when ctx ends, or the client is closed.
func (c *Client) Watch(ctx context.Context) (<-chan units.Touched, error) {
	w := &watcher{wake: make(chan struct{}, 1)}
	c.mu.Lock()
	c.watchers[w] = struct{}{}
	c.mu.Unlock()
	forget := func() {
		c.mu.Lock()
		delete(c.watchers, w)
		c.mu.Unlock()
	}
	conn, err := c.subscribe(ctx)
	if err != nil {
		forget()
		return nil, err
	}
	out := make(chan units.Touched)
	go func() {
		defer close(out)
		defer forget()
		for conn != nil {
			w.mark(func(t *touched) { t.all = true })
			if !w.deliver(ctx, c.closed, conn.Context(), out) {
				unsubscribe(conn)
				return
			}
			conn = c.subscribeAgain(ctx)
		}
	}()
	return out, nil
}

// rules are what a watch hears: our signals, and that the daemon came or went.
// dbus-daemon counts equal rules, so each watch has its own.
func rules() [][]dbus.MatchOption {
	return [][]dbus.MatchOption{
		{dbus.WithMatchSender(wire.BusName), dbus.WithMatchPathNamespace(wire.RootPath)},
		{dbus.WithMatchSender(busDaemon), dbus.WithMatchInterface(busDaemon), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, wire.BusName)},
	}
}

func (c *Client) subscribe(ctx context.Context) (*dbus.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	conn, err := c.connection(ctx)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules() {
		if err := conn.AddMatchSignalContext(ctx, rule...); err != nil {
			return nil, c.ended(err)
		}
	}
	return conn, nil
}

// subscribeAgain does it until it succeeds; nil when there is no more need.
func (c *Client) subscribeAgain(ctx context.Context) *dbus.Conn {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		if conn, err := c.subscribe(ctx); err == nil {
			return conn
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return nil
		case <-c.closed.Done():
			return nil
		}
	}
}

// unsubscribe takes back the rules of a watch that ended. If that fails, the
// connection is gone or will hear a little too much.
func unsubscribe(conn *dbus.Conn) {
	ctx, cancel := context.WithTimeout(conn.Context(), CallTimeout)
	defer cancel()
	for _, rule := range rules() {
		_ = conn.RemoveMatchSignalContext(ctx, rule...)
	}
}

// watcher is one watch. Signals mark, its goroutine delivers.
type watcher struct {
	mu      sync.Mutex
	touched touched
	wake    chan struct{} // has a value when touched has
}

func (w *watcher) mark(f func(*touched)) {
	w.mu.Lock()
	f(&w.touched)
	w.touched.bound()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// deliver hands on what was marked until the connection ends (true), or the
// watch does.
func (w *watcher) deliver(ctx, closed, conn context.Context, out chan<- units.Touched) bool {
	var waiting touched
	var ready chan<- units.Touched // out, while something waits
	for {
		select {
		case <-ctx.Done():
			return false
		case <-closed.Done():
			return false
		case <-conn.Done():
			return true
		case <-w.wake:
			w.mu.Lock()
			waiting.add(w.touched)
			w.touched = touched{}
			w.mu.Unlock()
			ready = out
		case ready <- waiting.list():
			waiting, ready = touched{}, nil
		}
	}
}

// touched is units.Touched in the making.
type touched struct {
	services map[units.ID]struct{}
	jobs     map[int64]struct{}
	all      bool
}

func (t *touched) object(path dbus.ObjectPath) {
	switch o := wire.ParsePath(path); o.Kind {
	case wire.KindService:
		if t.services == nil {
			t.services = map[units.ID]struct{}{}
		}
		t.services[o.Service] = struct{}{}
	case wire.KindJob:
		if t.jobs == nil {
			t.jobs = map[int64]struct{}{}
		}
		t.jobs[o.Job] = struct{}{}
	}
}

func (t *touched) add(more touched) {
	if t.services == nil {
		t.services = more.services
	} else {
		maps.Copy(t.services, more.services)
	}
	if t.jobs == nil {
		t.jobs = more.jobs
	} else {
		maps.Copy(t.jobs, more.jobs)
	}
	t.all = t.all || more.all
	t.bound()
}

func (t *touched) bound() {
	if t.all || len(t.services)+len(t.jobs) > maxTouched {
		*t = touched{all: true}
	}
}

func (t *touched) list() units.Touched {
	services := slices.SortedFunc(maps.Keys(t.services), func(a, b units.ID) int {
		return slices.Compare([]string{a.Context, a.Name}, []string{b.Context, b.Name})
	})
	return units.Touched{Services: services, Jobs: slices.Sorted(maps.Keys(t.jobs)), All: t.all}
}

// signals hears the signals of one connection. godbus calls it from its
// reader, so it must not wait: dbus.SignalHandler.
type signals struct{ *Client }

func (c *Client) signals() dbus.SignalHandler { return signals{c} }

func (s signals) DeliverSignal(_, member string, signal *dbus.Signal) {
	mark := func(t *touched) { t.object(signal.Path) }
	switch {
	case member == "NameOwnerChanged":
		mark = func(t *touched) { t.all = true }
	case (member == "InterfacesAdded" || member == "InterfacesRemoved") && len(signal.Body) > 0:
		// The object that came or went: D-Bus specification, ObjectManager.
		path, _ := signal.Body[0].(dbus.ObjectPath)
		mark = func(t *touched) { t.object(path) }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		w.mark(mark)
	}
}
