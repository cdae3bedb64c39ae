package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// host is shared by the tests: opening one sweeps, and the base is made once.
var host *Host

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		logf := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
		if host, err = Open(logf); err != nil {
			logf("%v", err)
			return 1
		}
		defer host.Close()
		return m.Run()
	}())
}

func newMachine(t *testing.T, layers Layers) *Machine {
	t.Helper()
	if layers == nil {
		var err error
		if layers, err = host.Base(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m, err := host.New(layers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func up(t *testing.T, m *Machine) {
	t.Helper()
	start := time.Now()
	if err := m.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("up after %s", time.Since(start).Round(time.Millisecond))
	if err := m.Running(t.Context()); err != nil {
		t.Fatal(err, m.Report(t.Context()))
	}
}

func output(t *testing.T, m *Machine, args ...string) string {
	t.Helper()
	out, err := m.Output(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestRebootKeepsTheDiskAndLosesRun(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	if err := m.WriteFile(t.Context(), "/var/lib/made/off", strings.NewReader("1"), 0o640); err != nil {
		t.Fatal(err)
	}
	up(t, m)
	if got := output(t, m, "stat", "-c", "%a %s", "/var/lib/made/off"); got != "640 1" {
		t.Errorf("a file written while the machine was off has mode and size %q, want 640 1", got)
	}
	first := output(t, m, "cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id")
	output(t, m, "touch", "/run/gone", "/var/lib/made/on")
	if err := m.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := output(t, m, "sh", "-c", "ls /run/gone /var/lib/made; true"); got != "/var/lib/made:\noff\non" {
		t.Errorf("after a reboot there are %q", got)
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	up(t, m)
	if got := output(t, m, "ls", "/var/lib/made"); got != "off\non" {
		t.Errorf("after a power cut there are %q", got)
	}
	if got := output(t, m, "tail", "-n1", "/etc/machine-id"); !strings.HasSuffix(first, got) {
		t.Errorf("machine-id was %q and is %q", first, got)
	}
}

func TestTwoMachinesAreApart(t *testing.T) {
	t.Parallel()
	a := newMachine(t, nil)
	if err := a.WriteFile(t.Context(), "/etc/layer", strings.NewReader("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	frozen, err := a.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	b, c := newMachine(t, frozen), newMachine(t, frozen)
	up(t, b)
	up(t, c)
	output(t, b, "systemd-run", "--unit=only-in-b", "sleep", "infinity")
	for _, m := range []*Machine{b, c} {
		if got := output(t, m, "cat", "/etc/layer"); got != "a" {
			t.Errorf("/etc/layer is %q, want what the frozen machine had", got)
		}
	}
	if b.boot.cgroup == c.boot.cgroup {
		t.Errorf("both machines are in control group %s", b.boot.cgroup)
	}
	if x, y := output(t, b, "cat", "/etc/machine-id"), output(t, c, "cat", "/etc/machine-id"); x == y {
		t.Errorf("both machines have machine-id %s", x)
	}
	p, err := c.Properties(t.Context(), "only-in-b.service", "LoadState", "ActiveState")
	if err != nil || p["LoadState"] != "not-found" || p["ActiveState"] != "inactive" {
		t.Errorf("the other machine's unit reads %v, %v", p, err)
	}
	groups := []string{b.boot.cgroup}
	if host.oldCgroups != "" { // both kinds are there
		groups = append(groups, host.oldCgroups+strings.TrimPrefix(b.boot.cgroup, host.cgroups))
	}
	for _, group := range groups {
		if _, err := os.Stat(group); err != nil {
			t.Error(err)
		}
	}
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		if _, err := os.Stat(group); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("control group %s after a power cut: %v", group, err)
		}
	}
	output(t, c, "systemctl", "is-active", "dbus.service")
}

func TestRunSaysHowACommandEnded(t *testing.T) {
	t.Parallel()
	m := newMachine(t, nil)
	up(t, m)
	r, err := m.Run(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 7")
	if want := (Result{"out\n", "err\n", 7}); err != nil || r != want {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Run(ctx, "sleep", "infinity"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command past its deadline: %v", err)
	}
}

// A machine whose program was killed is one whose lock nobody holds.
func TestSweepRemovesOnlyWhatNobodyHolds(t *testing.T) {
	t.Parallel()
	held, left := newMachine(t, nil), newMachine(t, nil)
	if err := syscall.Flock(int(left.lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := host.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the machine that was left behind: %v", err)
	}
	if _, err := os.Stat(held.dir); err != nil {
		t.Errorf("the machine that is in use: %v", err)
	}
}

func TestRecipe(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, release, suite string
		universe, fails      bool
	}{
		{name: "debian", release: "ID=debian\nVERSION_CODENAME=bookworm\n", suite: "bookworm"},
		{name: "ubuntu has redis in universe", release: "ID=ubuntu\nVERSION_CODENAME=\"noble\"\n", suite: "noble", universe: true},
		{name: "no codename", release: "ID=arch\n", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "os-release")
			if err := os.WriteFile(file, []byte(tc.release), 0o600); err != nil {
				t.Fatal(err)
			}
			suite, args, err := recipe(file, nil)
			if (err != nil) != tc.fails || suite != tc.suite {
				t.Fatalf("suite %q, %v", suite, err)
			}
			if got := strings.Contains(strings.Join(args, " "), "universe"); got != tc.universe {
				t.Errorf("universe: %v in %q", got, args)
			}
		})
	}
}
