// Package machine makes throw-away machines that run a real systemd, with
// systemd-nspawn(1), for tests and demonstrations.
//
// What lives here is a machine's life: its base tree, its disk (an overlay, so
// that a hundred machines share one tree), power on, power off and power cut,
// and ways to run and to ask something inside. What never may: a word about
// hero_proc's own behaviour, or an import of package testing; both belong to
// the callers.
//
// It needs root. A machine has its own network (loopback alone), its own
// control group and its own mount namespace; the host's are not touched.
// Whatever happens to the program that made it, the machine ends with it, and
// the next [Open] takes away what was left on the disk.
package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Logf is told, in words for people, what takes long.
type Logf func(format string, args ...any)

// Layers are directories that lie on top of each other, the topmost first.
type Layers []string

// Host is this program's place for machines on the host.
type Host struct {
	dir     string // base trees, and machines/
	cgroups string // where cgroup2 is mounted
	// oldCgroups is where systemd's own hierarchy of the old kind is; "" is nowhere.
	oldCgroups string
	log        Logf

	mu       sync.Mutex
	machines map[*Machine]struct{}
	closed   bool
}

// needed are the programs that this package calls, and the Debian packages
// that they are in.
var needed = []struct{ program, pkg string }{
	{"systemd-nspawn", "systemd-container"},
	{"mmdebstrap", "mmdebstrap"},
	{"nsenter", "util-linux"},
	{"unshare", "util-linux"},
	{"mount", "mount"},
	{"chroot", "coreutils"},
}

// Open makes ready to have machines, and takes away what programs that were
// killed have left behind. Trees are cached in the user's cache directory.
func Open(log Logf) (*Host, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("cannot make machines: systemd-nspawn needs root; run this as root")
	}
	var missing []string
	for _, n := range needed {
		if _, err := exec.LookPath(n.program); err != nil && !slices.Contains(missing, n.pkg) {
			missing = append(missing, n.pkg)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("cannot make machines: programs are missing; run: apt-get install %s", strings.Join(missing, " "))
	}
	cgroups, old, err := cgroupMounts()
	if err != nil {
		return nil, fmt.Errorf("cannot make machines: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		// A service's environment, and that of a bare CI, has no HOME.
		cache = "/root/.cache"
	}
	h := &Host{dir: filepath.Join(cache, "hero_proc"), cgroups: cgroups, oldCgroups: old, log: log, machines: map[*Machine]struct{}{}}
	if strings.ContainsAny(h.dir, ":,\\") {
		return nil, fmt.Errorf("cannot make machines in %s: an overlay takes no path with a colon, comma or backslash; set XDG_CACHE_HOME", h.dir)
	}
	if err := os.MkdirAll(h.machinesDir(), 0o700); err != nil {
		return nil, err
	}
	return h, h.sweep()
}

// UntilInterrupted is a context that ends when somebody ends the program, by
// Ctrl-C or with its terminal: a program with machines has to take them away. Under
// nohup(1) it outlives the terminal.
func UntilInterrupted() (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signal.NotifyContext(context.Background(), signals...)
}

func (h *Host) machinesDir() string { return filepath.Join(h.dir, "machines") }

// Close cuts the power of all machines and takes away all that is theirs. It
// may be called at any time, as from a handler of signals; afterwards no
// machine starts any more.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	all := h.machines
	h.machines = map[*Machine]struct{}{}
	h.mu.Unlock()
	var errs []error
	for m := range all {
		errs = append(errs, m.remove())
	}
	return errors.Join(errs...)
}

// lock takes a file lock that ends with the program, however that ends.
func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return f, nil
}

// lockMachines keeps a sweep of one program from seeing the half-made machine
// of another.
func (h *Host) lockMachines() (*os.File, error) {
	return lock(filepath.Join(h.dir, "machines.lock"), syscall.LOCK_EX)
}

// sweep removes the machines whose program is gone: nobody holds their locks.
func (h *Host) sweep() error {
	all, err := h.lockMachines()
	if err != nil {
		return err
	}
	defer all.Close()
	entries, err := os.ReadDir(h.machinesDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(h.machinesDir(), e.Name())
		own, err := lock(filepath.Join(dir, "lock"), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return err
		}
		err = errors.Join(h.removeCgroup(context.Background(), h.cgroup(e.Name())), os.RemoveAll(dir))
		own.Close()
		if err != nil {
			return fmt.Errorf("cannot remove the machine that an earlier run left in %s: %w", dir, err)
		}
		h.log("removed a machine that an earlier run had left in %s", dir)
	}
	return nil
}
