package integration

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// On a full disk services are started and stopped, and all is read, as before;
// definitions can't be changed. Once there is room it is all there.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("systemctl stop hero_proc; mount -t tmpfs -o size=8M,mode=700 tmpfs /var/lib/hero_proc; systemctl start hero_proc")
	g.set("hero_db", redis, "--ready", "notify", "--now")
	g.set("web", sleeper, "--requires", "hero_db", "--now")
	g.set("idle", sleeper, "--status", "stop", "--restart", "no")
	main, listed := g.prop(daemon, "MainPID"), g.definitions()
	fill := func() {
		t.Helper()
		g.sh("cat /dev/zero >>/var/lib/hero_proc/somebodys 2>/dev/null || test $(stat -fc %%f /var/lib/hero_proc) = 0")
	}
	fill()
	e := g.storeEntry(units.EventStoreFull)
	if !strings.Contains(e.Remediation, "df -h /var/lib/hero_proc") {
		t.Errorf("the entry is %+v", e)
	}

	// What was started while it was full: on the ballast, in the room of the WAL
	// again and again, and then in memory.
	const atLeast, atMost = 8, 100
	var invocations []string
	saved := func(invocations []string) int {
		n, err := strconv.Atoi(g.sql("SELECT count(*) FROM jobs WHERE invocation_id IN ('" + strings.Join(invocations, "','") + "')"))
		g.must(err)
		return n
	}
	rounds := 0
	// The last round's may be on their way.
	for before := 0; rounds < atLeast || saved(invocations[:before]) == before; rounds++ {
		before = len(invocations)
		if rounds == atMost {
			t.Fatalf("all of %d jobs are on a disk that is full: nothing was shown", len(invocations))
		}
		for _, change := range [][]string{
			{"service", "set", "late", "--exec", sleeper}, {"service", "set", "web", "--env", "LATE=1"}, {"service", "disable", "web"}, {"service", "remove", "idle"},
		} {
			g.refusedAsFull(change...)
		}
		g.hp("service", "restart", "web")
		invocations = append(invocations, g.prop("hero-core-web.service", "InvocationID"))
		g.hp("service", "start", "idle")
		invocations = append(invocations, g.prop("hero-core-idle.service", "InvocationID"))
		g.hp("service", "stop", "idle")
		g.sh("systemctl restart hero-core-idle; systemctl kill --signal=KILL hero-core-idle")
		g.waitFor("idle to be down", func() bool { return g.prop("hero-core-idle.service", "ActiveState") == "failed" })
		invocations = append(invocations, g.prop("hero-core-idle.service", "InvocationID"))
		if status := g.hp("service", "status", "web"); !strings.Contains(status, "running") {
			t.Errorf("the status of web is\n%s", status)
		}
		g.hp("service", "list")
		g.hp("log", "query")
		fill() // also what the ballast has left
	}
	if after := g.definitions(); after != listed {
		t.Errorf("the definitions are\n%s\nwere\n%s", after, listed)
	}
	g.sh("test ! -e /var/lib/hero_proc/ballast")
	g.sh("rm /var/lib/hero_proc/somebodys")
	g.waitFor("the store to go on", func() bool {
		for _, r := range g.rows(units.SourceStore, units.LevelInfo) {
			if r.Code == string(units.EventStoreRoom) {
				return true
			}
		}
		return false
	})
	g.sh("test -s /var/lib/hero_proc/ballast")
	if n := saved(invocations); n != len(invocations) {
		t.Errorf("the history has %d of the %d jobs of the time when the disk was full", n, len(invocations))
	}
	if got := g.sql("SELECT count(*), sum(phase = 'failed'), sum(ended_at IS NULL) FROM jobs WHERE unit = 'hero-core-idle.service' AND invocation_id <> ''"); got != fmt.Sprintf("%d\t%d\t0", 2*rounds, rounds) {
		t.Errorf("of idle the history has (jobs, failed, not over) %q", got)
	}
	if rows := g.rows(units.SourceStore, units.LevelError); len(rows) != 1 || rows[0].Code != string(units.EventStoreFull) {
		t.Errorf("the log has %+v", rows)
	}
	if found := g.sql("PRAGMA integrity_check"); found != "ok" {
		t.Errorf("integrity_check: %s", found)
	}
	g.set("late", sleeper, "--now")
	g.hp("service", "remove", "idle")
	g.active("hero-core-late.service", "hero-core-web.service", heroDB)
	if now := g.prop(daemon, "MainPID"); now != main {
		t.Errorf("hero_proc is process %s, was %s", now, main)
	}
}

func (g *guest) definitions() string {
	g.t.Helper()
	return g.sql("SELECT s.name, status, s.definition, a.definition FROM services s JOIN actions a ON service_name = s.name ORDER BY s.name, a.name")
}

// refusedAsFull runs a command that a full disk has to refuse.
func (g *guest) refusedAsFull(args ...string) {
	g.t.Helper()
	r := g.run(append([]string{"hero_proc", "--json"}, args...)...)
	var answer struct {
		Error struct{ Code, Message, Remedy string }
	}
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
		g.t.Fatalf("%q: %v in %s%s", args, err, r.Stdout, r.Stderr)
	}
	if e := answer.Error; r.Exit != units.ExitFailed || e.Code != string(units.CodeStoreFull) || !strings.Contains(e.Remedy, "df -h") {
		g.t.Errorf("%q, with a full disk: exit status %d, %s%s", args, r.Exit, r.Stdout, r.Stderr)
	}
}
