package systemd

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

const (
	busName     = "org.freedesktop.DBus"
	systemdName = "org.freedesktop.systemd1"
	systemdPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	managerName = systemdName + ".Manager"
	unitsPath   = systemdPath + "/unit"
)

// session is one connection to systemd, from its start to its end.
type session struct {
	conn    *dbus.Conn     // pins units, and hears signals
	manager dbus.BusObject // systemd's Manager, on conn
	sd      *sddbus.Conn   // go-systemd's calls, on conn
	version int
	booted  time.Time // when it came up
	jobs    jobs
	pins    pins
	// hushed says that the changes of units are not told; hushing is held while that
	// changes.
	hushed  bool
	hushing sync.Mutex
	begun   time.Time
	made    atomic.Int64 // keepers so far, for the name of the next one
	changes *changes
	log     *slog.Logger
	end     context.CancelFunc // of the connections' lifetime
	// owner is systemd's unique name. Only signals from it count: every
	// local user may send us signals of any name. It is written by open, and
	// from then on by listen alone.
	owner string
}

// open connects, subscribes, and asks systemd for its version; so a session
// that is there is one that works.
func (m *Manager) open(ctx context.Context) (_ *session, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	life, end := context.WithCancel(context.Background())
	// godbus knows no deadline for connecting, but gives up with the
	// connection's own context.
	stop := context.AfterFunc(ctx, end)
	s := &session{changes: &m.changes, log: m.log, end: end, begun: time.Now()}
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			s.close()
			if ctx.Err() != nil {
				err = ctx.Err()
			}
		}
	}()
	// NewConnection dials twice: the first connection is for calls and so the
	// one that pins, the second is for go-systemd's signals, which we don't
	// use (see jobs).
	s.sd, err = sddbus.NewConnection(func() (*dbus.Conn, error) {
		conn, err := m.dial(life, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
		if s.conn == nil {
			s.conn = conn
		}
		return conn, err
	})
	if err != nil {
		return nil, err
	}
	s.manager = s.conn.Object(systemdName, systemdPath)
	signals := make(chan *dbus.Signal, 64)
	s.conn.Signal(signals)
	if err := s.subscribe(ctx); err != nil {
		return nil, err
	}
	var version, booted dbus.Variant
	if err := s.property(ctx, "Version").Store(&version); err != nil {
		return nil, err
	}
	text, _ := version.Value().(string)
	s.version = majorVersion(text)
	// In a container the kernel's own start is that of its host.
	if err := s.property(ctx, "UserspaceTimestamp").Store(&booted); err != nil {
		return nil, err
	}
	µs, _ := booted.Value().(uint64)
	s.booted = instant(µs)
	go s.listen(signals)
	return s, nil
}

// subscribe asks for the signals of systemd, and for those about its name. Not
// for UnitNew: a unit that nobody has started yet has nothing to tell.
// One match for all units: one each would meet the bus's limit of 512. When a
// unit changes systemd tells of it twice, as of a service and then as of a unit;
// once will do.
func (s *session) subscribe(ctx context.Context) error {
	for _, match := range [][]dbus.MatchOption{
		{dbus.WithMatchSender(busName), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, systemdName)},
		ofManager("UnitRemoved"), ofManager("JobRemoved"), ofManager("Reloading"),
		ofUnits,
	} {
		if err := s.conn.AddMatchSignalContext(ctx, match...); err != nil {
			return err
		}
	}
	// After a restart of the bus, systemd comes a little later than we do.
	// Calling it then would be an activation, and wait for its failure.
	if err := s.conn.BusObject().CallWithContext(ctx, busName+".GetNameOwner", 0, systemdName).Store(&s.owner); err != nil {
		return err
	}
	return s.resubscribe(ctx)
}

// ofUnits are the changes of all units.
var ofUnits = []dbus.MatchOption{
	dbus.WithMatchSender(systemdName), dbus.WithMatchPathNamespace(unitsPath), dbus.WithMatchMember("PropertiesChanged"), dbus.WithMatchArg(0, systemdName+".Unit"),
}

// Hush has systemd's changes of units told no more, until Listen: where very many
// are to come, telling of each would take as long as making them. How jobs end is
// told all the same. With a new connection all is told again.
func (m *Manager) Hush(ctx context.Context) error {
	return m.call(ctx, "hush", func(ctx context.Context, s *session) error { return s.hush(ctx, true) })
}

// Listen ends Hush. What has changed until then is not told.
func (m *Manager) Listen(ctx context.Context) error {
	return m.call(ctx, "listen", func(ctx context.Context, s *session) error { return s.hush(ctx, false) })
}

