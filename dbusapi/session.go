package dbusapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	busDaemon = "org.freedesktop.DBus"
	// errNoOwner is the bus's answer about a connection that is gone.
	errNoOwner = busDaemon + ".Error.NameHasNoOwner"
)

// Bounds of one call.
const (
	callTimeout = 30 * time.Second
	waitTimeout = time.Hour
)

// maxKnown bounds the senders that are known, see [session.forgetIdle].
const maxKnown = 4096

// session serves the calls of one connection. It is the connection's
// dbus.Handler, in the place of godbus's own, which reads its map of objects
// unlocked, counts nothing and recovers from nothing.
type session struct {
	*Server
	ctx  context.Context // the server's
	live context.Context // ends before that when the connection breaks
	// beginning ends once what changes is told: nobody is answered before.
	beginning context.Context

	mu      sync.Mutex
	senders map[string]*presence
}

// presence is a sender that is on the bus, with calls in flight or a known user.
type presence struct {
	ctx    context.Context // ends when it leaves
	gone   context.CancelFunc
	inside int
	uid    uint32
	known  bool // uid is: it stays the same, and a unique name is given once
}

// attend is the sender's presence, until done.
func (s *session) attend(sender string) (p *presence, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.senders[sender]
	if p == nil {
		if len(s.senders) >= maxKnown {
			s.forgetIdle()
		}
		p = &presence{}
		p.ctx, p.gone = context.WithCancel(s.live)
		// A string that godbus makes keeps all of the message that it came with.
		s.senders[strings.Clone(sender)] = p
	}
	p.inside++
	return p, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.inside--; p.inside == 0 && !p.known && s.senders[sender] == p {
			s.forget(sender)
		}
	}
}

// forgetIdle forgets who has no call in flight. The bus lets fewer connections be
// than there have to be for that: it is for the signal that never came. It is called
// with mu held, as forget is.
func (s *session) forgetIdle() {
	for sender, p := range s.senders {
		if p.inside == 0 {
			s.forget(sender)
		}
	}
}

func (s *session) forget(sender string) {
	if p := s.senders[sender]; p != nil {
		p.gone()
		delete(s.senders, sender)
	}
}

// DeliverSignal hears who left. godbus calls it from its reader, so it must
// not wait: dbus.SignalHandler.
func (s *session) DeliverSignal(iface, member string, signal *dbus.Signal) {
	if signal.Sender != busDaemon || iface != busDaemon || member != "NameOwnerChanged" || len(signal.Body) != 3 {
		return
	}
	name, _ := signal.Body[0].(string)
	if owner, ok := signal.Body[2].(string); !ok || owner != "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(name)
}

// LookupObject and the lookups after it find everything: what there is, and
// how to say that there isn't, is decided in one place, [session.answer].
func (s *session) LookupObject(path dbus.ObjectPath) (dbus.ServerObject, bool) {
	return target{session: s, path: path}, true
}

// target is what a call names. It is dbus.ServerObject, dbus.Interface and
// dbus.Method at once.
type target struct {
	session       *session
	path          dbus.ObjectPath
	iface, member string // iface may be "": the member of any
}

func (t target) LookupInterface(iface string) (dbus.Interface, bool) {
	t.iface = iface
	return t, true
}

func (t target) LookupMethod(member string) (dbus.Method, bool) {
	t.member = member
	return t, true
}

func (t target) NumArguments() int     { return 0 }
func (t target) NumReturns() int       { return 0 }
func (t target) ArgumentValue(int) any { return nil }
func (t target) ReturnValue(int) any   { return nil }

// message is a call as it came in.
type message struct {
	*dbus.Message
	conn   *dbus.Conn
	sender string
}

func (m message) signature() string {
	s, _ := m.Headers[dbus.FieldSignature].Value().(dbus.Signature)
	return s.String()
}

// size is that of the encoded message, in bytes.
func (m message) size() (size counter) {
	_ = m.EncodeTo(&size, binary.LittleEndian)
	return size
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// DecodeArguments decodes nothing: it hands on the message, with who sent it.
func (t target) DecodeArguments(conn *dbus.Conn, sender string, msg *dbus.Message, _ []any) ([]any, error) {
	return []any{message{msg, conn, sender}}, nil
}

// Call answers a call, and has written the answer when it returns: what godbus
// would write afterwards could come too late for a connection that is closed
// once all calls are answered.
func (t target) Call(args ...any) ([]any, error) {
	msg := args[0].(message)
	defer t.session.gate.expect()()
	var h held
	defer h.release()
	out, err := t.session.answer(t, msg, &h)
	msg.reply(out, err)
	return nil, nil
}

// reply writes the answer to the call, or the error. Over a bus each call has a
// sender.
func (m message) reply(out []any, err error) {
	if m.Flags&dbus.FlagNoReplyExpected != 0 {
		return
	}
	m.Flags |= dbus.FlagNoReplyExpected // of godbus
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Body: out, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(m.sender),
		dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()),
	}}
	if err != nil {
		told := wire.ToError(err)
		reply.Type, reply.Body = dbus.TypeError, told.Body
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(told.Name)
	}
	if len(reply.Body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
	}
	m.conn.Send(reply, nil)
}

