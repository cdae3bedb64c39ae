package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// shaky is a command that says that it is ready and stays up while
// /run/NAME.ok is there, and otherwise ends at once with status 3.
func shaky(name string) string {
	return fmt.Sprintf("sh -c 'test -e /run/%s.ok || exit 3; systemd-notify --ready; exec sleep infinity'", name)
}

// crashing are the flags of a service that is quick to come to its start limit,
// and never up on the way.
var crashing = []string{"--ready", "notify", "--restart", "on-failure", "--restart-delay", "10ms", "--start-limit-burst", "3", "--start-limit-interval", "1h"}

// givenUp waits until systemd has given a unit up.
func (g *guest) givenUp(unit string) {
	g.t.Helper()
	g.waitFor(unit+" to be given up", func() bool { return g.prop(unit, "ActiveState") == "failed" })
}

func (g *guest) up(unit string) {
	g.t.Helper()
	g.waitFor(unit+" to be up", func() bool { return g.prop(unit, "ActiveState") == "active" })
}

// A crash loop comes to an end, is told of, and is tried again ever more
// rarely; a start by hand always tries.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const unit = "hero-core-shaky.service"
	spent := func(then string) string {
		return `service "core/shaky": systemd has given up ` + unit + ", which failed as often as its start limit allows: its result is exit-code (exited with status 3); " + then
	}
	g.set("shaky", shaky("shaky"), append(crashing, "--restart-retry-delay", "1s", "--restart-retry-delay-max", "2s", "--restart-reset-after", "1s")...)
	g.run("hero_proc", "service", "start", "shaky", "--no-wait")
	g.reported(units.EventRestartsSpent, spent("hero_proc starts it again in 1s (its first try)"))
	if status := g.run("hero_proc", "service", "status", "shaky"); status.Exit != 3 || !strings.Contains(strings.Join(strings.Fields(status.Stdout), " "), "systemd's result is exit-code (exited with status 3)") {
		t.Errorf("status exits with %d:\n%s", status.Exit, status.Stdout)
	}
	const again = `service "core/shaky": ` + unit + " was started again: systemd has given it up, it is wanted, nobody has stopped it since, and %s is over"
	g.reported(units.EventStartedAgain, fmt.Sprintf(again, "1s"))
	g.reported(units.EventRestartsSpent, spent("hero_proc starts it again in 2s, after 1 start of its own"))
	g.reported(units.EventStartedAgain, fmt.Sprintf(again, "2s"))
	g.reported(units.EventRestartsSpent, spent("hero_proc starts it again in 2s, after 2 starts of its own"))

	g.sh("touch /run/shaky.ok")
	g.up(unit) // by itself
	g.reported(units.EventRestartsReset, `service "core/shaky": the restarts of `+unit+" no longer count (0 by systemd, 3 by hero_proc): it has been up for 1s")

	// By itself it would now take an hour.
	g.set("shaky", shaky("shaky"), "--restart-retry-delay", "1h", "--restart-retry-delay-max", "2h")
	g.sh("rm /run/shaky.ok; systemctl kill --signal=KILL %s", unit)
	g.givenUp(unit)
	g.reported(units.EventRestartsSpent, spent("hero_proc starts it again in 1h0m0s (its first try)"))
	if status := g.hp("service", "list"); !strings.Contains(status, "; hero_proc starts it again at 2") {
		t.Errorf("service list says\n%s", status)
	}
	g.sh("touch /run/shaky.ok")
	if r := g.run("systemctl", "start", unit); r.Exit == 0 {
		t.Error("systemctl starts it within its start limit") // which is what is different with hero_proc
	}
	g.hp("service", "start", "shaky")
	g.active(unit)
	if n := g.prop(unit, "NRestarts"); n != "0" {
		t.Errorf("after a start by hand it counts %s restarts", n)
	}
	// What is required is tried anew too.
	g.sh("rm /run/shaky.ok; systemctl kill --signal=KILL %s", unit)
	g.givenUp(unit)
	g.set("needy", sleeper, "--requires", "shaky")
	g.sh("touch /run/shaky.ok")
	g.hp("service", "start", "needy")
	g.active(unit, "hero-core-needy.service")

	// systemd's own restarts are forgotten after a while, and it waits no
	// longer than it has to when somebody starts it by hand.
	g.set("shaky", shaky("shaky"), "--restart-delay", "1h")
	g.hp("service", "restart", "shaky")
	g.sh("systemctl kill --signal=KILL %s", unit)
	g.waitFor("the delay of a restart", func() bool { return g.prop(unit, "SubState") == "auto-restart" })
	g.hp("service", "start", "shaky")
	g.active(unit)
}

// With a start limit that lets a unit go on, its count begins anew once it is stable.
func TestRestartsOfAStableServiceAreForgotten(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const unit = "hero-core-phoenix.service"
	g.set("phoenix", sleeper, append(crashing, "--ready", "exec", "--restart-reset-after", "500ms", "--no-restart-retry")...)
	g.hp("service", "start", "phoenix")
	for n := 1; n <= 5; n++ { // beyond the limit
		g.sh("systemctl kill --signal=KILL %s", unit)
		g.waitFor("the restarts to be forgotten", func() bool {
			journal, _ := g.reports(units.EventRestartsReset)
			return len(journal) == n
		})
		g.active(unit)
		if got := g.prop(unit, "NRestarts"); got != "0" {
			t.Errorf("it counts %s restarts", got)
		}
	}
}