func (s *session) hush(ctx context.Context, hush bool) (err error) {
	s.hushing.Lock()
	defer s.hushing.Unlock()
	switch {
	case s.hushed == hush:
		return nil
	case hush:
		s.hushed = true // also where the answer is late
		return s.conn.RemoveMatchSignalContext(ctx, ofUnits...)
	default:
		err = s.conn.AddMatchSignalContext(ctx, ofUnits...)
		s.hushed = err != nil
		return err
	}
}

// ofManager is one of systemd's own signals: of each job there is one more than
// what anybody here wants to know.
func ofManager(member string) []dbus.MatchOption {
	return []dbus.MatchOption{dbus.WithMatchSender(systemdName), dbus.WithMatchInterface(managerName), dbus.WithMatchMember(member)}
}

func (s *session) resubscribe(ctx context.Context) error {
	err := s.call(ctx, "Subscribe").Err
	if isDBus(err, systemdName+".AlreadySubscribed") {
		return nil
	}
	return err
}

// property reads a property of the Manager.
func (s *session) property(ctx context.Context, name string) *dbus.Call {
	const get = "org.freedesktop.DBus.Properties.Get"
	return s.manager.CallWithContext(ctx, get, dbus.FlagNoAutoStart, managerName, name)
}

// call calls a method of the Manager that go-systemd lacks.
func (s *session) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return s.manager.CallWithContext(ctx, managerName+"."+method, dbus.FlagNoAutoStart, args...)
}

// close ends the connections, and with them every job's channel.
func (s *session) close() {
	s.end()
	if s.sd != nil {
		s.sd.Close()
	} else if s.conn != nil {
		s.conn.Close()
	}
	s.jobs.close()
}

// listen handles signals in the order they came, until the connection ends.
func (s *session) listen(signals <-chan *dbus.Signal) {
	for signal := range signals {
		s.handle(signal)
	}
}

func (s *session) handle(signal *dbus.Signal) {
	fromBus := signal.Sender == busName
	if !fromBus && signal.Sender != s.owner {
		return
	}
	var id uint32
	var path dbus.ObjectPath
	var unit, result string
	var reloading bool
	switch {
	case fromBus:
		var name, before, after string
		if signal.Name == busName+".NameOwnerChanged" && dbus.Store(signal.Body, &name, &before, &after) == nil && name == systemdName {
			s.replaced(after)
		}
	case signal.Name == "org.freedesktop.DBus.Properties.PropertiesChanged":
		s.changes.mark(unitName(signal.Path))
	case signal.Name == managerName+".UnitRemoved":
		if dbus.Store(signal.Body, &unit, &path) == nil {
			s.changes.mark(strings.Clone(unit)) // see word
		}
	case signal.Name == managerName+".JobRemoved":
		if dbus.Store(signal.Body, &id, &path, &unit, &result) == nil {
			unit, result = strings.Clone(unit), strings.Clone(result)
			s.changes.over(unit, result) // first, so that it is there when the waiting one looks
			s.jobs.finish(id, result)
		}
	case signal.Name == managerName+".Reloading":
		if dbus.Store(signal.Body, &reloading) == nil {
			s.changes.hold(reloading)
		}
	}
}

// replaced is called when systemd's name has a new owner: PID 1 has executed
// itself again (daemon-reexec). It keeps units, jobs, pins and subscriptions;
// Subscribe is asked again all the same, as without it we would be deaf.
func (s *session) replaced(owner string) {
	s.log.Debug("systemd has a new name on the bus", "before", s.owner, "after", owner)
	s.owner = owner
	if owner == "" {
		return // it will be back; until then the bus refuses our calls
	}
	ctx, cancel := context.WithTimeout(s.conn.Context(), callTimeout)
	defer cancel()
	if err := s.resubscribe(ctx); err != nil {
		s.log.Debug("cannot subscribe to systemd's signals again, connecting anew", "error", err)
		s.end()
		return
	}
	s.changes.hold(false)
}

// unitPath is the object path of a unit.
func unitPath(name string) dbus.ObjectPath {
	return unitsPath + "/" + dbus.ObjectPath(sddbus.PathBusEscape(name))
}

// unitName is the unit of an object path. systemd escapes what is not a
// letter or digit, as _ and two hexadecimal digits; a path that is not so
// made is nobody's.
func unitName(path dbus.ObjectPath) string {
	label, ok := strings.CutPrefix(string(path), string(unitsPath)+"/")
	if !ok {
		return ""
	}
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(label, "_")
		b.WriteString(plain)
		if !found {
			return b.String()
		}
		if len(rest) < 2 {
			return ""
		}
		c, err := strconv.ParseUint(rest[:2], 16, 8)
		if err != nil {
			return ""
		}
		b.WriteByte(byte(c))
		label = rest[2:]
	}
}
