package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Times that a holder has to end: a unit as its own definition says, a process
// from each signal.
const (
	unitTime    = 30 * time.Second
	processTime = 5 * time.Second
	pollTime    = 100 * time.Millisecond // after which it is seen that we are to stop
)

// end ends a holder, and says in words what was done.
func end(ctx context.Context, how ending, h holder, w what) (did string, err error) {
	if how == endUnit {
		return "unit " + h.unit + " was stopped", stopUnit(ctx, h.unit)
	}
	signal, err := endProcessOf(ctx, h.pid, w)
	return fmt.Sprintf("process %d was ended by %s", h.pid, signal), err
}

// systemctl is never looked for in the PATH: that is the service's, and may
// begin with a directory that the service's user can write to.
const systemctl = "/usr/bin/systemctl"

// stopUnit stops a unit as systemctl does, and waits until it has stopped.
func stopUnit(ctx context.Context, unit string) error {
	ctx, cancel := context.WithTimeout(ctx, unitTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, systemctl, "--no-ask-password", "--quiet", "stop", unit)
	cmd.Env = []string{} // ours is the service's, and we may be root when it is not
	out, err := cmd.CombinedOutput()
	switch text := strings.TrimSpace(string(out)); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s has not stopped in %s", unit, unitTime)
	case text != "":
		return fmt.Errorf("%s can't be stopped: %s", unit, printable(text))
	default:
		return fmt.Errorf("%s can't be stopped: %w", unit, err)
	}
}

// endProcessOf asks a process to end, and kills it if it does not. It must
// still have what it is ended for: another one may have its PID by now.
func endProcessOf(ctx context.Context, pid int, w what) (signal string, err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "itself", unlessGone(pid, err)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = process.Close() }() // nothing was written
	if !slices.ContainsFunc(holders(w.inodes), func(h holder) bool { return h.pid == pid && !h.handed }) {
		return "itself", nil
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		signal = unix.SignalName(sig)
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
			return signal, unlessGone(pid, err)
		}
		if gone(ctx, fd) {
			return signal, nil
		}
	}
	return signal, fmt.Errorf("process %d has not ended", pid)
}

// unlessGone is why a process can't be ended; nil if there is none any more.
func unlessGone(pid int, err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("process %d can't be ended: %w", pid, err)
}

// gone waits until the process has ended, for a while: its pidfd can be read
// then, also while nobody has waited for it.
func gone(ctx context.Context, pidfd int) bool {
	ctx, cancel := context.WithTimeout(ctx, processTime)
	defer cancel()
	for ctx.Err() == nil {
		poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, int(pollTime.Milliseconds())); n > 0 || err != nil && !errors.Is(err, syscall.EINTR) {
			return err == nil
		}
	}
	return false
}
