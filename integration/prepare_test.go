package integration

import (
	"fmt"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// rival is a server that is no service of hero_proc's.
const rival = `
[Service]
Type=notify
ExecStart=/usr/bin/redis-server --port 6379 --unixsocket /run/rival/sock --dir /tmp --save '' --supervised systemd --daemonize no
RuntimeDirectory=rival
`

// mine is what wants the rival's port.
const mine = "/usr/bin/redis-server --port 6379 --dir /tmp --save '' --daemonize no"

const contender = "hero-core-contender.service"

// withRival has the rival hold its port and its socket.
func (g *guest) withRival() (pid string) {
	g.t.Helper()
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/rival.service", strings.NewReader(rival), 0o644))
	g.sh("systemctl daemon-reload; systemctl start rival")
	return g.prop("rival.service", "MainPID")
}

// reports are the events of a kind, in the journal and in the logs table: the
// messages.
func (g *guest) reports(code units.EventCode) (journal, table []string) {
	g.t.Helper()
	info, _ := code.Info()
	out := g.sh("journalctl --sync; journalctl --boot --output=cat --quiet MESSAGE_ID=%s", info.MessageID)
	if out != "" {
		journal = strings.Split(out, "\n")
	}
	for _, r := range parseRows(g.t, g.hp("log", "query", "--json")) {
		if r.Code == string(code) {
			table = append(table, r.Message)
		}
	}
	return journal, table
}

// reported waits until the last event of a kind says something.
func (g *guest) reported(code units.EventCode, want string) {
	g.t.Helper()
	var journal, table []string
	g.waitFor(fmt.Sprintf("the event %s: %s", code, want), func() bool {
		journal, table = g.reports(code)
		return len(journal) > 0 && len(table) > 0 && journal[len(journal)-1] == want && table[len(table)-1] == want
	})
}

// Whoever has the port is named: on the command line, in the status, in the
// unit's status and journal, and in the event; also as another user, after a
// reload, and without the daemon.
func TestPortThatSomebodyElseHas(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "redis"} {
		t.Run("as "+user, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t, installed)
			g.must(g.WriteFile(g.ctx, "/etc/systemd/system/hero_proc.service.d/once.conf", strings.NewReader("[Service]\nRestart=no\n"), 0o644))
			g.on()
			pid := g.withRival()
			g.set("contender", mine, "--port", "127.0.0.1:6379", "--user", user, "--restart", "no", "--ready", "redis://127.0.0.1:6379")
			refusal := "not started: port 127.0.0.1:6379 is held by redis-server (PID " + pid + ", unit rival.service); stop it with: systemctl stop rival.service"
			refused := func(when string) {
				t.Helper()
				if said, result := g.said(contender), g.prop(contender, "Result"); said != refusal || result != "exit-code" {
					t.Errorf("%s the unit says %q, its result is %s; want %q", when, said, result, refusal)
				}
				if main := g.prop(contender, "ExecMainStartTimestampMonotonic"); main != "0" {
					t.Errorf("%s the program was started at %s", when, main)
				}
			}
			r := g.run("hero_proc", "service", "start", "contender")
			want := "hero_proc: cannot start \"core/contender\": systemd's result is exit-code, " + refusal + "\n"
			if r.Exit != 1 || !strings.HasPrefix(r.Stderr, want) {
				t.Errorf("start exits with %d:\n%s\nwant\n%s", r.Exit, r.Stderr, want)
			}
			refused("at first")
			if status := g.run("hero_proc", "service", "status", "contender"); !strings.Contains(strings.Join(strings.Fields(status.Stdout), " "), refusal) {
				t.Errorf("status says\n%s", status.Stdout)
			}
			g.reported(units.EventPortTaken, `service "core/contender": it was `+refusal)
			if journal := g.sh("journalctl --sync; journalctl -b -u %s -p err -o cat %s", contender, proberEntry); journal != refusal {
				t.Errorf("the unit's journal has %q", journal)
			}

			g.sh("systemctl daemon-reload; systemctl daemon-reexec")
			g.sh("systemctl daemon-reload") // what is started is read from its file
			if r := g.run("systemctl", "start", contender); r.Exit == 0 {
				t.Error("after a reload it is started")
			}
			refused("after a reload")

			// Without the daemon the unit goes once it has failed, so it is to try on.
			g.set("contender", mine, "--restart", "on-failure", "--restart-delay", "100ms", "--start-limit-burst", "1000000")
			g.run("hero_proc", "service", "start", "contender", "--no-wait")
			g.sh("systemctl kill --kill-whom=main --signal=KILL hero_proc")
			g.waitFor("hero_proc to be dead", func() bool { return g.prop(daemon, "ActiveState") == "failed" })
			tries := g.prop(contender, "NRestarts")
			g.waitFor("a start without the daemon", func() bool { return g.prop(contender, "NRestarts") != tries && g.said(contender) == refusal })
			if main := g.prop(contender, "ExecMainStartTimestampMonotonic"); main != "0" {
				t.Errorf("without the daemon the program was started at %s", main)
			}
			g.sh("systemctl stop rival")
			g.waitFor("the contender to have the port", func() bool { return g.prop(contender, "ActiveState") == "active" })
			if user != "" {
				if got := g.sh("ps -o user= -p $(systemctl show -P MainPID %s)", contender); got != user {
					t.Errorf("it runs as %s", got)
				}
			}
		})
	}
}