// Whoever stops it, and however, has the last word.
func TestNobodyStartsWhatWasStopped(t *testing.T) {
	t.Parallel()
	g := boot(t)
	services := map[string]func(unit string){
		"by-hero":    func(string) { g.hp("service", "stop", "by-hero") },
		"by-systemd": func(unit string) { g.sh("systemctl stop %s", unit) },
		"opted-out":  func(string) {},
		"unwanted":   func(string) {},
	}
	flags := map[string][]string{"opted-out": {"--no-restart-retry"}, "unwanted": {"--status", "stop"}}
	for name, stop := range services {
		unit := "hero-core-" + name + ".service"
		g.set(name, shaky(name), append(append(crashing, "--restart-retry-delay", "3s"), flags[name]...)...)
		g.run("hero_proc", "service", "start", name, "--no-wait")
		g.givenUp(unit)
		stop(unit)
	}
	// Its time comes after theirs.
	g.set("clock", shaky("clock"), append(crashing, "--restart-retry-delay", "3s")...)
	g.run("hero_proc", "service", "start", "clock", "--no-wait")
	g.waitFor("the clock to be started again", func() bool {
		_, again := g.reports(units.EventStartedAgain)
		return len(again) > 0 && strings.HasPrefix(again[0], `service "core/clock"`)
	})
	if _, again := g.reports(units.EventStartedAgain); len(again) != 1 {
		t.Errorf("started again: %q", again)
	}
	for name := range services {
		if n := g.prop("hero-core-"+name+".service", "NRestarts"); n != "3" {
			t.Errorf("%s was started again", name)
		}
	}
	_, spent := g.reports(units.EventRestartsSpent)
	for name, why := range map[string]string{"opted-out": "its restart_retry is false", "unwanted": "its wanted status is stop"} {
		if told := strings.Join(spent, "\n"); !strings.Contains(told, fmt.Sprintf(`service "core/%s": `, name)) || !strings.Contains(told, "hero_proc does not start it again: "+why) {
			t.Errorf("nothing says that %s stays down because %s: %q", name, why, spent)
		}
	}
}

// A service that fails takes those that require it with it, and brings them
// back; but not those that somebody has stopped, or that are to stay down.
func TestWhatRequiresAServiceComesBackWithIt(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const db = "hero-core-db.service"
	g.sh("touch /run/db.ok")
	g.set("db", shaky("db"), append(crashing, "--restart-retry-delay", "1h", "--restart-retry-delay-max", "1h")...)
	names := []string{"user", "stays", "by-hero", "by-systemd"}
	for _, name := range names {
		g.set(name, sleeper, "--requires", "db")
	}
	g.set("stays", sleeper, "--no-restart-with-requires")
	g.set("top", sleeper, "--requires", "user")
	g.hp(append([]string{"service", "start", "top"}, names...)...)
	// systemd restarts what requires db with it, and that fails.
	g.sh("rm /run/db.ok; systemctl kill --signal=KILL %s", db)
	g.givenUp(db)
	unit := func(name string) string { return "hero-core-" + name + ".service" }
	for _, name := range append(names, "top") {
		g.waitFor(name+" to be down", func() bool { return g.prop(unit(name), "ActiveState") == "inactive" })
	}
	g.waitFor("the status to say what comes", func() bool {
		return strings.Contains(g.hp("service", "list"), "which is failed: exit-code (exited with status 3); hero_proc starts it once that is up")
	})
	g.hp("service", "stop", "by-hero")
	g.sh("systemctl stop %s", unit("by-systemd"))

	g.sh("touch /run/db.ok")
	g.hp("service", "start", "db")
	g.up(unit("user"))
	g.up(unit("top"))
	g.waitFor("the events", func() bool {
		_, back := g.reports(units.EventDependencyBack)
		return len(back) == 2 &&
			back[0] == `service "core/user": hero-core-user.service was started again: it was down because of what it requires, and that is up again: `+db &&
			back[1] == `service "core/top": hero-core-top.service was started again: it was down because of what it requires, and that is up again: hero-core-user.service`
	})
	// By signal, not by looking every minute.
	if took := g.usec(unit("top"), "ActiveEnterTimestampMonotonic") - g.usec(db, "ActiveEnterTimestampMonotonic"); took > 30*time.Second {
		t.Errorf("all was back %s after what it requires", took)
	}
	for _, name := range []string{"stays", "by-hero", "by-systemd"} {
		if state := g.prop(unit(name), "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s", name, state)
		}
	}
}

// What has to come outlives the bus, and the daemon: one that comes later
// starts all that is wanted.
func TestRetriesOutliveTheBusAndTheDaemon(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const unit = "hero-core-shaky.service"
	g.set("shaky", shaky("shaky"), append(crashing, "--restart-retry-delay", "3s")...)
	g.run("hero_proc", "service", "start", "shaky", "--no-wait")
	g.givenUp(unit)
	g.waitFor("it to be told", func() bool { journal, _ := g.reports(units.EventRestartsSpent); return len(journal) == 1 })
	g.sh("touch /run/shaky.ok; systemctl restart dbus")
	g.up(unit)
	g.waitFor("the event", func() bool { journal, _ := g.reports(units.EventStartedAgain); return len(journal) == 1 })

	g.set("shaky", shaky("shaky"), "--restart-retry-delay", "1h", "--restart-retry-delay-max", "1h")
	g.hp("service", "restart", "shaky")
	g.sh("rm /run/shaky.ok; systemctl kill --signal=KILL %s", unit)
	g.givenUp(unit)
	g.sh("touch /run/shaky.ok; systemctl restart hero_proc")
	g.up(unit)
}
