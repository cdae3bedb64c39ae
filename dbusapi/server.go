package dbusapi

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Options are what a [Server] needs. Only the controller has no default.
type Options struct {
	Controller Controller
	// Logger gets what the callers are not told; nil discards it.
	Logger *slog.Logger
	// Dial connects to the bus and greets it; nil is [wire.DialFiles] to the system
	// bus. Take wire.Dial in any case where not all who can reach the bus are trusted.
	Dial func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error)
	// Files is where Dial has put the file descriptors that come with calls,
	// see [wire.DialFiles]; nil is none, if there is a Dial.
	Files *wire.Files
	// LogControl is the daemon's own log; with nil its level can't be set.
	LogControl LogControl
	// UID tells whose connection sender is; nil asks the bus.
	UID func(ctx context.Context, conn *dbus.Conn, sender string) (uint32, error)
}

// Waits of the server itself.
const (
	minBackoff  = 20 * time.Millisecond
	maxBackoff  = time.Second
	busTimeout  = 10 * time.Second // a call of the bus daemon itself
	stopTimeout = 2 * time.Second  // calls in flight, when the server stops
)

// Server serves the API.
type Server struct {
	Options
	gate     *gate
	polkit   *authz.Polkit
	bulk     turns
	counters counters
	ready    chan struct{}
	held     sync.Once
}

// New makes a server. Nothing happens before [Server.Run].
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Files = &wire.Files{}
		o.Dial = func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
			return wire.DialFiles(ctx, "", wire.MaxCall, o.Files, opts...)
		}
	}
	if o.UID == nil {
		o.UID = askUID
	}
	if o.LogControl == nil {
		o.LogControl = noLogControl{}
	}
	return &Server{
		Options: o, gate: newGate(), polkit: authz.NewPolkit(),
		bulk: newTurns(), ready: make(chan struct{}),
	}
}

// Ready is closed once the name is held for the first time.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends, and then returns nil once the calls in flight
// are answered. When the bus goes away it connects again and takes the name
// again. It is an error if the name can't be had at the start: another daemon
// has it, or the bus has no policy for it. A server runs once.
func (s *Server) Run(ctx context.Context) error {
	backoff := minBackoff
	for {
		held, err := s.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var refused *units.Error
		if errors.As(err, &refused) && !s.wasHeld() {
			return err
		}
		level := slog.LevelDebug
		if held || backoff == minBackoff {
			backoff, level = minBackoff, slog.LevelWarn // once for each outage
		}
		s.Logger.Log(ctx, level, "the API is off the bus; connecting again", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (s *Server) wasHeld() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// serve serves one connection until it breaks, or ctx ends. held says that it
// had the name.
func (s *Server) serve(ctx context.Context) (held bool, err error) {
	lifetime, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	live, lost := context.WithCancel(lifetime)
	defer lost()
	beginning, begin := context.WithCancel(live)
	defer begin()
	sess := &session{Server: s, ctx: ctx, live: live, beginning: beginning, senders: map[string]*presence{}}
	// While it is dialled, the end of ctx is the end of the connection. Then
	// the calls in flight are still to be answered.
	undo := context.AfterFunc(ctx, hangUp)
	conn, err := s.Dial(lifetime, dbus.WithHandler(sess), dbus.WithSignalHandler(sess))
	if err != nil {
		return false, err
	}
	var telling sync.WaitGroup
	defer func() {
		lost()
		conn.Close() // whoever writes to it no longer can
		telling.Wait()
	}()
	if !undo() {
		return false, ctx.Err()
	}
	if err := takeName(ctx, conn); err != nil {
		return false, err
	}
	telling.Go(func() { s.tell(live, conn, beginning, begin) })
	s.held.Do(func() { close(s.ready) })
	select {
	case <-conn.Context().Done():
		return true, errors.New("the connection to the bus broke")
	case <-ctx.Done():
	}
	lost() // those who wait for a job are told that there is no more waiting
	select {
	case <-s.gate.close():
	case <-time.After(stopTimeout):
		s.Logger.Warn("calls are still in flight, ignoring", "after", stopTimeout)
	}
	return true, nil
}

func takeName(ctx context.Context, conn *dbus.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, busTimeout)
	defer cancel()
	// Who leaves the bus no longer waits for an answer. New owner "" is a
	// name that has gone: D-Bus specification, NameOwnerChanged.
	err := conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busDaemon), dbus.WithMatchInterface(busDaemon),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(2, ""))
	if err != nil {
		return err
	}
	var reply dbus.RequestNameReply
	err = conn.BusObject().CallWithContext(ctx, busDaemon+".RequestName", 0, wire.BusName, dbus.NameFlagDoNotQueue).Store(&reply)
	var refused dbus.Error
	switch {
	case errors.As(err, &refused) && refused.Name == units.CodeAccessDenied.Info().DBus:
		return units.Errorf(units.CodeAccessDenied, "the bus does not let hero_proc have the name %s: %w", wire.BusName, err).
			WithRemedy("run it as root, and see that the bus has its policy: /usr/share/dbus-1/system.d/" + wire.BusName + ".conf")
	case err != nil:
		return err
	case reply == dbus.RequestNameReplyPrimaryOwner:
		return nil
	}
	var pid uint32 // 0 if the bus can't tell
	_ = conn.BusObject().CallWithContext(ctx, busDaemon+".GetConnectionUnixProcessID", 0, wire.BusName).Store(&pid)
	return units.Errorf(units.CodeInUse, "another hero_proc owns %s (process %d)", wire.BusName, pid).
		WithRemedy("systemctl status hero_proc")
}
