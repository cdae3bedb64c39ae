package integration

import (
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// mute has a redis-server keep to itself what differs from one run to the next.
const mute = " --logfile /tmp/redis.log"

// A redis-server that loads is on its way, and so is what requires it.
func TestWhyOfARedisThatLoads(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.withSlowRedis()
	slower := strings.Replace(slowRedis, "--key-load-delay 1000", "--key-load-delay 3000", 1)
	g.set("hero_db", slower+mute, "--ready", "redis://127.0.0.1:6379")
	g.set("client", sleeper, "--requires", "hero_db")
	g.hp("service", "start", "client", "--no-wait")
	g.loading()
	g.wantWhy("hero_db", "redis-loads")
	g.wantWhy("client", "redis-loads-client")
	g.hp("service", "start", "client") // which waits
	g.wantWhy("hero_db", "redis-answers")
	g.wantWhy("client", "redis-answers-client")
}

// A redis-server that is stopped with SIGSTOP is unhealthy until it answers,
// and for people to mend once restarts have not helped.
func TestWhyOfARedisThatHangs(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis+mute, append(quick, "--ready", "notify", "--timeout-stop", "1s", "--health", "redis://127.0.0.1:6379", "--on-unhealthy", "warn")...)
	g.set("client", sleeper, "--requires", "hero_db", "--no-restart-with-requires")
	g.hp("service", "start", "client")
	g.awaitHealth("hero_db", units.HealthHealthy)
	g.signal(heroDB, "STOP")
	g.awaitCodes("unhealthy hero_db")
	g.wantWhy("hero_db", "hangs")
	g.wantWhy("client", "hangs-client")
	g.signal(heroDB, "CONT")
	g.awaitCodes("unhealthy hero_db, healthy-again hero_db")
	g.wantWhy("hero_db", "hangs-no-more")

	const cache = "hero-core-cache.service"
	g.set("cache", strings.Replace(redis, "6379", "7000", 1)+mute, append(quick, "--ready", "notify", "--timeout-stop", "1s", "--health", "redis://127.0.0.1:7000", "--unhealthy-restarts", "1")...)
	g.hp("service", "start", "cache")
	g.awaitHealth("cache", units.HealthHealthy)
	g.signal(cache, "STOP")
	g.waitFor("the restart", func() bool { return strings.HasSuffix(g.codes(), "unhealthy-restart cache, healthy-again cache") })
	g.awaitHealth("cache", units.HealthHealthy)
	g.wantWhy("cache", "hangs-restarted")
	g.signal(cache, "STOP")
	g.waitFor("the end of it", func() bool { return strings.HasSuffix(g.codes(), "unhealthy-restarts-spent cache") })
	g.wantWhy("cache", "hangs-spent")

	g.hp("service", "stop", "cache")
	g.wantWhy("cache", "hangs-stopped")
}

// A crash loop has its end, of which the next attempt is told; a start by hand
// needs not wait for it.
func TestWhyOfACrashLoop(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const unit = "hero-core-shaky.service"
	g.set("shaky", shaky("shaky"), append(crashing, "--restart-retry-delay", "1h", "--restart-retry-delay-max", "1h")...)
	g.set("needy", sleeper, "--requires", "shaky")
	g.run("hero_proc", "service", "start", "needy", "--no-wait")
	g.reportedOnce(units.EventRestartsSpent)
	g.wantWhy("shaky", "crash-loop")
	g.wantWhy("needy", "crash-loop-needy")
	g.sh("touch /run/shaky.ok")
	g.hp("service", "start", "shaky")
	g.active(unit)
	g.wantWhy("shaky", "crash-loop-by-hand")

	g.set("shaky", shaky("shaky"), append(crashing, "--no-restart-retry")...)
	g.sh("rm /run/shaky.ok")
	g.run("hero_proc", "service", "restart", "shaky")
	g.givenUp(unit)
	g.waitFor("it to be told", func() bool { _, table := g.reports(units.EventRestartsSpent); return len(table) == 2 })
	g.wantWhy("shaky", "crash-loop-given-up")
}

