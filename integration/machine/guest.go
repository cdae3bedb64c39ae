package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// Result is what a command did.
type Result struct {
	Stdout, Stderr string
	Exit           int // -1 when a signal ended it
}

// environment of commands in the guest: the same everywhere.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive",
}

// Command is a command in the machine, run by its root, not started yet. In a
// machine that is off it runs with the machine's disk as its root directory,
// and with none of the machine's services.
func (m *Machine) Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	run := append(append([]string{"env", "-i", "--chdir=/"}, environment...), args...)
	if leader := m.leader(); leader != 0 {
		run = append([]string{"nsenter", "--target", strconv.Itoa(leader), "--all", "--"}, run...)
	} else {
		if err := m.cleanWork(); err != nil {
			return nil, err
		}
		run = m.withDisk(append([]string{"chroot", m.root()}, run...)...)
	}
	cmd := exec.CommandContext(ctx, run[0], run[1:]...)
	// A process that the command has left in the guest may hold the pipes.
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// Run runs a command in the machine to its end. A command that fails is a
// result; an error is a command that could not be run, or not to its end.
func (m *Machine) Run(ctx context.Context, args ...string) (Result, error) {
	return m.run(ctx, nil, args...)
}

func (m *Machine) run(ctx context.Context, stdin io.Reader, args ...string) (Result, error) {
	cmd, err := m.Command(ctx, args...)
	if err != nil {
		return Result{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("%s: %w", strings.Join(args, " "), ctx.Err())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{}, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, nil
}

// Output is the standard output of a command; failing is an error.
func (m *Machine) Output(ctx context.Context, args ...string) (string, error) {
	r, err := m.Run(ctx, args...)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%s: exit status %d\n%s", strings.Join(args, " "), r.Exit, r.Stdout+r.Stderr)
	}
	return r.Stdout, err
}

// WriteFile writes a file in the machine, with the directories above it.
func (m *Machine) WriteFile(ctx context.Context, name string, data io.Reader, mode os.FileMode) error {
	script := `mkdir -p "$1" && cat >"$2" && chmod "$3" "$2"`
	r, err := m.run(ctx, data, "sh", "-c", script, "sh", path.Dir(name), name, strconv.FormatUint(uint64(mode.Perm()), 8))
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("cannot write %s in the machine: %s", name, r.Stderr)
	}
	return err
}

// CopyIn copies a file of the host into the machine.
func (m *Machine) CopyIn(ctx context.Context, hostFile, name string) error {
	f, err := os.Open(hostFile)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return m.WriteFile(ctx, name, f, info.Mode())
}

// Running is an error that names the failed units, if there are any.
func (m *Machine) Running(ctx context.Context) error {
	r, err := m.Run(ctx, "systemctl", "is-system-running", "--wait")
	if err != nil || r.Exit == 0 {
		return err
	}
	failed, err := m.Output(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
	return errors.Join(fmt.Errorf("the machine is %s, with failed units:\n%s", strings.TrimSpace(r.Stdout), failed), err)
}

// Properties are properties of a unit as systemctl(1) show prints them.
func (m *Machine) Properties(ctx context.Context, unit string, names ...string) (map[string]string, error) {
	out, err := m.Output(ctx, "systemctl", "show", "--property="+strings.Join(names, ","), "--", unit)
	if err != nil {
		return nil, err
	}
	props := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			props[k] = v
		}
	}
	return props, nil
}

// Report is what one wants to see of a machine in which something went wrong:
// the failed units, those that are asked for, and the end of the journal.
func (m *Machine) Report(ctx context.Context, units ...string) string {
	if m.leader() == 0 {
		return "the machine is off\n"
	}
	var b strings.Builder
	for _, args := range [][]string{
		{"systemctl", "list-units", "--failed", "--plain", "--no-legend"},
		// There may be thousands of units.
		append([]string{"sh", "-c", `systemctl status --no-pager --full --lines=0 -- "$@" | head -n 400`, "status"}, units...),
		// What the bus refused may be thousands of lines.
		{"sh", "-c", "journalctl --boot --no-pager --output=short-precise --lines=5000 | grep -v 'Rejected send message' | tail -n 60 | cut -c 1-300"},
	} {
		r, err := m.Run(ctx, args...)
		fmt.Fprintf(&b, "--- %s\n%s%s", strings.Join(args, " "), r.Stdout, r.Stderr)
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	return b.String()
}
