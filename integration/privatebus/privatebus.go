// Package privatebus starts a dbus-daemon of its own for a test, so that the
// real client and server code runs without root and never touches the host's
// bus.
package privatebus

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

const config = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
`

// Bus is a running dbus-daemon.
type Bus struct {
	// Address is what DBUS_SYSTEM_BUS_ADDRESS would hold.
	Address string

	t      testing.TB
	config string
	cmd    *exec.Cmd
}

// Start starts a bus that ends with the test. Everybody may own any name on it.
func Start(t testing.TB) *Bus {
	t.Helper()
	// t.TempDir can be too long for a socket's path (108 bytes).
	dir, err := os.MkdirTemp("", "bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &Bus{t: t, config: filepath.Join(dir, "bus.conf")}
	socket := filepath.Join(dir, "bus")
	if err := os.WriteFile(b.config, fmt.Appendf(nil, config, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Address = "unix:path=" + socket
	b.run()
	t.Cleanup(b.Stop)
	return b
}

func (b *Bus) run() {
	b.t.Helper()
	cmd := exec.Command("dbus-daemon", "--config-file="+b.config, "--nofork", "--nopidfile", "--nosyslog", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatalf("cannot start dbus-daemon (Debian package dbus-daemon): %v", err)
	}
	// The address is printed once the socket listens.
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "unix:") {
		b.t.Fatalf("dbus-daemon printed %q: %v", line, err)
	}
	b.cmd = cmd
}

// Stop ends the bus: every connection to it breaks.
func (b *Bus) Stop() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	b.cmd = nil
}

// Restart ends the bus and starts another one at the same address.
func (b *Bus) Restart() {
	b.t.Helper()
	b.Stop()
	_ = os.Remove(strings.TrimPrefix(b.Address, "unix:path="))
	b.run()
}

// Dial makes a connection of the caller's own.
func (b *Bus) Dial(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	return dbus.Connect(b.Address, append(opts, dbus.WithContext(ctx))...)
}

// Conn makes a connection that ends with the test.
func (b *Bus) Conn(opts ...dbus.ConnOption) *dbus.Conn {
	b.t.Helper()
	conn, err := b.Dial(context.Background(), opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return conn
}
