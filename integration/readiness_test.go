package integration

import (
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// slowRedis is a server that answers LOADING for three seconds, a millisecond
// a key, before it answers PONG. It knows nothing of sd_notify.
const slowRedis = "/usr/bin/redis-server --port 6379 --dir /var/lib/slow --save '' --daemonize no" +
	" --key-load-delay 1000 --loading-process-events-interval-bytes 1024"

const (
	client      = "hero-core-client.service"
	proberEntry = "SYSLOG_IDENTIFIER=hero_proc_probe"
)

// withSlowRedis gives slowRedis its keys.
func (g *guest) withSlowRedis() {
	g.t.Helper()
	g.sh(`mkdir /var/lib/slow
		redis-server --port 7000 --dir /var/lib/slow --save '' --enable-debug-command yes --daemonize yes >/dev/null
		until redis-cli -p 7000 PING >/dev/null 2>&1; do :; done
		redis-cli -p 7000 DEBUG POPULATE 3000
		redis-cli -p 7000 SAVE
		redis-cli -p 7000 SHUTDOWN NOSAVE`)
}

// said is what systemd keeps of what a unit has said last.
func (g *guest) said(unit string) string {
	g.t.Helper()
	return g.prop(unit, "StatusText")
}

// loading waits until hero_db is loading, and checks that everybody says so.
func (g *guest) loading() {
	g.t.Helper()
	const waits = "waiting for redis://127.0.0.1:6379: LOADING Redis is loading the dataset in memory"
	g.waitFor("hero_db to load", func() bool { return g.said(heroDB) == waits })
	if state, sub := g.prop(heroDB, "ActiveState"), g.prop(heroDB, "SubState"); state != "activating" || sub != "start-post" {
		g.t.Errorf("while it loads, hero_db is %s (%s)", state, sub)
	}
	if state := g.prop(client, "ActiveState"); state != "inactive" {
		g.t.Errorf("while hero_db loads, what requires it is %s", state)
	}
}

// answered checks that what requires hero_db was executed after it was ready,
// and had its answer at once.
func (g *guest) answered() {
	g.t.Helper()
	g.waitFor("what requires hero_db", func() bool { return g.prop(client, "ActiveState") == "active" })
	g.waitFor("its answer", func() bool { return g.run("test", "-s", "/run/answer").Exit == 0 })
	if answer := g.sh("cat /run/answer"); answer != "PONG" {
		g.t.Errorf("to what requires it, hero_db answered %q", answer)
	}
	if up, began := g.usec(heroDB, "ActiveEnterTimestampMonotonic"), g.usec(client, "ExecMainStartTimestampMonotonic"); began < up {
		g.t.Errorf("what requires hero_db was executed at %s, before that was ready at %s", began, up)
	}
	if took := g.usec(heroDB, "ActiveEnterTimestampMonotonic") - g.usec(heroDB, "ExecMainStartTimestampMonotonic"); took < 3*time.Second {
		g.t.Errorf("hero_db was ready after %s, and loads for 3 s", took)
	}
	if said := g.said(heroDB); said != "" {
		g.t.Errorf("hero_db is ready and says %q", said)
	}
}

// systemd holds back what depends on a service, whether hero_proc is there or not.
func TestDependentsWaitForReadiness(t *testing.T) {
	t.Parallel()
	g := newGuest(t, installed)
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/hero_proc.service.d/once.conf", strings.NewReader("[Service]\nRestart=no\n"), 0o644))
	g.on()
	g.withSlowRedis()
	g.set("hero_db", slowRedis, "--ready", "redis://127.0.0.1:6379")
	g.set("client", "/bin/sh -c 'redis-cli PING >/run/answer; exec sleep infinity'", "--requires", "hero_db")

	g.hp("service", "start", "client", "--no-wait")
	g.loading()
	status := g.run("hero_proc", "service", "status", "hero_db")
	if status.Exit != 3 || !strings.Contains(status.Stdout, "not ready yet (start-post), waiting for redis://127.0.0.1:6379: LOADING") {
		t.Errorf("while it loads, service status exits with %d:\n%s", status.Exit, status.Stdout)
	}
	g.hp("service", "start", "client") // which waits
	g.answered()

	g.sh("systemctl kill --kill-whom=main --signal=KILL hero_proc")
	g.waitFor("hero_proc to be dead", func() bool { return g.prop(daemon, "ActiveState") == "failed" })
	g.sh("rm /run/answer; systemctl restart --no-block %s", heroDB)
	g.loading()
	g.sh("systemctl daemon-reload; systemctl daemon-reexec") // which must not cut it short
	g.answered()
	if state := g.prop(daemon, "ActiveState"); state != "failed" {
		t.Errorf("hero_proc is %s: this was to be shown without it", state)
	}
}

// "hero_db is up" means that it answers.
func TestBootWaitsUntilHeroDBAnswers(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.withSlowRedis()
	g.set("hero_db", slowRedis, "--ready", "redis://127.0.0.1:6379")
	g.set("client", "/bin/sh -c 'redis-cli PING >/run/answer; exec sleep infinity'", "--requires", "hero_db")
	g.forget()
	g.reboot()
	g.answered()
	g.wantSilence()
	if up, ready := g.usec(heroDB, "ActiveEnterTimestampMonotonic"), g.readyAt(); ready < up {
		t.Errorf("READY=1 was at %s, before hero_db answered at %s", ready, up)
	}
	if health := g.hp("health"); !strings.Contains(health, "active at the last boot") {
		t.Errorf("health says:\n%s", health)
	}
}

func TestHeroDBThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		flags []string
		code  units.EventCode
		says  string
	}{
		{
			name: "and its probe gives up", flags: []string{"--ready-timeout", "500ms"},
			code: units.EventStartFailed, says: "not ready: redis://127.0.0.1:6379 after ", // 500 ms and more
		},
		{
			// systemd itself goes on a little longer, or the machine would be "starting" for long.
			name: "and its probe waits on", flags: []string{"--ready-timeout", "4s"},
			code: units.EventStartTimeout, says: "is still activating (start-post) after 2s, waiting for redis://127.0.0.1:6379: connection refused",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t, installed)
			g.environment("HERO_PROC_DB_START_TIMEOUT=2s")
			g.on()
			g.set("hero_db", sleeper, append(tc.flags, "--ready", "redis://127.0.0.1:6379", "--restart", "no")...)
			g.set("bystander", sleeper)
			g.forget()
			g.reboot()
			g.wantEvent(tc.code, tc.says)
			g.active("hero-core-bystander.service")
		})
	}
}

