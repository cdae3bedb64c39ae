// Package systemd is the adapter to PID 1: org.freedesktop.systemd1(5), over
// the system bus.
//
// What lives here is the ritual of talking to systemd: one connection that
// pins units and comes back when the bus does, a deadline on every call, the
// results of jobs, signals turned into "read that again", and systemd's words
// turned into the domain's types and error codes. What never may: a decision.
// What is to be started, and what a failure means, is its callers' business.
// No other package imports go-systemd's dbus.
package systemd

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	// callTimeout bounds every call, whatever time its caller has. systemd
	// answers nothing while it starts what one call has asked it to, which is
	// seconds where that is thousands of units.
	callTimeout = 20 * time.Second
	// maxCalls bounds the calls under way: the bus lets a connection wait for
	// 128 answers, dbus-daemon(1), max_replies_per_connection.
	maxCalls = 32
	// A lost connection is tried again after retryMin, then twice as long
	// each time, up to retryMax. dbus-daemon is back within some 30 ms of
	// its restart, and systemd on it some 20 ms later.
	retryMin = 20 * time.Millisecond
	retryMax = time.Second
)

// Options are what a [Manager] needs from outside. The zero value is the
// system bus and no logging.
type Options struct {
	// Dial makes a connection of its own to the bus that systemd is on; its
	// context is the connection's lifetime. The default is the system bus,
	// at DBUS_SYSTEM_BUS_ADDRESS when that is set. It may leave out of answers
	// what is not in [ReadProperties].
	Dial func(context.Context, ...dbus.ConnOption) (*dbus.Conn, error)
	// Logger gets what happens on the way, at debug level only.
	Logger *slog.Logger
}

// Manager is systemd, as hero_proc sees it. Its methods may be called from
// several goroutines.
//
// Units are pinned to its connection (AddRef=, RefUnit). When that breaks,
// pins are gone; [units.Changes] says so with Lost, and with Back once there
// is a new one. In between every call answers [units.CodeUnavailable] at once.
type Manager struct {
	dial    func(context.Context, ...dbus.ConnOption) (*dbus.Conn, error)
	log     *slog.Logger
	changes changes

	cancel context.CancelFunc
	done   chan struct{} // closed when keep has returned

	calls chan struct{} // has an element for each call under way

	mu      sync.Mutex
	session *session // nil while there is no connection
	version int
	booted  time.Time
}

// Connect connects to systemd. The context bounds the connecting, not the
// Manager's life, which ends with Close.
func Connect(ctx context.Context, opts Options) (*Manager, error) {
	m := &Manager{
		dial:    opts.Dial,
		log:     opts.Logger,
		changes: newChanges(),
		done:    make(chan struct{}),
		calls:   make(chan struct{}, maxCalls),
	}
	if m.dial == nil {
		m.dial = dialSystemBus
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	s, err := m.open(ctx)
	if err != nil {
		return nil, failure("connect to systemd", err)
	}
	m.session, m.version, m.booted = s, s.version, s.booted
	ctx, m.cancel = context.WithCancel(context.Background())
	go m.keep(ctx, s)
	return m, nil
}

// dialSystemBus authenticates by number: a look-up of the user's name would
// need a name service, which may well be one of the services to be started.
func dialSystemBus(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	auth := dbus.WithAuth(dbus.AuthExternal(strconv.Itoa(os.Getuid())))
	return dbus.ConnectSystemBus(append(opts, dbus.WithContext(ctx), auth)...)
}

// Close ends the connection: systemd unloads what was pinned and does not
// run. Units that run go on.
func (m *Manager) Close() {
	m.cancel()
	<-m.done
}

// Version is systemd's major version, as of the last connection.
func (m *Manager) Version() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}

// Booted is when systemd came up, as of the last connection: UserspaceTimestamp,
// org.freedesktop.systemd1(5).
func (m *Manager) Booted() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.booted
}

// Wake has an element when Take has something to say.
func (m *Manager) Wake() <-chan struct{} { return m.changes.wake }

// Take says what has changed since it was last called.
func (m *Manager) Take() units.Changes { return m.changes.take() }

// keep replaces the connection whenever it breaks.
func (m *Manager) keep(ctx context.Context, s *session) {
	defer close(m.done)
	for {
		select {
		case <-s.conn.Context().Done():
		case <-ctx.Done():
		}
		m.use(nil)
		s.close()
		if ctx.Err() != nil {
			return
		}
		m.log.Debug("connection to systemd lost, connecting again")
		m.changes.lose()
		if s = m.reopen(ctx); s == nil {
			return
		}
		m.use(s)
		m.log.Debug("connected to systemd again", "version", s.version)
		m.changes.regain()
	}
}

// reopen tries until systemd answers; it is nil when the context ends first.
func (m *Manager) reopen(ctx context.Context) *session {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		s, err := m.open(try)
		cancel()
		if err == nil {
			return s
		}
		m.log.Debug("systemd does not answer yet, trying again", "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Manager) use(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = s
	if s != nil {
		m.version, m.booted = s.version, s.booted
	}
}

// call runs f with the connection that there is, and a deadline. What is the
// message's "cannot …".
func (m *Manager) call(ctx context.Context, what string, f func(context.Context, *session) error) error {
	m.mu.Lock()
	s := m.session
	m.mu.Unlock()
	if s == nil {
		return failure(what, errNoConnection)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case m.calls <- struct{}{}:
		defer func() { <-m.calls }()
	case <-ctx.Done():
		return failure(what, ctx.Err())
	}
	if err := f(ctx, s); err != nil {
		return failure(what, err)
	}
	return nil
}
