package machine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// packages are what a machine has beside the essential ones: a system with a
// bus and polkit, and what the tests talk to and talk with.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "polkitd", "libpam-systemd",
	"redis-server", "redis-tools", "python3-dbus", "libglib2.0-bin", "procps",
}

// masked are units that a machine without a screen, a network and a future
// has no use for. Without them it is up in a third of the time.
var masked = []string{
	"getty.target", "console-getty.service", "systemd-networkd.service", "systemd-resolved.service",
	"systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
	"e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "motd-news.timer",
	"systemd-update-utmp.service", "redis-server.service",
}

// Hostname is every machine's name.
const Hostname = "hero"

// Base is the tree that all machines stand on: the host's own release, at its
// smallest, and with more packages where they are asked for. It is made once
// and kept in the cache; a changed recipe makes another one.
func (h *Host) Base(ctx context.Context, more ...string) (Layers, error) {
	if len(more) == 0 {
		return h.tree(ctx, nil)
	}
	return h.tree(ctx, func(string) (pkgs, hooks []string, err error) { return more, nil, nil })
}

// tree is a base tree, made if it is not there. more adds to its recipe.
func (h *Host) tree(ctx context.Context, more func(id string) (pkgs, hooks []string, err error)) (Layers, error) {
	suite, args, err := recipe("/etc/os-release", more)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strings.Join(args, "\x00")))
	dir := filepath.Join(h.dir, fmt.Sprintf("%s-%x", suite, sum[:6]))
	// Two runs at once: the second waits, and finds the tree of the first.
	l, err := lock(dir+".lock", syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if _, err := os.Stat(dir); err == nil {
		return Layers{dir}, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	h.log("making the base tree of the machines, once: %s with systemd (half a minute) …", suite)
	start := time.Now()
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(args, suite, tmp)...)
	// On Ctrl-C mmdebstrap unmounts what it has mounted in the tree.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make the base tree: mmdebstrap: %w\n%s", err, tail(out.String(), 40)), os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, dir); err != nil {
		return nil, err
	}
	h.log("… made in %s: %s", time.Since(start).Round(time.Second), dir)
	return Layers{dir}, nil
}

// recipe is the host's release, and the arguments of mmdebstrap that make its
// tree. Every one of them counts for the cache.
func recipe(osRelease string, more func(id string) (pkgs, hooks []string, err error)) (suite string, args []string, err error) {
	data, err := os.ReadFile(osRelease)
	if err != nil {
		return "", nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[k] = strings.Trim(v, `"'`)
		}
	}
	suite = fields["VERSION_CODENAME"]
	if suite == "" {
		return "", nil, fmt.Errorf("cannot make the base tree: %s names no VERSION_CODENAME; a Debian or Ubuntu release is needed", osRelease)
	}
	var pkgs, hooks []string
	if more != nil {
		if pkgs, hooks, err = more(fields["ID"]); err != nil {
			return "", nil, err
		}
	}
	args = []string{"--variant=minbase", "--mode=root", "--include=" + strings.Join(append(slices.Clone(packages), pkgs...), ",")}
	if fields["ID"] == "ubuntu" {
		args = append(args, "--components=main,universe") // redis-server is in universe
	}
	hook := func(command string) { args = append(args, "--customize-hook="+command) }
	hook(`chroot "$1" systemctl mask ` + strings.Join(masked, " "))
	hook(`echo ` + Hostname + ` >"$1/etc/hostname"`)
	for _, h := range hooks {
		hook(h)
	}
	return suite, args, nil
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