// Whoever has the port or the socket is named, and what to do about it; with
// kill_others, who had it.
func TestWhyOfWhatIsTaken(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.withRival()
	g.set("contender", mine, "--port", "6379", "--restart", "no", "--ready", "redis://127.0.0.1:6379")
	g.set("behind", sleeper, "--requires", "contender")
	g.run("hero_proc", "service", "start", "behind")
	g.reportedOnce(units.EventPortTaken)
	g.wantWhy("contender", "port-taken")
	g.wantWhy("behind", "port-taken-behind")

	listen := "/usr/bin/redis-server --port 0 --dir /tmp --save '' --daemonize no --unixsocket "
	g.set("listener", listen+"/run/rival/sock", "--socket", "/run/rival/sock", "--restart", "no", "--ready", "redis+unix:/run/rival/sock")
	g.run("hero_proc", "service", "start", "listener")
	g.reportedOnce(units.EventSocketTaken)
	g.wantWhy("listener", "socket-taken")

	g.set("winner", mine, "--port", "6379", "--kill-others", "--ready", "redis://127.0.0.1:6379")
	g.hp("service", "start", "winner")
	g.reportedOnce(units.EventHolderEnded)
	g.wantWhy("winner", "port-taken-ended")
	g.hp("service", "stop", "winner")

	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/lure.socket", strings.NewReader("[Socket]\nListenStream=6379\nAccept=yes\n"), 0o644))
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/lure@.service", strings.NewReader("[Service]\nExecStart=/bin/true\n"), 0o644))
	g.sh("systemctl daemon-reload; systemctl start lure.socket")
	g.set("late", mine, "--port", "6379", "--kill-others", "--restart", "no")
	g.run("hero_proc", "service", "start", "late")
	g.waitFor("it to be told", func() bool { _, table := g.reports(units.EventPortTaken); return len(table) == 2 })
	g.wantWhy("late", "port-taken-by-socket-unit")

	g.sh("mkdir /run/mine")
	const untidy = "hero-core-untidy.service"
	g.set("untidy", listen+"/run/mine/sock", "--socket", "/run/mine/sock", "--restart", "no", "--ready", "redis+unix:/run/mine/sock")
	g.hp("service", "start", "untidy")
	g.sh("systemctl kill --signal=KILL %s", untidy)
	g.givenUp(untidy)
	g.sh("test -S /run/mine/sock")
	g.hp("service", "start", "untidy")
	g.reportedOnce(units.EventSocketRemoved)
	g.wantWhy("untidy", "socket-stale")
}

// reportedOnce waits until an event was told of, in the journal and in the log.
func (g *guest) reportedOnce(code units.EventCode) {
	g.t.Helper()
	g.waitFor("the event "+string(code), func() bool {
		journal, table := g.reports(code)
		return len(journal) == 1 && len(table) == 1
	})
}

// What requires a service that fails goes with it, and comes back with it.
func TestWhyOfADependencyThatComesBack(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const db, user = "hero-core-db.service", "hero-core-user.service"
	g.sh("touch /run/db.ok")
	g.set("db", shaky("db"), append(crashing, "--restart-retry-delay", "1h", "--restart-retry-delay-max", "1h")...)
	g.set("user", sleeper, "--requires", "db")
	g.set("stays", sleeper, "--requires", "db", "--no-restart-with-requires")
	g.hp("service", "start", "user", "stays")
	g.sh("rm /run/db.ok; systemctl kill --signal=KILL %s", db)
	g.reportedOnce(units.EventRestartsSpent)
	g.waitFor("user to be down", func() bool { return g.prop(user, "ActiveState") == "inactive" })
	g.waitFor("the status to say what comes", func() bool {
		return strings.Contains(g.hp("service", "list"), "hero_proc starts it once that is up")
	})
	g.wantWhy("db", "dependency-failed")
	g.wantWhy("user", "dependency-failed-user")
	g.wantWhy("stays", "dependency-failed-stays")
	g.sh("touch /run/db.ok")
	g.hp("service", "start", "db")
	g.reportedOnce(units.EventDependencyBack)
	g.up(user)
	g.wantWhy("db", "dependency-back")
	g.wantWhy("user", "dependency-back-user")
	g.wantWhy("stays", "dependency-back-stays")
}

// A unit that an administrator has masked keeps down what requires it, also
// after a boot.
func TestWhyOfWhatRequiresAMaskedUnit(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("masked", sleeper)
	g.set("needy", sleeper, "--requires", "masked")
	g.set("needier", sleeper, "--requires", "needy")
	g.set("other", sleeper, "--wants", "masked")
	g.sh("systemctl mask hero-core-masked.service")
	g.forget()
	g.reboot()
	for _, name := range []string{"needy", "needier"} {
		unit := "hero-core-" + name + ".service"
		if state := g.prop(unit, "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s", unit, state)
		}
		status := g.run("hero_proc", "service", "status", name)
		if text := strings.Join(strings.Fields(status.Stdout), " "); status.Exit != 3 || !strings.Contains(text, "State: blocked") || !strings.Contains(text, "an administrator has masked hero-core-masked.service") {
			t.Errorf("status of %s exits with %d:\n%s", name, status.Exit, status.Stdout)
		}
		g.wantWhy(name, "masked-"+name)
	}
	if r := g.run("hero_proc", "service", "start", "needy"); r.Exit != 1 || !strings.Contains(r.Stderr, "Unit hero-core-masked.service is masked.") {
		t.Errorf("start exits with %d: %s", r.Exit, r.Stderr)
	}
	// One of many is no reason to keep the others down, and what to do mends it.
	g.up("hero-core-other.service")
	g.sh("systemctl unmask hero-core-masked.service; systemctl restart hero_proc")
	for _, name := range []string{"masked", "needy", "needier", "other"} {
		g.up("hero-core-" + name + ".service")
	}
	g.wantWhy("needier", "masked-no-more")
}
