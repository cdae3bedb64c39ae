package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// trio is a service of three actions: a one-shot that has to finish before the
// process starts, and a process beside that one, which needs it ready.
func (g *guest) trio() {
	g.t.Helper()
	g.define(`{"name": "trio", "actions": [
		{"name": "migrate", "is_process": false, "exec": ["sleep", "0.3"]},
		{"name": "main", "exec": ["sleep", "infinity"], "ready": "exec:sleep 0.3", "depends_on": ["migrate"]},
		{"name": "sidecar", "exec": ["sleep", "infinity"], "depends_on": ["main"], "restart": "no"}]}`)
}

// define registers a service by its whole definition.
func (g *guest) define(definition string) {
	g.t.Helper()
	g.must(g.WriteFile(g.ctx, "/run/definition.json", strings.NewReader(definition), 0o644))
	g.hp("service", "set", "--file", "/run/definition.json")
}

const (
	trioMain    = "hero-core-trio.service"
	trioMigrate = "hero-core-trio@migrate.service"
	trioSidecar = "hero-core-trio@sidecar.service"
)

// reads is what a service reads as, and why.
func (g *guest) reads(name string) (state, reason string) {
	g.t.Helper()
	r := g.run("hero_proc", "service", "status", name, "--json")
	var answer struct {
		Service struct{ State, Reason string }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
		g.t.Fatalf("%v in %s%s", err, r.Stdout, r.Stderr)
	}
	return answer.Service.State, answer.Service.Reason
}

// All actions start in their order, one-shots to their end first; all stop;
// and a service with an action that is down says which.
func TestActionsOfAService(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.trio()
	// inOrder checks who waited for whom.
	inOrder := func(by string) {
		t.Helper()
		if done, began := g.usec(trioMigrate, "ExecMainExitTimestampMonotonic"), g.usec(trioMain, "ExecMainStartTimestampMonotonic"); done == 0 || began < done {
			t.Errorf("started by %s, the process began at %s, and the one-shot was done at %s", by, began, done)
		}
		if ready, began := g.usec(trioMain, "ActiveEnterTimestampMonotonic"), g.usec(trioSidecar, "ExecMainStartTimestampMonotonic"); began < ready {
			t.Errorf("started by %s, the sidecar began at %s, and the process was ready at %s", by, began, ready)
		}
	}
	g.hp("service", "start", "trio")
	g.active(trioMigrate, trioMain, trioSidecar)
	inOrder("hero_proc")
	if state, reason := g.reads("trio"); state != "running" {
		t.Errorf("with all of its actions up, the service is %s: %s", state, reason)
	}

	// The sidecar is not to be restarted, and the rest goes on.
	before := g.identity(trioMain)
	g.sh("systemctl kill --signal=KILL %s", trioSidecar)
	g.waitFor("the sidecar to be down", func() bool { return g.prop(trioSidecar, "ActiveState") == "failed" })
	state, reason := g.reads("trio")
	if want := `action "sidecar" is failed: signal (killed by signal 9, killed)`; state != "degraded" || reason != want {
		t.Errorf("without its sidecar the service is %s: %s; want degraded: %s", state, reason, want)
	}
	if list := g.hp("service", "list"); !strings.Contains(list, `action "sidecar" is failed`) {
		t.Errorf("service list does not say which action is down:\n%s", list)
	}
	if after := g.identity(trioMain); after != before {
		t.Errorf("the process beside it went from %s to %s", before, after)
	}
	// One that was stopped is down as well.
	g.sh("systemctl start %s && systemctl stop %s", trioSidecar, trioSidecar)
	if state, reason := g.reads("trio"); state != "degraded" || reason != `action "sidecar" is inactive` {
		t.Errorf("with its sidecar stopped the service is %s: %s", state, reason)
	}

	// A start brings back what is down, and leaves the rest alone.
	g.hp("service", "start", "trio")
	g.active(trioSidecar)
	if state, reason := g.reads("trio"); state != "running" {
		t.Errorf("with its sidecar started again the service is %s: %s", state, reason)
	}
	if after := g.identity(trioMain); after != before {
		t.Errorf("the process beside it went from %s to %s", before, after)
	}

	// A restart starts all of it anew, and the one-shot runs again.
	g.hp("service", "restart", "trio")
	g.active(trioMigrate, trioMain, trioSidecar)
	inOrder("a restart")
	g.hp("service", "stop", "trio")
	for _, u := range []string{trioMigrate, trioMain, trioSidecar} {
		if state := g.prop(u, "ActiveState"); state != "inactive" {
			t.Errorf("after the stop %s is %s", u, state)
		}
	}

	// systemctl starts and stops the whole of it too.
	g.sh("systemctl start %s", trioMain)
	g.waitFor("the sidecar", func() bool { return g.prop(trioSidecar, "ActiveState") == "active" })
	inOrder("systemctl")
	g.sh("systemctl stop %s", trioMain)
	g.waitFor("all to stop", func() bool {
		return g.prop(trioSidecar, "ActiveState") == "inactive" && g.prop(trioMigrate, "ActiveState") == "inactive"
	})
}

// A one-shot that fails keeps back what depends on it, and the service says so.
func TestActionThatFailsKeepsBackTheOthers(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.define(`{"name": "trio", "actions": [
		{"name": "migrate", "is_process": false, "exec": ["sh", "-c", "exit 4"]},
		{"name": "main", "exec": ["sh", "-c", "touch /run/main; exec sleep infinity"], "depends_on": ["migrate"]},
		{"name": "sidecar", "exec": ["sh", "-c", "touch /run/sidecar; exec sleep infinity"], "depends_on": ["main"]}]}`)
	r := g.run("hero_proc", "service", "start", "trio")
	if r.Exit != 1 || !strings.Contains(r.Stderr, `action "migrate" is failed: exit-code (exited with status 4)`) {
		t.Errorf("the start exits with %d: %s", r.Exit, r.Stderr)
	}
	for _, u := range []string{trioMain, trioSidecar} {
		if state := g.prop(u, "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s", u, state)
		}
	}
	if ran := g.sh("ls /run | grep -c -e ^main$ -e ^sidecar$ || true"); ran != "0" {
		t.Errorf("%s of the actions that depend on it were executed", ran)
	}
	if state, reason := g.reads("trio"); state != "blocked" && state != "failed" || !strings.Contains(reason, "migrate") {
		t.Errorf("the service is %s: %s", state, reason)
	}
}

// A stop returns once every action has stopped, also one that takes its time;
// a start once every one is up.
func TestControlWaitsForAllActions(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const slow = `trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done`
	g.define(fmt.Sprintf(`{"name": "pair", "actions": [
		{"name": "main", "exec": ["sleep", "infinity"]},
		{"name": "slow", "exec": ["sh", "-c", %q], "ready": "exec:sleep 1"}]}`, slow))
	for range 2 {
		g.hp("service", "start", "pair")
		g.active("hero-core-pair.service", "hero-core-pair@slow.service")
		g.hp("service", "stop", "pair")
		if state := g.prop("hero-core-pair@slow.service", "ActiveState"); state != "inactive" {
			t.Errorf("service stop has returned, and an action is %s", state)
		}
	}
}
