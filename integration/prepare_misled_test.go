package integration

import (
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// victim takes what anybody hands to it, as the bus and many a server do.
const victim = `#!/usr/bin/python3
import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("/run/victim")
os.chmod("/run/victim", 0o777)
s.listen()
c = s.accept()[0]
kept = socket.recv_fds(c, 1, 1)
c.send(b"x")
time.sleep(1000)
`

// squatter has the port, calls itself sshd, and hands the port on.
const squatter = `#!/usr/bin/python3
import socket, time
open("/proc/self/comm", "w").write("sshd")
port = socket.create_server(("127.0.0.1", 6379))
s = socket.socket(socket.AF_UNIX)
s.connect("/run/victim")
socket.send_fds(s, [b"x"], [port.fileno()])
s.recv(1)
open("/tmp/squats", "w").write("x")
time.sleep(1000)
`

// forger has a line in /proc/net/unix that says that the victim has the socket.
const forger = `#!/usr/bin/python3
import socket, time
inode = [l.split()[6] for l in open("/proc/net/unix") if l.endswith(" /run/victim\n")][0]
s = socket.socket(socket.AF_UNIX)
s.bind("\0\n0: 2 0 10000 1 1 %s /run/mine/sock" % inode)
open("/tmp/forged", "w").write("x")
time.sleep(1000)
`

// elsewhere has a socket of that name, on another file system.
const elsewhere = `#!/usr/bin/python3
import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("/run/mine/sock")
s.listen()
open("/tmp/elsewhere", "w").write("x")
time.sleep(1000)
`

// Who is no more than another user has nobody ended who has not taken the port
// or the socket, and does not get away with it by what he calls himself.
func TestKillOthersIsNotMisled(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.withRival()
	for name, script := range map[string]string{"victim": victim, "squatter": squatter, "forger": forger, "elsewhere": elsewhere} {
		g.must(g.WriteFile(g.ctx, "/usr/local/bin/"+name, strings.NewReader(script), 0o755))
	}
	g.sh("systemd-run --quiet --unit=victim victim; until test -S /run/victim; do :; done")
	pid := g.prop("victim.service", "MainPID")
	listens := func(path string) string {
		return "/usr/bin/redis-server --port 0 --dir /tmp --save '' --daemonize no --unixsocket " + path
	}

	// A stale socket, of which two say that it is theirs.
	g.sh("mkdir /run/mine; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/run/mine/sock\")'; test -S /run/mine/sock")
	g.sh("systemd-run --quiet --unit=forger --uid=nobody forger; systemd-run --quiet --unit=elsewhere --property=TemporaryFileSystem=/run/mine elsewhere")
	g.sh("until test -s /tmp/forged && test -s /tmp/elsewhere; do :; done; test $(grep -c ' /run/mine/sock$' /proc/net/unix) = 2")
	g.set("contender", listens("/run/mine/sock"), "--socket", "/run/mine/sock", "--kill-others", "--restart", "no", "--ready", "redis+unix:/run/mine/sock")
	g.hp("service", "start", "contender")
	g.reported(units.EventSocketRemoved, `service "core/contender": socket /run/mine/sock was stale, and was removed`)
	g.sh("systemctl is-active victim forger elsewhere")
	g.hp("service", "stop", "contender")

	// The squatter is ended, and the one who was handed the port is not.
	g.sh("systemctl stop rival; systemd-run --quiet --scope --unit=squatter --uid=nobody squatter >/dev/null 2>&1 & until test -s /tmp/squats; do :; done")
	g.set("contender", mine, "--port", "6379", "--kill-others", "--socket", "", "--restart", "no", "--ready", "exec")
	refused := func(want string) {
		t.Helper()
		if r := g.run("hero_proc", "service", "start", "contender"); r.Exit != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("start exits with %d:\n%s\nwant\n%s", r.Exit, r.Stderr, want)
		}
	}
	refused("not started: port 6379 is held by victim (PID " + pid + ", unit victim.service), which kill_others does not end: another user has made the socket, and may have handed it over; stop it with: systemctl stop victim.service\n")
	if _, table := g.reports(units.EventHolderEnded); len(table) != 1 || !strings.Contains(table[0], "sshd (PID ") || !strings.Contains(table[0], "squatter.scope") {
		t.Errorf("ended were %q, want the squatter alone", table)
	}
	g.sh("systemctl is-active victim; systemctl stop victim; systemctl start rival")

	// Where the kernel can't be asked whose a socket is, nobody is ended.
	rival := g.prop("rival.service", "MainPID")
	g.sh("mkdir -p /etc/systemd/system/%[1]s.d; printf '[Service]\\nRestrictAddressFamilies=AF_UNIX\\n' >/etc/systemd/system/%[1]s.d/few.conf; systemctl daemon-reload", contender)
	g.set("contender", listens("/run/rival/sock"), "--socket", "/run/rival/sock", "--kill-others", "--port", "", "--restart", "no", "--ready", "exec")
	refused("not started: socket /run/rival/sock is held by redis-server (PID " + rival + ", unit rival.service) (whose it is can't be asked for: ")
	refused("address family not supported by protocol), which kill_others does not end: it may have handed it on, or be another one by now; ")
	g.active("rival.service")
}