func (s *session) answer(t target, msg message, h *held) (out []any, err error) {
	log := s.Logger.With("path", t.path, "interface", t.iface, "member", t.member, "sender", msg.sender)
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("panic: %v", r)
			log = log.With("stack", string(debug.Stack()))
		}
		var protocol *dbus.Error
		if err != nil && units.CodeOf(err) == units.CodeInternal && !errors.As(err, &protocol) {
			log.Error("a call failed inside", "error", err)
		}
		s.counters.count(err)
	}()
	// Whatever becomes of the call, nothing that came with it stays open.
	files := s.Files.Take(msg.sender, msg.Serial())
	defer wire.CloseFiles(files)
	visit, err := s.gate.enter(msg.sender)
	if err != nil {
		return nil, err
	}
	defer visit.leave()
	if err := wire.Unread(msg.signature()); err != nil {
		return nil, err
	}

	object := wire.ParsePath(t.path)
	m, err := find(object, t.iface, t.member)
	if err != nil {
		return nil, err
	}
	if got, want := msg.signature(), m.in.signature(); got != want {
		return nil, units.Errorf(units.CodeInvalidArgument, "%s was called with %q; want %q", m.member, got, want)
	}
	if err := visit.carry(int(msg.size())); err != nil {
		return nil, err
	}
	caller, done := s.attend(msg.sender)
	defer done()
	uid, err := s.whoCalls(caller, msg)
	if err != nil {
		return nil, err
	}
	if err := visit.admit(uid); err != nil {
		return nil, err
	}
	<-s.beginning.Done()
	c := &call{Controller: s.Controller, server: s.Server, object: object, uid: uid, args: msg.Body, files: files, held: h, msg: msg, polkit: s.polkit, log: log}
	if err := c.authorise(caller.ctx, m); err != nil {
		return nil, err
	}
	// A change goes on when the caller leaves.
	parent, timeout := s.ctx, callTimeout
	if m.waits {
		parent, timeout = caller.ctx, waitTimeout
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	out, err = m.handle(ctx, c)
	if err != nil {
		return nil, ended(err, timeout)
	}
	// godbus panics, where nobody can recover, on what has no D-Bus type.
	if got, want := dbus.SignatureOf(out...).String(), m.out.signature(); got != want {
		return nil, fmt.Errorf("%s answered %q; want %q", m.member, got, want)
	}
	return out, nil
}

// whoCalls is the user whose connection the call came from. That it can't be
// told is no refusal of that user: to try again makes sense. The bus is asked
// at the first call of a sender; who has left before that is found out here.
func (s *session) whoCalls(caller *presence, msg message) (uint32, error) {
	s.mu.Lock()
	uid, known := caller.uid, caller.known
	s.mu.Unlock()
	if known {
		return uid, nil
	}
	ctx, cancel := context.WithTimeout(caller.ctx, callTimeout)
	defer cancel()
	uid, err := s.UID(ctx, msg.conn, msg.sender)
	var refused dbus.Error
	switch {
	case err == nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		caller.uid, caller.known = uid, true
		return uid, nil
	case errors.Is(err, context.DeadlineExceeded):
		return 0, units.Errorf(units.CodeTimeout, "the bus has not told within %v who calls: %w", callTimeout, err)
	case errors.Is(err, context.Canceled), errors.As(err, &refused) && refused.Name == errNoOwner:
		return 0, ended(context.Canceled, callTimeout)
	}
	return 0, units.Errorf(units.CodeUnavailable, "the bus can't tell who calls: %w", err)
}

// askUID asks the bus: D-Bus specification, GetConnectionUnixUser.
func askUID(ctx context.Context, conn *dbus.Conn, sender string) (uid uint32, err error) {
	err = conn.BusObject().CallWithContext(ctx, busDaemon+".GetConnectionUnixUser", 0, sender).Store(&uid)
	return uid, err
}

// ended gives an error that is only the end of the call's context its code.
func ended(err error, timeout time.Duration) error {
	var known *units.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return units.Errorf(units.CodeTimeout, "no answer within %v", timeout)
	case errors.Is(err, context.Canceled):
		return units.Errorf(units.CodeCanceled, "given up: the caller left, or hero_proc is stopping")
	}
	return err
}
