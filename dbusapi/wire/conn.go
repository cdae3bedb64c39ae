package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// SystemBus is the address of the system bus, when $DBUS_SYSTEM_BUS_ADDRESS
// names no other: dbus-daemon(1).
const SystemBus = "unix:path=/run/dbus/system_bus_socket"

// DialTimeout bounds connecting, authentication and greeting together.
const DialTimeout = 10 * time.Second

// Longest messages, in bytes.
const (
	// MaxMessage is what the system bus takes: dbus-daemon(1),
	// max_message_size. It ends the connection of who sends a longer one.
	MaxMessage = 32 << 20
	// MaxCall is for the daemon to read: no call of ours comes near it, and
	// decoding costs many times a message's size in memory.
	MaxCall = 1<<20 + 4<<10
	// maxHead is for the header of a message that is not read.
	maxHead = 64 << 10
)

// Dial makes a connection of the caller's own to the bus at address, "" for
// the system bus, and greets it. ctx bounds the dialling alone. A message that
// is longer than longest bytes is not read; see [Unread].
//
// It is not dbus.Connect, because anybody on the bus may send a message to
// anybody, and what godbus v5.2.4 can't decode ends the connection or the
// process: an array of file descriptors panics in its reader, where nobody can
// recover, and an a{bs} breaks the connection. So this connection reads no
// message that godbus can't, and closes the file descriptors that it is sent.
// It sends those that a call has in it as dbus.UnixFD.
func Dial(ctx context.Context, address string, longest int64, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	return dial(ctx, address, longest, func(*guard) {}, opts...)
}

// DialFiles is [Dial] for who takes file descriptors: those that come with
// calls of [FilesMember], and no others, are put into files.
func DialFiles(ctx context.Context, address string, longest int64, files *Files, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	return dial(ctx, address, longest, func(g *guard) { g.taken = files }, opts...)
}

// DialKeeping is [Dial] for who asks objects for all of their properties (GetAll),
// and looks at some. Of each answer whose body is an a{sv}, whatever method it is
// of, only the entries of these names come.
func DialKeeping(ctx context.Context, address string, longest int64, names map[string]bool, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	return dial(ctx, address, longest, func(g *guard) { g.kept = names }, opts...)
}

func dial(ctx context.Context, address string, longest int64, set func(*guard), opts ...dbus.ConnOption) (*dbus.Conn, error) {
	if address == "" {
		address = os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	}
	if address == "" {
		address = SystemBus
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	var failed error
	for one := range strings.SplitSeq(address, ";") {
		socket, err := dialSocket(ctx, one)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		g := newGuard(socket, longest)
		if unix, ok := socket.(*net.UnixConn); ok {
			g.files = &receiver{UnixConn: unix}
			g.in.Reset(g.files)
		}
		set(g)
		return greet(ctx, g, opts)
	}
	return nil, fmt.Errorf("cannot connect to the bus: %w", failed)
}

// Over is [Dial] over a pipe that leads to a bus, as the standard streams of
// systemd-stdio-bridge(1) do. The connection owns the pipe and closes it.
//
// godbus leaves the identity of AUTH EXTERNAL empty, as sd-bus does. So a
// bridge, which can't see who writes to it, takes it; who calls is then the
// bridge's own user to the bus.
func Over(ctx context.Context, pipe io.ReadWriteCloser, longest int64, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	return greet(ctx, newGuard(pipe, longest), opts)
}

func dialSocket(ctx context.Context, address string) (net.Conn, error) {
	keys, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return nil, fmt.Errorf("bus address %q is not of a unix socket", address)
	}
	for key := range strings.SplitSeq(keys, ",") {
		name, value, _ := strings.Cut(key, "=")
		value, err := dbus.UnescapeBusAddressValue(value)
		if err != nil {
			return nil, fmt.Errorf("bus address %q: %w", address, err)
		}
		switch name {
		case "abstract":
			value = "@" + value
			fallthrough
		case "path":
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", value)
		}
	}
	return nil, fmt.Errorf("bus address %q has neither path nor abstract", address)
}

func greet(ctx context.Context, socket *guard, opts []dbus.ConnOption) (*dbus.Conn, error) {
	conn, err := dbus.NewConn(socket, append(opts, dbus.WithOutgoingInterceptor(socket.outgoing))...)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("cannot use the connection to the bus: %w", err)
	}
	// Auth and Hello take no context, but they end with the connection.
	undo := context.AfterFunc(ctx, func() { conn.Close() })
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if !undo() {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("cannot log in to the bus: %w", err)
	}
	return conn, nil
}