// holds binds a socket and does not listen on it.
const holds = `#!/usr/bin/python3
import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("/run/bound")
open("/run/bound.pid", "w").write(str(os.getpid()))
time.sleep(1000)
`

// Whatever is in the way at a socket's path is told apart.
func TestSocketsBeforeAStart(t *testing.T) {
	t.Parallel()
	g := boot(t)
	pid := g.withRival()
	const unit = "hero-core-listener.service"
	const taken = `service "core/listener": it was `
	g.sh("install -d -o redis /run/mine")
	listen := func(path string) string {
		return "/usr/bin/redis-server --port 0 --dir /tmp --save '' --daemonize no --unixsocket " + path
	}
	for _, user := range []string{"", "redis"} {
		g.set("listener", listen("/run/mine/sock"), "--socket", "/run/mine/sock", "--user", user, "--restart", "no", "--ready", "redis+unix:/run/mine/sock")
		g.hp("service", "start", "listener") // there is nothing yet
		g.sh("systemctl kill --signal=KILL %s", unit)
		g.waitFor("the listener to be dead", func() bool { return g.prop(unit, "ActiveState") == "failed" })
		g.sh("test -S /run/mine/sock; ln /run/mine/sock /run/mine/old")
		g.hp("service", "start", "listener")
		g.sh("test ! /run/mine/sock -ef /run/mine/old; rm /run/mine/old; redis-cli -s /run/mine/sock PING")
		g.reported(units.EventSocketRemoved, `service "core/listener": socket /run/mine/sock was stale, and was removed`)
		g.hp("service", "stop", "listener")
	}
	g.must(g.WriteFile(g.ctx, "/usr/local/bin/holds", strings.NewReader(holds), 0o755))
	g.sh("systemd-run --quiet --unit=holds holds; until test -s /run/bound.pid; do :; done")
	bound := g.sh("cat /run/bound.pid")
	for _, tc := range []struct{ name, before, path, refusal string }{
		{
			"somebody has it", "true", "/run/rival/sock",
			"socket /run/rival/sock is held by redis-server (PID " + pid + ", unit rival.service); stop it with: systemctl stop rival.service",
		},
		{
			"by another way", "ln -s rival /run/way", "/run/way/sock",
			"socket /run/way/sock is held by redis-server (PID " + pid + ", unit rival.service); stop it with: systemctl stop rival.service",
		},
		{
			"bound, and not listening", "true", "/run/bound",
			"socket /run/bound is held by holds (PID " + bound + ", unit holds.service); stop it with: systemctl stop holds.service",
		},
		{"a file", "echo precious >/run/file", "/run/file", "what is at /run/file is no socket, and was left alone; move it away with: mv -i /run/file /run/file.old"},
		{"a link to a file", "ln -s file /run/link", "/run/link", "what is at /run/link is no socket, and was left alone; move it away with: mv -i /run/link /run/link.old"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g.sh("%s", tc.before)
			g.set("listener", listen(tc.path), "--socket", tc.path, "--user", "", "--restart", "no", "--ready", "exec")
			r := g.run("hero_proc", "service", "start", "listener")
			if want := "cannot start \"core/listener\": systemd's result is exit-code, not started: " + tc.refusal + "\n"; r.Exit != 1 || !strings.Contains(r.Stderr, want) {
				t.Errorf("start exits with %d:\n%s\nwant\n%s", r.Exit, r.Stderr, want)
			}
			g.reported(units.EventSocketTaken, taken+"not started: "+tc.refusal)
			g.sh("test -e %s", tc.path)
		})
	}
	g.sh("test \"$(cat /run/file)\" = precious; redis-cli -s /run/rival/sock PING; systemctl is-active holds")
}

// deaf listens, and takes no hint.
const deaf = `#!/usr/bin/python3
import os, signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.create_server(("127.0.0.1", 6379))
open("/run/deaf.pid", "w").write(str(os.getpid()))
time.sleep(1000)
`

