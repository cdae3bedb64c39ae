package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// What the script that stands for ssh is told, by the environment.
const (
	bridgeTo  = "TEST_BRIDGE_TO"  // this program is the bridge to that socket
	argsFile  = "TEST_SSH_ARGS"   // where ssh writes its arguments
	pidFile   = "TEST_SSH_PID"    // and its PID
	sshFails  = "TEST_SSH_FAILS"  // what it says before it fails
	testsSelf = "TEST_SSH_BRIDGE" // this program
)

// ssh is a script that stands for ssh(1): it becomes the bridge.
const ssh = `#!/bin/sh
printf '%s\n' "$@" >"$TEST_SSH_ARGS"
echo $$ >"$TEST_SSH_PID"
if [ -n "$TEST_SSH_FAILS" ]; then
	echo "$TEST_SSH_FAILS" >&2
	exit 255
fi
exec "$TEST_SSH_BRIDGE"
`

// bridge does between its standard streams and a bus what
// systemd-stdio-bridge(1) does.
func bridge(socket string) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		os.Exit(0)
	}()
	_, _ = io.Copy(os.Stdout, conn)
	os.Exit(0)
}

// fakeSSH puts the script in front of $PATH.
func fakeSSH(t *testing.T, address string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(ssh), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(testsSelf, self)
	t.Setenv(argsFile, filepath.Join(dir, "args"))
	t.Setenv(pidFile, filepath.Join(dir, "pid"))
	t.Setenv(bridgeTo, strings.TrimPrefix(address, "unix:path="))
}

func read(t *testing.T, variable string) string {
	t.Helper()
	text, err := os.ReadFile(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// reaped is an error when the process is still there, be it as a zombie.
func reaped(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/" + read(t, pidFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ssh is still there: %v", err)
	}
}

func TestDialHost(t *testing.T) {
	s := apitest.Start(t)
	fakeSSH(t, s.Address)
	ctx := testContext(t)
	c, err := client.DialHost(ctx, "root@hero:2222")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := read(t, argsFile), "-xT\n-p\n2222\n--\nroot@hero\nsystemd-stdio-bridge"; got != want {
		t.Errorf("ssh was called with %q; want %q", got, want)
	}
	if err := c.Set(ctx, definition(), false); err != nil {
		t.Fatal(err)
	}
	if status, err := c.Status(ctx, web); err != nil || status.Description != "the web" {
		t.Errorf("status is %+v, %v", status, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	reaped(t)
}

func TestDialHostAgain(t *testing.T) {
	s := apitest.Start(t)
	fakeSSH(t, s.Address)
	c, err := client.DialHost(testContext(t), "hero")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	changes, _ := watch(t, c)
	next(t, changes)
	first := read(t, pidFile)
	if err := syscall.Kill(atoi(t, first), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next(t, changes) // it is connected again
	if _, err := c.Health(testContext(t)); err != nil {
		t.Errorf("after ssh was killed: %v", err)
	}
	if again := read(t, pidFile); again == first {
		t.Error("no other ssh was started")
	}
}

func TestDialHostFails(t *testing.T) {
	fakeSSH(t, "unix:path=/nonexistent")
	const said = "root@hero: Permission denied (publickey)."
	t.Setenv(sshFails, said)
	_, err := client.DialHost(testContext(t), "hero")
	var e *units.Error
	if !errors.As(err, &e) || e.Code != units.CodeNotRunning || !strings.Contains(e.Message, said) || !strings.Contains(e.Remedy, "ssh -xT -- hero") {
		t.Errorf("ssh failed: error is %#v", err)
	}
	reaped(t)

	t.Setenv(sshFails, "")
	ended, end := context.WithCancel(testContext(t))
	end()
	if _, err := client.DialHost(ended, "hero"); units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("canceled: error is %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := client.DialHost(testContext(t), "hero"); units.CodeOf(err) != units.CodeNotRunning || !strings.Contains(err.Error(), "cannot run ssh") {
		t.Errorf("without ssh: error is %v", err)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host, name, port string // name "" is refused
	}{
		{host: "hero", name: "hero"},
		{host: "root@hero", name: "root@hero"},
		{host: "root@hero:22", name: "root@hero", port: "22"},
		{host: "fe80::1", name: "fe80::1"},
		{host: "root@[fe80::1]", name: "root@fe80::1"},
		{host: "root@[fe80::1]:22", name: "root@fe80::1", port: "22"},
		{host: ""}, {host: "@"}, {host: "@hero"}, {host: "root@"}, {host: "[]"}, {host: "["}, {host: "[::1]x"},
		{host: "-oProxyCommand=true"}, {host: "-oProxyCommand=true@hero"}, {host: "root@-oProxyCommand=true"}, {host: "root@[-x]"},
		{host: "hero systemctl"}, {host: "hero\nx"}, {host: "hero\x00"}, {host: "hero/container"},
		{host: "hero:"}, {host: "hero:0"}, {host: "hero:65536"}, {host: "hero:-1"}, {host: "hero:ssh"}, {host: "[::1]:"},
	} {
		argv, err := client.SSHCommand(tt.host)
		if tt.name == "" {
			if units.CodeOf(err) != units.CodeInvalidArgument {
				t.Errorf("%q: %q, %v; want it refused", tt.host, argv, err)
			}
			continue
		}
		want := []string{"ssh", "-xT"}
		if tt.port != "" {
			want = append(want, "-p", tt.port)
		}
		want = append(want, "--", tt.name, "systemd-stdio-bridge")
		if err != nil || !slices.Equal(argv, want) {
			t.Errorf("%q: %q, %v; want %q", tt.host, argv, err, want)
		}
	}
}