// A start that fails says why: on the command line, in the unit's status, and
// in its journal.
func TestStartOfWhatNeverAnswers(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("mute", sleeper, "--ready", "tcp:127.0.0.1:1", "--ready-timeout", "500ms", "--restart", "no")
	g.set("needy", sleeper, "--requires", "mute")
	const why = "not ready: tcp:127.0.0.1:1 after " // 500 ms and more
	for _, name := range []string{"mute", "needy"} {
		r := g.run("hero_proc", "service", "start", name)
		if r.Exit != 1 || !strings.Contains(r.Stderr, why) || !strings.Contains(r.Stderr, "connection refused") {
			t.Errorf("start of %s exits with %d: %s", name, r.Exit, r.Stderr)
		}
	}
	result, said := g.prop("hero-core-mute.service", "Result"), g.said("hero-core-mute.service")
	if result != "exit-code" || !strings.HasPrefix(said, why) {
		t.Errorf("the unit's result is %s, and it says %q", result, said)
	}
	after, _, _ := strings.Cut(strings.TrimPrefix(said, why), " and ")
	if waited, err := time.ParseDuration(after); err != nil || waited < 500*time.Millisecond {
		t.Errorf("it gave up before its time: %q", said)
	}
	journal := g.sh("journalctl --sync; journalctl -b -u hero-core-mute -p err -o cat %s", proberEntry)
	if lines := strings.Split(journal, "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], why) {
		t.Errorf("the prober has written %q, want one line for each of two starts", lines)
	}
	if status := g.hp("service", "list"); !strings.Contains(status, "failed") || !strings.Contains(status, why) {
		t.Errorf("service list says:\n%s", status)
	}
}
