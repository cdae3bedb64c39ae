package wire

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
)

// taker answers calls of FilesMember: it writes to each descriptor that came
// along, and closes it.
type taker struct {
	echo
	files *Files
}

func (t taker) LookupObject(dbus.ObjectPath) (dbus.ServerObject, bool) { return t, true }
func (t taker) LookupInterface(string) (dbus.Interface, bool)          { return t, true }
func (t taker) LookupMethod(string) (dbus.Method, bool)                { return t, true }

func (t taker) DecodeArguments(_ *dbus.Conn, sender string, msg *dbus.Message, _ []any) ([]any, error) {
	fds := t.files.Take(sender, msg.Serial())
	defer CloseFiles(fds)
	for _, fd := range fds {
		if _, err := syscall.Write(fd, []byte("hello")); err != nil {
			return nil, dbus.MakeFailedError(err)
		}
	}
	return []any{int32(len(fds))}, nil
}

// openFiles are the descriptors of this process that are pipes.
func pipes(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && len(target) > 5 && target[:5] == "pipe:" {
			n++
		}
	}
	return n
}

// Not parallel: it counts the process's pipes.
func TestFileDescriptors(t *testing.T) {
	bus := privatebus.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var files Files
	server, err := DialFiles(ctx, bus.Address, MaxCall, &files, dbus.WithHandler(taker{files: &files}))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.RequestName("test.Taker", 0); err != nil {
		t.Fatal(err)
	}
	ours, err := Dial(ctx, bus.Address, MaxMessage)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // which also keeps it open until then
	fd := dbus.UnixFD(w.Fd())
	before := pipes(t)
	plain := bus.Conn()
	call := func(conn *dbus.Conn, method string, args ...any) (n int32, err error) {
		err = conn.Object("test.Taker", "/").CallWithContext(ctx, method, 0, args...).Store(&n)
		return n, err
	}
	member := ManagerInterface + "." + FilesMember
	def := map[string]dbus.Variant{"name": dbus.MakeVariant("x")}

	for name, conn := range map[string]*dbus.Conn{"ours": ours, "godbus's": plain} {
		n, err := call(conn, member, def, fd, fd, fd, uint64(0))
		if err != nil || n != 3 {
			t.Errorf("%s: the method got %d descriptors, %v; want 3", name, n, err)
		}
		got := make([]byte, 15)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "hellohellohello" {
			t.Errorf("%s: the pipe has %q, %v", name, got, err)
		}
	}
	// Everything else is closed, whatever it is and however much.
	refused := []struct {
		name   string
		method string
		args   []any
	}{
		{"another method", "test.Taker.Other", []any{def, fd, fd, fd, uint64(0)}},
		{"another signature", member, []any{def, fd, fd, uint64(0)}},
		{"in a variant", member, []any{map[string]dbus.Variant{"stdin": dbus.MakeVariant(fd)}}},
		{"an array", member, []any{[]dbus.UnixFD{fd, fd, fd}}},
		{"beside what takes none", "test.Taker.Other", []any{dbus.MakeVariant(fd)}},
	}
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			conn, err := bus.Dial(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range 50 {
				for _, tt := range refused {
					if n, err := call(conn, tt.method, tt.args...); n != 0 {
						t.Errorf("%s: taken: %d, %v", tt.name, n, err)
					}
					signal := conn.Emit("/x", "test.Signal.Files", fd)
					if signal != nil {
						t.Error(signal)
					}
				}
			}
		})
	}
	flood.Wait()
	if n, err := call(ours, member, def, fd, fd, fd, uint64(0)); err != nil || n != 3 {
		t.Errorf("after a flood the method got %d descriptors, %v; want 3", n, err)
	}
	for pipes(t) != before {
		if ctx.Err() != nil {
			t.Fatalf("%d pipes are open, there were %d", pipes(t), before)
		}
		time.Sleep(time.Millisecond)
	}
	files.mu.Lock()
	defer files.mu.Unlock()
	if len(files.waiting) != 0 {
		t.Errorf("descriptors wait for a call: %v", files.waiting)
	}
}

// Descriptors that can't go along are an error of who sends them: the message
// would name others, or none.
func TestFilesThatCannotGoAlong(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	conn, err := Dial(ctx, bus.Address, MaxMessage)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fd := dbus.UnixFD(0)
	for name, args := range map[string][]any{
		"an array":              {[]dbus.UnixFD{fd}},
		"a map":                 {map[string]dbus.UnixFD{"a": fd}},
		"a variant in a map":    {map[string]dbus.Variant{"a": dbus.MakeVariant(fd)}},
		"an array beside a one": {fd, []dbus.UnixFD{fd}},
	} {
		err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetId", 0, args...).Err
		if err == nil || !strings.Contains(err.Error(), "unix fd passing not enabled") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := conn.Emit("/", "test.Taker.Signal", fd); err == nil {
		t.Error("a signal: there is no error")
	}
}

func TestFilesAreBounded(t *testing.T) {
	t.Parallel()
	var files Files
	g := &guard{}
	fresh := func() []int {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return []int{fd}
	}
	for i := range maxWaiting {
		if !files.put(callID{":1.1", uint32(i)}, fresh(), g) {
			t.Fatalf("refused at %d", i)
		}
	}
	over := fresh()
	defer CloseFiles(over)
	if files.put(callID{":1.2", 1}, over, g) {
		t.Error("more than the limit is kept")
	}
	if !files.put(callID{":1.1", 7}, fresh(), g) {
		t.Error("one call's second set was refused")
	}
	for id, w := range files.waiting {
		w.since = w.since.Add(-2 * maxWait)
		files.waiting[id] = w
	}
	if !files.put(callID{":1.2", 2}, fresh(), g) || len(files.waiting) != 1 {
		t.Errorf("%d are kept after their time", len(files.waiting))
	}
	if fds := files.Take(":1.2", 3); fds != nil {
		t.Errorf("another call's descriptors were given away: %v", fds)
	}
	files.drop(g)
	if len(files.waiting) != 0 {
		t.Error("what came over a connection that is gone is kept")
	}
}
