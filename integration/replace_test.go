package integration

import (
	"fmt"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// A restart with a changed definition is a stop and a start, as systemd takes
// a new definition only for a unit that is down. These tests look into the
// time between the two.

const unitA = "hero-core-a.service"

// reluctant is a command that says when it has started, and that stops, when
// it is asked to, no sooner than it is let go.
const reluctant = `/usr/bin/sh -c 'trap "exec cat /run/gate" TERM; echo $$ >/run/reluctant; sleep infinity & wait'`

// gate makes what the command reluctant waits for.
func (g *guest) gate() {
	g.t.Helper()
	g.sh("mkfifo /run/gate")
}

// letGo lets a process that runs reluctant, and that is stopping, end.
func (g *guest) letGo() {
	g.t.Helper()
	g.sh("timeout 20 sh -c 'echo >/run/gate'")
}

// ready waits until the reluctant process of the unit is up.
func (g *guest) ready(unit string) {
	g.t.Helper()
	g.waitFor("the process of "+unit+" to be ready", func() bool {
		pid := g.prop(unit, "MainPID")
		return pid != "0" && g.sh("cat /run/reluctant 2>/dev/null || true") == pid
	})
}

// state waits until a unit is in a state.
func (g *guest) state(unit, state string) {
	g.t.Helper()
	g.waitFor(unit+" to be "+state, func() bool { return g.prop(unit, "ActiveState") == state })
}

// jobs is the history of a unit, the oldest first.
func (g *guest) jobs(unit string) []string {
	g.t.Helper()
	out := g.sql("SELECT r.origin, j.phase FROM jobs j JOIN runs r ON r.id = j.run_id WHERE j.unit = '" + unit + "' ORDER BY j.id")
	return strings.Split(strings.ReplaceAll(out, "\t", " "), "\n")
}

// replacing is a machine where service a is stopping, because it is being
// restarted with a changed definition. Service b is ordered after it.
func replacing(t *testing.T) *guest {
	t.Helper()
	g := boot(t)
	g.gate()
	g.set("a", reluctant, "--now")
	g.set("b", sleeper, "--after", "a", "--now")
	g.ready(unitA)
	g.set("a", sleeper, "--env", "CHANGED=yes")
	g.hp("service", "restart", "a", "--no-wait")
	g.state(unitA, "deactivating")
	return g
}

func TestRestartBringsWhatWasChanged(t *testing.T) {
	t.Parallel()
	g := replacing(t)
	b := g.identity("hero-core-b.service")
	g.letGo()
	g.state(unitA, "active")
	if env := g.prop(unitA, "Environment"); env != "CHANGED=yes" {
		t.Errorf("after the restart the environment is %q", env)
	}
	if after := g.identity("hero-core-b.service"); after != b {
		t.Errorf("b, which is only ordered after a, is %s, was %s", after, b)
	}
}

func TestStopDuringARestartWins(t *testing.T) {
	t.Parallel()
	const onTheBus = "busctl --no-pager list --unique | grep -c ' asks.service ' || true"
	for _, tc := range []struct{ command, asked string }{
		{"stop --no-wait a", "echo 0"}, // it ends when it has
		{"remove --stop a", onTheBus},
		{"disable --now a", "journalctl --sync; journalctl --boot --output=cat --unit=asks | grep -c '^disabled' || true"},
	} {
		t.Run(tc.command, func(t *testing.T) {
			t.Parallel()
			g := replacing(t)
			g.sh("systemd-run --quiet --unit=asks --property=Type=exec --property=RemainAfterExit=yes hero_proc service %s", tc.command)
			// Those that wait for the end of the stop have asked for it by then.
			g.waitFor("the command to have asked", func() bool {
				return g.prop("asks.service", "SubState") != "running" || g.sh("%s", tc.asked) != "0"
			})
			g.hp("service", "status", "b") // asked later, answered later
			g.letGo()
			g.waitFor("the command to end", func() bool { return g.prop("asks.service", "SubState") != "running" })
			if result := g.prop("asks.service", "Result"); result != "success" {
				t.Errorf("it ended with %s: %s", result, g.sh("journalctl -b -o cat -u asks"))
			}
			g.waitFor("the jobs of a to end", func() bool {
				return g.sql("SELECT count(*) FROM jobs WHERE unit = '"+unitA+"' AND ended_at IS NULL") == "0"
			})
			if state, job := g.prop(unitA, "ActiveState"), g.prop(unitA, "Job"); state != "inactive" || job != "" && job != "0" {
				t.Errorf("a is %s, with job %q", state, job)
			}
			if jobs := g.jobs(unitA); jobs[len(jobs)-1] != "api canceled" {
				t.Errorf("the history of a is %q, want the restart canceled", jobs)
			}
			if load := g.prop(unitA, "LoadState"); strings.HasPrefix(tc.command, "remove") && load != "not-found" {
				t.Errorf("the unit of the removed service is %s", load)
			}
		})
	}
}

func TestRestartSurvivesLossOfTheBus(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.gate()
	g.set("a", reluctant, "--now")
	g.set("c", sleeper, "--requires", "a", "--now")
	g.ready(unitA)
	g.set("a", sleeper, "--env", "CHANGED=yes")
	g.hp("service", "restart", "a", "--no-wait")
	g.state(unitA, "deactivating")
	g.sh("systemctl restart dbus")
	g.letGo()
	g.state(unitA, "active")
	if env := g.prop(unitA, "Environment"); env != "CHANGED=yes" {
		t.Errorf("after the restart the environment is %q", env)
	}
	g.state("hero-core-c.service", "active") // stopped with a
}

func TestRestartAfterAnActionIsRemoved(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.gate()
	const side = "hero-core-a@side.service"
	define := func(actions string) {
		t.Helper()
		g.must(g.WriteFile(g.ctx, "/root/a.json", strings.NewReader(`{"name": "a", "actions": [`+actions+`]}`), 0o644))
		g.hp("service", "set", "--file", "/root/a.json")
	}
	main := fmt.Sprintf(`{"name": "main", "exec": %q}`, sleeper)
	define(main + fmt.Sprintf(`, {"name": "side", "exec": %q}`, reluctant))
	g.hp("service", "start", "a")
	g.ready(side)
	before := g.prop(unitA, "InvocationID")
	define(main)
	g.hp("service", "restart", "a", "--no-wait")
	g.state(side, "deactivating")
	g.letGo()
	g.waitFor("a to be started again", func() bool {
		id := g.prop(unitA, "InvocationID")
		return id != "" && id != before && g.prop(unitA, "ActiveState") == "active"
	})
	g.waitFor("the unit of the removed action to be gone", func() bool { return g.prop(side, "LoadState") == "not-found" })
}

// A start limit is for what systemd does by itself.
func TestRestartByHandAlwaysTries(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("a", sleeper, "--now")
	for i := range 8 { // systemd's limit is 5 in 10 s
		if r := g.run("hero_proc", "service", "restart", "a"); r.Exit != 0 {
			t.Fatalf("restart %d ends with status %d and %q", i, r.Exit, r.Stderr)
		}
	}
	g.active(unitA)
}

// What systemd keeps starting in vain gets its mended definition at once.
func TestSetMendsWhatKeepsFailing(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("a", "/usr/bin/false", "--restart", "always", "--restart-delay", "5m")
	g.run("hero_proc", "service", "start", "a")
	g.waitFor("systemd to wait before it starts a again", func() bool { return g.prop(unitA, "SubState") == "auto-restart" })
	g.set("a", sleeper)
	g.state(unitA, "active")
	if r := g.run("hero_proc", "service", "status", "a"); r.Exit != 0 || !strings.Contains(r.Stdout, string(units.StateRunning)) {
		t.Errorf("the status (exit status %d) is\n%s", r.Exit, r.Stdout)
	}
	g.waitFor("the history to have it", func() bool {
		jobs := g.jobs(unitA)
		return jobs[len(jobs)-1] == "api running"
	})
}

// A service that is to be a definition only keeps its unit while it runs.
func TestDefinitionOnlyTakesTheUnitAway(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("a", sleeper, "--now")
	before := g.identity(unitA)
	g.set("a", sleeper, "--status", string(units.WantedSpec))
	if after := g.identity(unitA); after != before {
		t.Errorf("a is %s, was %s", after, before)
	}
	g.hp("service", "stop", "a")
	g.waitFor("the unit to be gone", func() bool { return g.prop(unitA, "LoadState") == "not-found" })
	if r := g.run("hero_proc", "service", "start", "a"); r.Exit == 0 {
		t.Errorf("a definition only can be started: %s", r.Stdout)
	}
}