// guard is the socket as godbus sees it: after the authentication, which is
// lines of text, it reads whole messages, and those only that godbus can decode.
type guard struct {
	io.ReadWriteCloser
	in      *bufio.Reader
	longest int64
	frames  bool         // authentication is over
	frame   bytes.Buffer // what is still to be read of the message

	files  *receiver // nil for a pipe, which passes no file descriptors
	passes bool      // the bus has agreed to pass them
	taken  *Files    // those that somebody wants; nil for nobody

	kept map[string]bool // the names in an a{sv}; nil is all

	sendMu  sync.Mutex
	sending map[uint32]encodedMessage // by the serial of a message that is being sent; nil after Close
}

func newGuard(pipe io.ReadWriteCloser, longest int64) *guard {
	return &guard{ReadWriteCloser: pipe, in: bufio.NewReader(pipe), longest: longest, sending: map[uint32]encodedMessage{}}
}

// Close closes the descriptors that came and that nobody has taken, too.
func (g *guard) Close() error {
	err := g.ReadWriteCloser.Close()
	if g.files != nil {
		g.files.release()
	}
	g.taken.drop(g)
	g.sendMu.Lock()
	defer g.sendMu.Unlock()
	g.sending = nil
	return err
}

// errTooLong is of a type that makes godbus tell it to the caller.
const errTooLong = dbus.InvalidMessageError("longer than the bus takes")

// Write looks for the end of the authentication. godbus sends the line by
// itself, and reads again only after it; so it does each message. The error
// for one that is too long is of a type that makes an error of a reply.
func (g *guard) Write(p []byte) (int, error) {
	if len(p) > MaxMessage {
		return 0, errTooLong
	}
	if bytes.Equal(p, []byte("BEGIN\r\n")) {
		if g.files != nil {
			if err := g.negotiate(); err != nil {
				return 0, err
			}
		}
		g.frames = true
	}
	return g.write(p)
}

func (g *guard) Read(p []byte) (int, error) {
	if !g.frames {
		return g.in.Read(p)
	}
	for g.frame.Len() == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	return g.frame.Read(p)
}

// next reads a message: D-Bus specification, "Message Format".
func (g *guard) next() error {
	g.frame.Reset()
	if g.frame.Cap() > 64<<10 {
		g.frame = bytes.Buffer{} // one long message is no reason to keep the room
	}
	head, err := g.in.Peek(16)
	if err != nil {
		return err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'B' {
		order = binary.BigEndian
	}
	body, fields := int64(order.Uint32(head[4:])), int64(order.Uint32(head[12:]))
	start := 16 + (fields+7)/8*8 // of the body
	if start > maxHead {
		if g.files != nil {
			g.files.forget()
		}
		_, err := io.CopyN(io.Discard, g.in, start+body)
		return err
	}
	if _, err := io.CopyN(&g.frame, g.in, start); err != nil {
		return err
	}
	m, fds := g.received()
	// Closed by whoever takes them, or else here.
	defer func() { CloseFiles(fds) }()
	if start+body > g.longest {
		g.replace(start, tooLong)
		_, err := io.CopyN(io.Discard, g.in, body)
		return err
	}
	if _, err := io.CopyN(&g.frame, g.in, body); err != nil {
		return err
	}
	wanted := g.taken != nil && m.takesFiles()
	if wanted && decodable(g.frame.Bytes(), len(fds)) {
		if g.taken.put(callID{m.sender, m.serial}, fds, g) {
			fds = nil
			return nil
		}
		g.replace(start, crowded)
		return nil
	}
	if !decodable(g.frame.Bytes(), 0) {
		g.replace(start, undecodable)
	} else if g.kept != nil {
		g.frame.Truncate(keep(g.frame.Bytes(), int(start), g.kept))
	}
	return nil
}

// received is the header of the message that was begun, and the descriptors
// that came with it. Most come with none, and then there is no need to look.
func (g *guard) received() (m headFields, fds []int) {
	if g.files == nil || !g.files.waiting() {
		return m, nil
	}
	m, ok := headOf(g.frame.Bytes())
	if !ok {
		g.files.forget()
		return headFields{}, nil
	}
	return m, g.files.take(m.fds)
}

// replace puts into the place of a call that is not read one that says so, and
// nothing into that of any other message.
func (g *guard) replace(start int64, why string) {
	call := unread(g.frame.Bytes()[:start], why)
	g.frame.Reset()
	g.frame.Write(call)
}
