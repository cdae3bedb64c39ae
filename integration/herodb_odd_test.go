package integration

import (
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Boots that meet hero_db, or what is around it, in an odd state.

func TestHeroDBWhoseDependencyFailsLate(t *testing.T) {
	t.Parallel()
	g := boot(t)
	// It fails when hero_db's own start has been waiting for it for a while.
	g.set("broken", "/usr/bin/sh -c 'sleep 1; exit 5'", "--oneshot")
	g.set("hero_db", sleeper, "--requires", "broken")
	g.forget()
	g.reboot()
	g.wantEvent(units.EventDependencyFailed, "hero-core-broken.service")
}

func TestHeroDBThatFailsIsStartedOnceABoot(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const bystander = "hero-core-bystander.service"
	g.set("hero_db", "/usr/bin/no_such_program", "--restart", "no")
	g.set("bystander", "/usr/bin/no_such_program", "--restart", "no")
	g.forget()
	g.reboot()
	g.wantEvent(units.EventStartFailed, "203/EXEC")
	g.state(bystander, "failed")
	for _, unit := range []string{heroDB, bystander} {
		g.waitFor("the history to have the failure of "+unit, func() bool {
			jobs := g.jobs(unit)
			return strings.HasSuffix(jobs[len(jobs)-1], " failed")
		})
		if jobs := g.jobs(unit); len(jobs) != 1 {
			t.Errorf("the history of %s is %q, want one job", unit, jobs)
		}
		// systemd's own entry for a unit that is being started: sd-messages(3).
		starts := strings.Fields(g.sh("journalctl --boot --output=cat --output-fields=UNIT _PID=1 UNIT=%s MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5", unit))
		if len(starts) != 1 {
			t.Errorf("systemd has started %s %d times", unit, len(starts))
		}
	}
}

func TestHeroDBThatIsStoppingComesUpAgain(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.gate()
	g.set("hero_db", reluctant, "--now")
	g.ready(heroDB)
	g.forget()
	before := g.prop(heroDB, "InvocationID")
	g.sh("systemctl stop --no-block %s", heroDB)
	g.state(heroDB, "deactivating")
	g.sh("systemctl restart --no-block hero_proc")
	g.waitFor("hero_proc to wait for hero_db", func() bool {
		return strings.Contains(g.prop(daemon, "StatusText"), "Waiting for core/hero_db")
	})
	g.letGo()
	g.back()
	g.active(heroDB)
	if after := g.prop(heroDB, "InvocationID"); after == "" || after == before {
		t.Errorf("hero_db has the invocation %q, and had it before", after)
	}
	if errors := g.rows(units.SourceHeroDB, units.LevelError); len(errors) > 0 {
		t.Errorf("the logs table has %+v", errors)
	}
	// How the one ended that was stopped meanwhile, the journal tells.
	var jobs []string
	g.waitFor("the history of hero_db", func() bool {
		jobs = g.jobs(heroDB)
		return slices.Equal(jobs, []string{"api canceled", "boot running"})
	})
}

// A mask is an administrator's word against the store's: it costs the masked
// service alone, and is lifted where it was made.
func TestHeroDBThatIsMasked(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	g.set("bystander", sleeper)
	g.set("web", sleeper, "--requires", "hero_db")
	g.sh("systemctl mask %s", heroDB)
	g.forget()
	g.reboot()
	g.active(daemon, "hero-core-bystander.service")
	entries := g.entries(units.SourceHeroDB)
	if len(entries) != 1 {
		t.Fatalf("the journal has %+v, want one entry", entries)
	}
	e := entries[0]
	if e.Code != string(units.EventDefinitionRefused) || !strings.Contains(e.Message, "mask") || !strings.Contains(e.Remediation, "systemctl unmask "+heroDB) {
		t.Errorf("the journal has %+v, want %s naming the mask", e, units.EventDefinitionRefused)
	}
	// What it says to do helps.
	g.forget()
	g.sh("%s", e.Remediation)
	g.active(daemon, heroDB)
	g.state("hero-core-web.service", "active")
	if rows := g.rows(units.SourceHeroDB, units.LevelError); len(rows) > 0 {
		t.Errorf("unmasked, the logs table has %+v", rows)
	}
}

func TestOfTwoThatConflictOneRuns(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	g.set("red", sleeper, "--conflicts", "blue")
	g.set("blue", sleeper)
	g.forget()
	g.reboot()
	g.active(daemon, heroDB)
	g.wantSilence()
	if states := g.sh("systemctl show --property=ActiveState --value hero-core-red.service hero-core-blue.service"); strings.Count(states, "inactive") != 1 {
		t.Errorf("the two are %q, want one to run", strings.Fields(states))
	}
	found := g.found()
	for _, name := range []string{"core/red", "core/blue"} {
		if len(found) != 1 || !strings.Contains(found[units.EventConflict], name) {
			t.Errorf("the boot has reported %v, want %s naming %s", found, units.EventConflict, name)
		}
	}
	if n := strings.Count(found[units.EventConflict], "\n"); n != 1 {
		t.Errorf("one conflict is reported %d times: %q", n, found[units.EventConflict])
	}
}

// The line that systemctl status shows is about now, not about the boot.
func TestStatusLineFollows(t *testing.T) {
	t.Parallel()
	g := boot(t)
	says := func(words string) {
		t.Helper()
		g.waitFor("the status to say "+words, func() bool { return strings.Contains(g.prop(daemon, "StatusText"), words) })
	}
	says("hero_db: not-registered")
	g.set("hero_db", redis, "--ready", "notify", "--now")
	says("hero_db: running, 1 running")
	g.sh("systemctl stop %s", heroDB)
	says("hero_db: inactive, 1 inactive")
	g.set("a", sleeper, "--now")
	says("1 running, 1 inactive")
}
