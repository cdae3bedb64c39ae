package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// found are the codes of what the boot has reported about the services, and
// the messages under each.
func (g *guest) found() map[units.EventCode]string {
	g.t.Helper()
	all := map[units.EventCode]string{}
	for _, e := range g.entries(units.SourceAutostart) {
		if e.Priority != "3" {
			g.t.Errorf("PRIORITY is %s, want 3: %s", e.Priority, e.Message)
		}
		if g.at(e) >= g.readyAt() {
			g.t.Errorf("reported after READY=1: %s", e.Message)
		}
		all[units.EventCode(e.Code)] += e.Message + "\n"
	}
	return all
}

func TestCycleAndMissingDependencyAreNamed(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	g.set("chicken", sleeper, "--requires", "egg")
	g.set("egg", sleeper, "--requires", "chicken")
	g.set("orphan", sleeper, "--requires", "nobody")
	g.set("child", sleeper, "--requires", "orphan")
	g.set("fine", sleeper, "--requires", "hero_db")
	g.forget()
	g.reboot()
	g.active(daemon, heroDB, "hero-core-fine.service")
	g.wantSilence()
	found := g.found()
	for _, want := range []struct {
		code  units.EventCode
		names []string
	}{
		{units.EventDependencyCycle, []string{"core/chicken", "core/egg"}},
		{units.EventDependencyMissing, []string{"core/orphan", "core/nobody"}},
	} {
		for _, name := range want.names {
			if !strings.Contains(found[want.code], name) {
				t.Errorf("%s does not name %s: %q", want.code, name, found[want.code])
			}
		}
	}
	for _, name := range []string{"chicken", "egg", "orphan", "child"} {
		if state := g.prop(fmt.Sprintf("hero-core-%s.service", name), "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s, want inactive: it can't have what it requires", name, state)
		}
		r := g.run("hero_proc", "service", "status", name)
		if r.Exit != 3 || !strings.Contains(r.Stdout, string(units.StateBlocked)) {
			t.Errorf("the status of %s (exit status %d) does not say blocked:\n%s", name, r.Exit, r.Stdout)
		}
	}
	// Once it has what it needs it starts, without a restart of hero_proc.
	g.set("nobody", sleeper)
	g.hp("service", "start", "child")
	g.active("hero-core-nobody.service", "hero-core-orphan.service", "hero-core-child.service")
}

func TestInvalidDefinitionCostsOnlyItself(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, spoil string
		code        units.EventCode
	}{
		{
			name:  "not JSON",
			spoil: `UPDATE actions SET definition = '{"exec": [' WHERE service_name = 'bad'`,
			code:  units.EventDefinitionInvalid,
		},
		{
			name:  "a key that this version does not know",
			spoil: `UPDATE actions SET definition = json_set(definition, '$.depend_on', json('["x"]')) WHERE service_name = 'bad'`,
			code:  units.EventDefinitionInvalid,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := boot(t)
			g.set("hero_db", redis, "--ready", "notify")
			for _, name := range []string{"one", "bad", "two"} {
				g.set(name, sleeper)
			}
			g.forget()
			g.must(g.PowerOff(g.ctx))
			g.sql(tc.spoil)
			g.on()
			g.active(daemon, heroDB, "hero-core-one.service", "hero-core-two.service")
			g.wantSilence()
			if found := g.found(); len(found) != 1 || !strings.Contains(found[tc.code], "core/bad") {
				t.Errorf("the boot has reported %v, want %s about core/bad alone", found, tc.code)
			}
			// The row is the operator's: it is there to be mended.
			if rows := g.sql("SELECT name FROM services WHERE name = 'bad'"); rows != "bad" {
				t.Errorf("the store has %q of the invalid service", rows)
			}
			g.hp("service", "remove", "bad")
			g.set("bad", sleeper, "--now")
			g.active("hero-core-bad.service")
		})
	}
}

const crowd = 50

// crowded registers and starts services, and returns what is to stay the same.
func crowded(t *testing.T) (g *guest, before string) {
	t.Helper()
	g = boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	g.sh("for i in $(seq %d); do hero_proc service set s$i --exec '%s' --requires hero_db; done", crowd-1, sleeper)
	// As an administrator would who has no time to name them all.
	g.sh("hero_proc service start hero_db $(seq -f s%%g %d)", crowd-1)
	before = g.identities()
	if n := strings.Count(before, "ActiveState=active"); n != crowd {
		t.Fatalf("%d services are active, want %d:\n%s", n, crowd, before)
	}
	return g, before
}

