package integration

import (
	"testing"
	"time"
)

func TestBootStartsWhatIsWanted(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	g.set("web", sleeper, "--requires", "hero_db")
	g.set("later", sleeper, "--after", "web")
	g.set("spare", sleeper, "--status", "stop")
	const (
		web   = "hero-core-web.service"
		later = "hero-core-later.service"
		spare = "hero-core-spare.service"
	)
	first := ""
	// Twice: what the first boot leaves behind must not be in the second's way.
	for range 2 {
		g.forget()
		g.reboot()
		g.must(g.Running(g.ctx))
		g.active(daemon, heroDB, web, later)
		g.wantSilence()
		if got := g.sh("redis-cli PING"); got != "PONG" {
			t.Errorf("hero_db answers %q", got)
		}
		start := g.usec(daemon, "ExecMainStartTimestampMonotonic")
		up := g.usec(heroDB, "ActiveEnterTimestampMonotonic")
		if took := up - start; took > 3*time.Second {
			t.Errorf("hero_db was up %s after the daemon's start, want 3 s at most", took)
		}
		if ready := g.readyAt(); ready <= up {
			t.Errorf("READY=1 was at %s, before hero_db was up at %s", ready, up)
		}
		if began := g.usec(web, "InactiveExitTimestampMonotonic"); began < up {
			t.Errorf("web, which requires hero_db, was started at %s, before hero_db was up at %s", began, up)
		}
		if webUp, began := g.usec(web, "ActiveEnterTimestampMonotonic"), g.usec(later, "InactiveExitTimestampMonotonic"); began < webUp {
			t.Errorf("later, which is after web, was started at %s, before web was up at %s", began, webUp)
		}
		if load, state := g.prop(spare, "LoadState"), g.prop(spare, "ActiveState"); load != "loaded" || state != "inactive" {
			t.Errorf("spare, which is wanted to stop, is %s and %s", load, state)
		}
		id := g.prop(heroDB, "InvocationID")
		if id == "" || id == first {
			t.Errorf("hero_db has the invocation ID %q after a reboot", id)
		}
		first = id
	}
}

func TestPowerCut(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--now")
	g.must(g.Kill())
	g.on()
	g.active(daemon, heroDB)
	ended := g.sql("SELECT phase FROM jobs WHERE unit = '" + heroDB + "' ORDER BY id")
	if ended != "lost\nrunning" && ended != "failed\nrunning" && ended != "canceled\nrunning" {
		t.Errorf("the history of hero_db has the jobs %q, want one that the power cut ended and one that runs", ended)
	}
}

func TestSystemctlAndHeroProcDoNotFight(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--now")
	g.sh("systemctl stop %s", heroDB)
	if load, state := g.prop(heroDB, "LoadState"), g.prop(heroDB, "ActiveState"); load != "loaded" || state != "inactive" {
		t.Fatalf("after systemctl stop the unit is %s and %s", load, state)
	}
	if r := g.run("hero_proc", "service", "status", "hero_db"); r.Exit != 3 {
		t.Errorf("service status of a stopped service exits with %d:\n%s", r.Exit, r.Stdout)
	}
	g.sh("systemctl start %s", heroDB)
	g.active(heroDB)
	before := g.prop(heroDB, "InvocationID")
	g.sh("systemctl restart %s", heroDB)
	g.active(heroDB)
	if after := g.prop(heroDB, "InvocationID"); after == before {
		t.Errorf("systemctl restart has not restarted: invocation %s", after)
	}
	g.hp("service", "stop", "hero_db")
	if state := g.prop(heroDB, "ActiveState"); state != "inactive" {
		t.Errorf("when service stop has returned, the unit is %s", state)
	}
	g.hp("service", "start", "hero_db")
	if got := g.sh("redis-cli PING"); got != "PONG" {
		t.Errorf("when service start has returned, hero_db answers %q", got)
	}
}