// kill_others ends who has the port: a unit is stopped, a process without one
// is killed, and what the system needs is left alone.
func TestKillOthers(t *testing.T) {
	t.Parallel()
	g := boot(t)
	pid := g.withRival()
	start := func(want string) {
		t.Helper()
		g.hp("service", "start", "contender")
		g.active(contender)
		g.reported(units.EventHolderEnded, `service "core/contender": `+want)
		g.hp("service", "stop", "contender")
	}
	// As another user, and with a probe, which says things of its own.
	g.set("contender", mine, "--port", "6379", "--kill-others", "--user", "redis", "--restart", "no", "--ready", "redis://127.0.0.1:6379")
	start("redis-server (PID " + pid + ", unit rival.service), which held port 6379, was ended, as kill_others says: unit rival.service was stopped")
	if state := g.prop("rival.service", "ActiveState"); state != "inactive" {
		t.Errorf("the rival is %s", state)
	}

	// Another service of hero_proc's is stopped like any other unit.
	g.set("cache", redis, "--ready", "notify", "--restart", "always")
	g.hp("service", "start", "cache")
	pid = g.prop("hero-core-cache.service", "MainPID")
	start("redis-server (PID " + pid + ", unit hero-core-cache.service), which held port 6379, was ended, as kill_others says: unit hero-core-cache.service was stopped")
	if state := g.prop("hero-core-cache.service", "ActiveState"); state != "inactive" {
		t.Errorf("the other service is %s", state)
	}

	g.must(g.WriteFile(g.ctx, "/usr/local/bin/deaf", strings.NewReader(deaf), 0o755))
	g.sh("systemd-run --quiet --scope --unit=deaf deaf >/dev/null 2>&1 & until test -s /run/deaf.pid; do :; done")
	pid = g.sh("cat /run/deaf.pid")
	start("deaf (PID " + pid + ", unit deaf.scope), which held port 6379, was ended, as kill_others says: process " + pid + " was ended by SIGKILL")

	// A socket unit's port is systemd's own.
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/lure.socket", strings.NewReader("[Socket]\nListenStream=127.0.0.1:6379\nAccept=yes\n"), 0o644))
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/lure@.service", strings.NewReader("[Service]\nExecStart=/bin/true\n"), 0o644))
	g.sh("systemctl daemon-reload; systemctl start lure.socket")
	r := g.run("hero_proc", "service", "start", "contender")
	const refusal = "not started: port 6379 is held by systemd (PID 1, unit init.scope), which kill_others does not end: it is systemd itself; it is a socket unit's, to be found with: systemctl list-sockets\n"
	if r.Exit != 1 || !strings.Contains(r.Stderr, refusal) {
		t.Errorf("over a socket unit, start exits with %d:\n%s\nwant\n%s", r.Exit, r.Stderr, refusal)
	}
	g.active("lure.socket")
}

// What was met while hero_proc was away it reports once it is back.
func TestRefusalsWhileTheDaemonIsAway(t *testing.T) {
	t.Parallel()
	g := boot(t)
	pid := g.withRival()
	g.set("contender", mine, "--port", "6379", "--status", "stop", "--restart-delay", "100ms", "--start-limit-burst", "1000000")
	g.run("hero_proc", "service", "start", "contender", "--no-wait")
	g.sh("systemctl stop hero_proc")
	tries := g.prop(contender, "NRestarts")
	g.waitFor("a start without the daemon", func() bool { return g.prop(contender, "NRestarts") != tries })
	g.sh("systemctl start hero_proc")
	g.reported(units.EventPortTaken, `service "core/contender": it was not started: port 6379 is held by redis-server (PID `+pid+`, unit rival.service); stop it with: systemctl stop rival.service`)
	g.hp("service", "stop", "contender")
	g.waitFor("all notes to be taken", func() bool { return g.sh("ls -A /run/hero_proc") == "" })
}

// Looking for others needs root, and a probe must not have it: it asks as the
// program's own user, with its groups, also after a reload.
func TestProbeBesidePortsRunsAsTheServicesUser(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("install -d -o redis /run/mine; groupadd extra; usermod -a -G extra redis; id redis")
	g.set("guarded", mine, "--port", "6379", "--user", "redis", "--ready", `exec:sh -c 'id >/run/mine/id; redis-cli PING'`)
	want := g.sh("setpriv --reuid=redis --regid=redis --init-groups id")
	for _, when := range []string{"at first", "after a reload"} {
		g.hp("service", "start", "guarded")
		if got := g.sh("cat /run/mine/id; rm /run/mine/id"); got != want {
			t.Errorf("%s the probe is %s, want %s", when, got, want)
		}
		g.hp("service", "stop", "guarded")
		g.sh("systemctl daemon-reload")
	}
	// sd_notify is the program's, beside the prober's own words.
	g.set("guarded", redis, "--ready", "notify")
	g.hp("service", "start", "guarded")
	g.active("hero-core-guarded.service")
}
