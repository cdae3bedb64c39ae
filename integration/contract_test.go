package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// The contract that the fake systemd keeps in the tests of units/systemd is
// the real one's: the same tests run over it.
func TestRealSystemdKeepsTheContract(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "contract.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "../units/systemd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the contract test: %v\n%s", err, out)
	}
	g := newGuest(t, bare)
	g.on()
	g.must(g.CopyIn(g.ctx, binary, "/usr/local/bin/contract.test"))
	r := g.run("env", "HERO_PROC_TEST_SYSTEMD=real", "contract.test", "-test.v", "-test.timeout=80s")
	if r.Exit != 0 || !strings.Contains(r.Stdout, "--- PASS: TestUnloadAndRedefine") {
		t.Errorf("exit status %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

// An administrator's drop-in can make systemd refuse a unit that hero_proc
// could load before.
func TestDefinitionThatSystemdRefusesCostsOnlyItself(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	for _, name := range []string{"one", "bad", "two"} {
		g.set(name, sleeper, "--requires", "hero_db")
	}
	g.forget()
	g.sh(`mkdir -p /etc/systemd/system/hero-core-bad.service.d
		printf '[Service]\nExecStart=\n' >/etc/systemd/system/hero-core-bad.service.d/empty.conf`)
	g.reboot()
	g.active(daemon, heroDB, "hero-core-one.service", "hero-core-two.service")
	g.wantSilence()
	if found := g.found(); len(found) != 1 || !strings.Contains(found[units.EventDefinitionRefused], "core/bad") {
		t.Errorf("the boot has reported %v, want %s about core/bad alone", found, units.EventDefinitionRefused)
	}
	// What is mended can be started, without a restart of hero_proc.
	g.sh("rm -r /etc/systemd/system/hero-core-bad.service.d; systemctl daemon-reload")
	g.hp("service", "start", "bad")
	g.active("hero-core-bad.service")
}
