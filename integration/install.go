// Package integration shows that hero_proc does what it promises, in machines
// that run a real systemd and have it from its package, as its users do.
//
// What lives here is what the tests and the demonstration share: finding the
// package and installing it. The tests beside it each have one or more
// machines of their own (package machine). What never may: an import of
// hero_proc's insides. The tests see what an administrator sees: the packages,
// the command line, the bus, systemctl and the journal.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

// Package is the newest package of that kind ("deb" or "rpm") for this
// machine's architecture in a directory, as make packages leaves it there.
func Package(dist, kind string) (string, error) {
	pattern := map[string]string{
		"deb": "hero-proc_*_" + runtime.GOARCH + ".deb",
		"rpm": "hero-proc-*." + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + ".rpm",
	}[kind]
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil {
		return "", err
	}
	var newest os.FileInfo
	path := ""
	for _, f := range found {
		info, err := os.Stat(f)
		if err != nil {
			return "", err
		}
		if newest == nil || info.ModTime().After(newest.ModTime()) {
			newest, path = info, f
		}
	}
	if path == "" {
		return "", fmt.Errorf("there is no %s in %s; run: make packages", pattern, dist)
	}
	return path, nil
}

// Install installs a .deb with apt in a machine that is on, and returns what
// apt printed. The machine has no network, so all that the package depends on
// is there already, or apt fails.
func Install(ctx context.Context, m *machine.Machine, deb string) (string, error) {
	// Not under /root: apt reads it as another user.
	file := "/var/tmp/" + filepath.Base(deb)
	if err := m.CopyIn(ctx, deb, file); err != nil {
		return "", err
	}
	out, err := m.Output(ctx, "apt-get", "install", "--yes", "--quiet", file)
	if err != nil {
		return out, err
	}
	return out, Active(ctx, m, "hero_proc.service")
}

// Active is an error that says what a unit is, when that is not active.
func Active(ctx context.Context, m *machine.Machine, unit string) error {
	r, err := m.Run(ctx, "systemctl", "is-active", unit)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%s is %s, not active", unit, strings.TrimSpace(r.Stdout))
	}
	return err
}
