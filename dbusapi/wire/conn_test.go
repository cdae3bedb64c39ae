package wire

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
)

const deadline = 20 * time.Second

// echo answers every call with its arguments.
type echo struct{}

func (echo) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return echo{}, true }
func (echo) LookupInterface(string) (dbus.Interface, bool)          { return echo{}, true }
func (echo) LookupMethod(string) (dbus.Method, bool)                { return echo{}, true }
func (echo) Call(args ...any) ([]any, error)                        { return args, nil }
func (echo) NumArguments() int                                      { return 0 }
func (echo) NumReturns() int                                        { return 0 }
func (echo) ArgumentValue(int) any                                  { return nil }
func (echo) ReturnValue(int) any                                    { return nil }
func (echo) DecodeArguments(_ *dbus.Conn, _ string, _ *dbus.Message, args []any) ([]any, error) {
	return args, nil
}

// echoOn serves the echo on the bus as test.Echo, over a connection of [Dial].
func echoOn(t *testing.T, bus *privatebus.Bus) *privatebus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := Dial(ctx, bus.Address, MaxCall, dbus.WithHandler(echo{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.RequestName("test.Echo", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return bus
}

// Messages like these end a connection of dbus.Connect, or the whole process.
// The caller gets an answer, and the next one is served.
func TestHostileMessagesAreAnswered(t *testing.T) {
	t.Parallel()
	bus := echoOn(t, privatebus.Start(t))
	deep := dbus.MakeVariant("bottom")
	for range 60 {
		deep = dbus.MakeVariant(deep)
	}
	for _, tt := range []struct {
		name  string
		value any
	}{
		{name: "array of file descriptors", value: []dbus.UnixFD{0, 1, 2}},
		{name: "file descriptor", value: dbus.UnixFD(0)},
		{name: "map by file descriptor", value: map[string]dbus.UnixFD{"x": 0}},
		{name: "longer than any call", value: make([]byte, MaxCall+1)},
		{name: "deep", value: deep},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		if bus.Conn().Object("test.Echo", "/").CallWithContext(ctx, "test.Echo.Echo", 0, tt.value); ctx.Err() != nil {
			t.Errorf("%s: there was no answer", tt.name)
		}
		cancel()
		answers(t, bus, tt.name)
	}
	// godbus can't send a map by boolean, and breaks when it gets one.
	raw(t, bus, "a{bs}", map[uint32]string{1: "x"})
	answers(t, bus, "map by boolean")
}

func answers(t *testing.T, bus *privatebus.Bus, after string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var got string
	if err := bus.Conn().Object("test.Echo", "/").CallWithContext(ctx, "test.Echo.Echo", 0, "x").Store(&got); err != nil || got != "x" {
		t.Fatalf("after %s: the next call got %q, %v", after, got, err)
	}
}

// raw sends a call whose body has another signature than its Go type.
func raw(t *testing.T, bus *privatebus.Bus, signature string, body any) {
	t.Helper()
	conn := bus.Conn()
	msg := &dbus.Message{Type: dbus.TypeMethodCall, Flags: dbus.FlagNoReplyExpected, Body: []any{body}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant("test.Echo"),
		dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/")),
		dbus.FieldMember:      dbus.MakeVariant("Echo"),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.ParseSignatureMust(signature)),
	}}
	if err := conn.Send(msg, nil).Err; err != nil {
		t.Fatal(err)
	}
	// It is through when a later call of the same connection is.
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatalf("the bus did not take the message: %v", err)
	}
}

func TestDialAddresses(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	for _, tt := range []struct {
		name    string
		address string
		ok      bool
	}{
		{name: "path", address: bus.Address, ok: true},
		{name: "with a guid", address: bus.Address + ",guid=00000000000000000000000000000000", ok: true},
		{name: "the second one", address: "unix:path=/nonexistent;" + bus.Address, ok: true},
		{name: "no socket", address: "unix:path=/nonexistent"},
		{name: "another transport", address: "tcp:host=localhost,port=1"},
		{name: "no path", address: "unix:guid=0"},
		{name: "bad escape", address: "unix:path=%zz"},
		{name: "no address", address: "nonsense"},
	} {
		conn, err := Dial(context.Background(), tt.address, MaxMessage)
		if ok := err == nil; ok != tt.ok {
			t.Errorf("%s: error is %v", tt.name, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

func TestDialGivesUpOnASilentBus(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, "unix:path="+l.Addr().String(), MaxMessage); err == nil || ctx.Err() == nil {
		t.Errorf("error is %v, and the context's %v; want it to end with the context", err, ctx.Err())
	}
}

type speaker struct{}

func (speaker) Say(what []byte) (string, *dbus.Error) { return string(what), nil }

// An answer that D-Bus has no way to write is an error of the call.
func TestAnswersThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	server, err := Dial(ctx, bus.Address, MaxCall)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.Export(speaker{}, "/", "test.Speaker"); err != nil {
		t.Fatal(err)
	}
	say := func(what string) (said string, err error) {
		err = bus.Conn().Object(server.Names()[0], "/").CallWithContext(ctx, "test.Speaker.Say", 0, []byte(what)).Store(&said)
		return said, err
	}
	for _, what := range []string{"\xff", "a\x00b"} {
		if said, err := say(what); err == nil {
			t.Errorf("it said %q", said)
		}
		if said, err := say("well"); said != "well" || err != nil {
			t.Errorf("after that it said %q, %v", said, err)
		}
	}
}
