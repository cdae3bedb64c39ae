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
)

// Times that a holder has to end: a unit as its own definition says, a process
// from each signal.
const (
	unitTime    = 30 * time.Second
	processTime = 5 * time.Second
	pollTime    = 20 * time.Millisecond
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
	process, err := os.FindProcess(pid) // a pidfd
	if err != nil {
		return "itself", nil
	}
	defer func() { _ = process.Release() }()
	if !slices.ContainsFunc(holders(w.inodes), func(h holder) bool { return h.pid == pid }) {
		return "itself", nil
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if signal = "SIGTERM"; sig == syscall.SIGKILL {
			signal = "SIGKILL"
		}
		if err := process.Signal(sig); errors.Is(err, os.ErrProcessDone) {
			return signal, nil
		} else if err != nil {
			return signal, fmt.Errorf("process %d can't be ended: %w", pid, err)
		}
		if gone(ctx, process) {
			return signal, nil
		}
	}
	return signal, fmt.Errorf("process %d has not ended", pid)
}

// gone waits until the process has ended, for a while.
func gone(ctx context.Context, process *os.Process) bool {
	ctx, cancel := context.WithTimeout(ctx, processTime)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		if err := process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