// identities is what stays the same of all services as long as nobody touches them.
func (g *guest) identities() string {
	g.t.Helper()
	all := strings.Split(g.sh("systemctl show --property=Id,ActiveState,MainPID,InvocationID,NRestarts 'hero-core-*.service'"), "\n\n")
	slices.Sort(all)
	return strings.Join(all, "\n\n")
}

// back waits until the daemon answers, and systemd calls it active.
func (g *guest) back() {
	g.t.Helper()
	g.waitFor("hero_proc to answer", func() bool {
		return g.run("systemctl", "is-active", daemon).Exit == 0 && g.run("hero_proc", "service", "list").Exit == 0
	})
}

// history is how many jobs each unit has in which phase.
func (g *guest) history() string {
	g.t.Helper()
	return g.sql("SELECT phase, COUNT(*), COUNT(DISTINCT unit) FROM jobs GROUP BY phase")
}

// recoveries is how often, in this boot, the daemon has brought the history up
// to date with all units.
func (g *guest) recoveries() int {
	g.t.Helper()
	g.sh("journalctl --sync")
	return strings.Count(g.sh("journalctl --boot --output=cat --unit=hero_proc"), "msg=recovered")
}

// What the services have to survive untouched: each of them is another way to
// lose the connection between hero_proc and systemd.
func TestServicesRunOn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, disturb string
		restarts      bool // the daemon is another process afterwards
	}{
		{name: "daemon killed", disturb: "systemctl kill --kill-whom=main --signal=KILL hero_proc", restarts: true},
		{name: "daemon restarted", disturb: "systemctl restart hero_proc", restarts: true},
		{name: "dbus restarted", disturb: "systemctl restart dbus"},
		{name: "daemon-reexec", disturb: "systemctl daemon-reexec"},
		{name: "daemon-reload", disturb: "systemctl daemon-reload"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g, before := crowded(t)
			main, recoveries := g.prop(daemon, "MainPID"), g.recoveries()
			g.sh("%s", tc.disturb)
			if tc.restarts {
				g.waitFor("another hero_proc", func() bool {
					p := g.prop(daemon, "MainPID")
					return p != "0" && p != main
				})
			}
			g.back()
			g.waitFor("hero_proc to have looked at all units again", func() bool { return g.recoveries() > recoveries })
			if after := g.prop(daemon, "MainPID"); !tc.restarts && after != main {
				t.Errorf("hero_proc is process %s, was %s: it should have lived through it", after, main)
			}
			if after := g.identities(); after != before {
				t.Errorf("services were stopped or restarted: they are\n%s\nwere\n%s", after, before)
			}
			if got, want := g.history(), fmt.Sprintf("running\t%d\t%d", crowd, crowd); got != want {
				t.Errorf("the history has phases, jobs and units %q, want %q: no gap and no double", got, want)
			}
			// It is still in charge: the units are held as before, also those
			// that are not running.
			g.waitFor("a stopped unit to stay loaded", func() bool {
				g.sh("systemctl stop hero-core-s1.service")
				return g.prop("hero-core-s1.service", "LoadState") == "loaded"
			})
			g.sh("systemctl start hero-core-s1.service")
			g.waitFor("hero_proc to see what systemctl did", func() bool {
				return g.run("hero_proc", "service", "status", "s1").Exit == 0
			})
		})
	}
}

// What ended while the daemon was down is in the history, as systemd saw it.
func TestHistoryOfWhatEndedMeanwhile(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("job", "/usr/bin/sh -c 'exec 3<>/run/wait; read line <&3; exit 7'", "--restart", "no")
	g.sh("mkfifo /run/wait")
	g.hp("service", "start", "job")
	g.sh("systemctl stop hero_proc")
	g.active("hero-core-job.service")
	g.sh("echo go >/run/wait")
	g.waitFor("the job to end", func() bool {
		return g.run("systemctl", "is-active", "--quiet", "hero-core-job.service").Exit != 0
	})
	g.sh("systemctl start hero_proc")
	history := strings.Split(g.sql("SELECT phase, exit_status FROM jobs WHERE unit = 'hero-core-job.service' ORDER BY id"), "\n")
	if history[0] != "failed\t7" {
		t.Errorf("the history of the service that ended with 7 is %q", history)
	}
}
