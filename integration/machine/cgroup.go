package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Each machine needs a control group of its own: systemd-nspawn puts the
// guest below the group that it finds itself in, so two machines started from
// one group would be one tree to two systemds. cgroups(7).

// cgroupMounts are where the unified hierarchy lies, on hosts that have the old
// hierarchies too below /sys/fs/cgroup, and of the latter systemd's own, if there
// is one: systemd-nspawn makes the guest's groups in both.
func cgroupMounts() (unified, old string, err error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(mounts)) {
		switch f := strings.Fields(line); {
		case len(f) < 4:
		case f[2] == "cgroup2" && unified == "":
			unified = f[1]
		case f[2] == "cgroup" && slices.Contains(strings.Split(f[3], ","), "name=systemd"):
			old = f[1]
		}
	}
	if unified == "" {
		err = errors.New("cgroup2 is not mounted; run: mount -t cgroup2 none /sys/fs/cgroup")
	}
	return unified, old, err
}

// cgroup is the directory of a machine's own group, on a host without systemd.
func (h *Host) cgroup(id string) string { return filepath.Join(h.cgroups, "hero_proc-machine-"+id) }

// hostHasSystemd is sd_booted(3).
func hostHasSystemd() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// ownCgroup changes a command that was not started yet so that it runs in a
// control group of its own. done is to be called once it was started.
func (h *Host) ownCgroup(id string, cmd *exec.Cmd) (done func(), err error) {
	if hostHasSystemd() {
		// The host's systemd owns the tree, so it is asked for a piece of it.
		// systemd-run executes the command in its own place: the PID stays.
		path, err := exec.LookPath("systemd-run")
		if err != nil {
			return nil, err
		}
		run := []string{path, "--quiet", "--scope", "--collect", "--unit=hero_proc-machine-" + id, "--property=Delegate=yes", "--"}
		cmd.Path, cmd.Args = path, append(run, cmd.Args...)
		return func() {}, nil
	}
	dir := h.cgroup(id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	return func() { f.Close() }, nil
}

// cgroupOf is the directory of the group that a process is in.
func (h *Host) cgroupOf(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(h.cgroups, path), nil
		}
	}
	return "", fmt.Errorf("process %d is in no unified control group", pid)
}

// removeCgroup ends all processes of a group and removes it with the groups
// below, in the old hierarchy too. A group that is not there is no error.
func (h *Host) removeCgroup(ctx context.Context, dir string) error {
	// An error is no matter: the group is not there, or will be waited for in vain.
	_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	return WaitFor(ctx, "the control group "+dir+" to be empty and gone", func() (bool, error) {
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		switch {
		case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV): // it is gone
		case err != nil || !bytes.Contains(events, []byte("populated 0")):
			return false, err
		}
		gone := removeGroups(dir)
		if name, below := strings.CutPrefix(dir, h.cgroups); below && h.oldCgroups != "" {
			gone = removeGroups(h.oldCgroups+name) && gone
		}
		return gone, nil
	})
}

// removeGroups removes groups without processes. It is true once nothing is there.
func removeGroups(dir string) bool {
	var groups []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	for _, g := range slices.Backward(groups) {
		_ = os.Remove(g)
	}
	_, err := os.Stat(dir)
	return errors.Is(err, os.ErrNotExist)
}

// interval of all polling: for things that send no event to wait for.
const interval = 20 * time.Millisecond

// patience of waiting, where the caller has set no deadline.
const patience = 30 * time.Second

// WaitFor asks until the answer is yes. It gives up at the context's deadline,
// or after half a minute where it has none, and says what it waited for.
func WaitFor(ctx context.Context, what string, cond func() (bool, error)) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		yes, err := cond()
		if yes && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited for %s in vain: %w", what, ctx.Err()), err)
		case <-tick.C:
		}
	}
}
