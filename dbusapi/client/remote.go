package client

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// DialHost connects to the system bus of another machine, as systemctl -H
// does: through ssh(1) and the systemd-stdio-bridge(1) over there. host is
// [user@]host[:port], an IPv6 address with a port in brackets. To the daemon
// the caller is the user who logged in there.
//
// ssh asks on the terminal for what it needs to know, so give ctx as long as a
// person takes.
func DialHost(ctx context.Context, host string) (*Client, error) {
	argv, err := sshCommand(host)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
		p, err := startPipe(argv)
		if err != nil {
			return nil, unreachable(host, "cannot run ssh: %w", err).WithRemedy("apt-get install openssh-client")
		}
		conn, err := wire.Over(ctx, p, wire.MaxMessage, opts...)
		if err != nil && ctx.Err() == nil {
			p.Close() // by now it has said all that it had to say
			if said := p.said(); said != "" {
				err = errors.New(said)
			}
			err = unreachable(host, "%w", err).WithRemedy(strings.Join(argv, " ") + " --version")
		}
		return conn, err
	})
	if err == nil {
		c.remote = true
	}
	return c, err
}

func unreachable(host, format string, err error) *units.Error {
	return units.Errorf(units.CodeNotRunning, "hero_proc on "+strings.ReplaceAll(host, "%", "%%")+" can't be reached: "+format, err)
}

// RemoteCommand is the command that runs another one on that host, by ssh, as
// the user who logs in there. host is as for [DialHost].
func RemoteCommand(host string, argv ...string) ([]string, error) {
	ssh, err := sshHost(host)
	for _, arg := range argv {
		// A shell over there takes it apart again.
		ssh = append(ssh, "'"+strings.ReplaceAll(arg, "'", `'\''`)+"'")
	}
	return ssh, err
}

// sshCommand is the command that systemctl runs too.
func sshCommand(host string) ([]string, error) {
	ssh, err := sshHost(host)
	if err != nil {
		return nil, err
	}
	return append(ssh, "systemd-stdio-bridge"), nil
}

// sshHost is how ssh is called, but for the command: no X11, no terminal. What
// ssh could take for an option or for more than one word is refused, though
// nothing of it meets a shell here: ssh has its own ideas of both.
func sshHost(host string) ([]string, error) {
	refuse := func(why string) ([]string, error) {
		return nil, units.Errorf(units.CodeInvalidArgument, "the host is %q, which %s; want [USER@]HOST[:PORT]", host, why)
	}
	user, name, hasUser := strings.Cut(host, "@")
	if !hasUser {
		user, name = "", host
	}
	port := ""
	if inside, after, ok := strings.Cut(strings.TrimPrefix(name, "["), "]"); ok && name[0] == '[' {
		name = inside
		if after != "" && after[0] != ':' {
			return refuse("has something behind the bracket")
		}
		port = strings.TrimPrefix(after, ":")
		if after == ":" {
			return refuse("has no port behind the colon")
		}
	} else if before, after, ok := strings.Cut(name, ":"); ok && !strings.Contains(after, ":") {
		if name, port = before, after; port == "" {
			return refuse("has no port behind the colon")
		}
	}
	switch {
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return refuse("has spaces in it")
	case strings.Contains(host, "/"):
		return refuse("names a container, which this can't reach")
	case name == "" || hasUser && user == "" || strings.ContainsAny(name, "[]"):
		return refuse("is not complete")
	case name[0] == '-' || hasUser && user[0] == '-':
		return refuse("looks like an option of ssh")
	}
	argv := []string{"ssh", "-xT"}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return refuse("has no port from 1 to 65535")
		}
		argv = append(argv, "-p", port)
	}
	if hasUser {
		name = user + "@" + name
	}
	return append(argv, "--", name), nil
}

// How long a program that has lost its standard input may take to end, before
// it is told to, and before it is killed.
const (
	patience = 200 * time.Millisecond
	grace    = 2 * time.Second
)

// pipe is a program's standard streams. It ends with the pipe, and is reaped.
type pipe struct {
	in, out *os.File
	errors  tail
	stop    context.CancelFunc
	done    chan struct{}
}

func startPipe(argv []string) (*pipe, error) {
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// What [exec.Cmd] would make is closed when the program ends, read or not.
	theirIn, in, err := os.Pipe()
	if err != nil {
		stop()
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		stop()
		return nil, errors.Join(err, theirIn.Close(), in.Close())
	}
	p := &pipe{in: in, out: out, stop: stop, done: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, &p.errors
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err = cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		stop()
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	go func() {
		_ = cmd.Wait() // why it ended stands on its standard error
		close(p.done)
	}()
	return p, nil
}

func (p *pipe) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close ends the program and returns when it has ended.
func (p *pipe) Close() error {
	_, _ = p.in.Close(), p.out.Close() // closing them again does nothing
	select {
	case <-p.done:
	case <-time.After(patience):
		p.stop()
		<-p.done
	}
	p.stop()
	return nil
}

// said is what the program wrote to its standard error, as one line.
func (p *pipe) said() string {
	p.errors.mu.Lock()
	defer p.errors.mu.Unlock()
	return strings.Join(strings.Fields(string(p.errors.text)), " ")
}

// maxSaid bounds what is kept of it, in bytes: the end tells more.
const maxSaid = 2 << 10

type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxSaid; over > 0 {
		t.text = bytes.Clone(t.text[over:])
	}
	return len(p), nil
}
