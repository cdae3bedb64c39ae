package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// page is a server of HTTP on a socket of the filesystem.
const page = `
import http.server, socketserver, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/up?x=1" else 503)
        self.end_headers()
        self.wfile.write(b"I am up")
    def address_string(self): return "unix"
socketserver.UnixStreamServer(sys.argv[1], Page).serve_forever()
`

// Each program waits for a word from the test before it becomes what the probe
// asks for.
func TestEveryKindOfProbe(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.must(g.WriteFile(g.ctx, "/usr/local/bin/page.py", strings.NewReader(page), 0o644))
	g.sh("mkdir /run/probes && chown nobody: /run/probes")
	const redis = "redis-server --save '' --dir /run/probes --daemonize no "
	for _, tc := range []struct {
		name, program string
		waits         string // what is waited for, and the first answer
		flags         []string
	}{
		{name: "tcp", program: redis + "--port 7001", waits: "tcp:127.0.0.1:7001: connection refused", flags: []string{"--ready", "tcp:127.0.0.1:7001"}},
		{name: "tcp6", program: redis + "--port 7002 --bind ::1", waits: "tcp:[::1]:7002: connection refused", flags: []string{"--ready", "tcp:[::1]:7002"}},
		{name: "unix", program: redis + "--port 0 --unixsocket /run/probes/1", waits: "unix:/run/probes/1: no such file or directory", flags: []string{"--ready", "unix:/run/probes/1"}},
		{name: "redis", program: redis + "--port 7003", waits: "redis://127.0.0.1:7003: connection refused", flags: []string{"--ready", "redis://127.0.0.1:7003"}},
		{name: "redis-unix", program: redis + "--port 0 --unixsocket /run/probes/2", waits: "redis+unix:/run/probes/2: no such file or directory", flags: []string{"--ready", "redis+unix:/run/probes/2"}},
		{name: "http", program: "python3 -m http.server 7004 --directory /usr/share/hero_proc", waits: "http://127.0.0.1:7004/: connection refused", flags: []string{"--ready", "http://127.0.0.1:7004/", "--ready-match", "skills/"}},
		{
			name: "http-unix", program: "python3 /usr/local/bin/page.py /run/probes/3", waits: "http+unix:/run/probes/3:/up: no such file or directory",
			flags: []string{"--ready", "http+unix:/run/probes/3:/up?x=1", "--ready-status", "200", "--ready-match", "I am up", "--ready-interval", "50ms"},
		},
		// Older systemds take $ and ; in a command only with care.
		{name: "exec", program: "sh -c 'touch /run/probes/4; exec sleep infinity'", waits: "exec:sh: exit status 7: not yet", flags: []string{"--ready", `exec:sh -c 'F=/run/probes/4; test -e "$F" || { echo "not yet"; exit 7; }'`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			unit := "hero-core-" + tc.name + ".service"
			gate := "/run/probes/gate-" + tc.name
			start := func() {
				t.Helper()
				g.sh("rm -f %s && mkfifo -m 666 %s", gate, gate)
				g.hp("service", "start", tc.name, "--no-wait")
				g.waitFor(tc.name+" to be probed", func() bool { return g.said(unit) == "waiting for "+tc.waits })
				if state, sub := g.prop(unit, "ActiveState"), g.prop(unit, "SubState"); state != "activating" || sub != "start-post" {
					t.Errorf("before it is ready it is %s (%s)", state, sub)
				}
				g.sh("echo go >%s", gate)
				g.hp("service", "start", tc.name) // which waits
				g.active(unit)
				if said := g.said(unit); said != "" {
					t.Errorf("it is ready and says %q", said)
				}
			}
			g.set(tc.name, fmt.Sprintf(`sh -c "read go <%s; exec %s"`, gate, strings.ReplaceAll(tc.program, `"`, `\"`)), append(tc.flags, "--user", "nobody", "--restart", "no")...)
			start()
			g.hp("service", "stop", tc.name)
			g.sh("rm -f /run/probes/[0-9]; systemctl daemon-reload")
			start()
		})
	}
}

// What hero_proc knows of a password is where it is.
func TestPasswordOfAProbe(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const unit = "hero-core-safe.service"
	g.sh(`mkdir -m 700 /etc/safe && head -c 24 /dev/urandom | base64 >/etc/safe/password
		printf 'port 7000\nsave ""\ndir /tmp\nrequirepass %%s\n' "$(cat /etc/safe/password)" >/etc/safe.conf
		chmod 600 /etc/safe/password && chown redis /etc/safe.conf && chmod 400 /etc/safe.conf
		mkfifo -m 666 /run/gate`)
	g.set("safe", "sh -c 'read go </run/gate; exec redis-server /etc/safe.conf'", "--user", "redis", "--restart", "no",
		"--ready", "redis://127.0.0.1:7000", "--credential", "password=/etc/safe/password", "--ready-credential", "password")
	secret := strings.TrimSpace(g.sh("cat /etc/safe/password"))
	// nowhere looks for the password, which none of its own commands says.
	nowhere := func(when string) {
		t.Helper()
		g.sh("journalctl --sync")
		for _, look := range []string{
			"cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'",
			"systemctl show " + unit, "systemctl status --full " + unit, "systemctl cat " + unit, "cat /run/systemd/transient/" + unit,
			"busctl introspect --full org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/hero_2dcore_2dsafe_2eservice",
			"journalctl -b -o export", "hero_proc service show --json safe", "hero_proc service status --json safe", "hero_proc log query --json",
			"cat /var/lib/hero_proc/*",
		} {
			r := g.run("sh", "-c", look)
			if r.Stdout == "" {
				t.Errorf("%s: %q says nothing: %s", when, look, r.Stderr)
			}
			if strings.Contains(r.Stdout+r.Stderr, secret) {
				t.Errorf("%s the password is in what %q says", when, look)
			}
		}
	}
	g.hp("service", "start", "safe", "--no-wait")
	g.waitFor("safe to be probed", func() bool { return g.said(unit) == "waiting for redis://127.0.0.1:7000: connection refused" })
	nowhere("while it is waited for")
	g.sh("echo go >/run/gate")
	g.hp("service", "start", "safe")
	g.active(unit)
	nowhere("when it is ready")
	g.hp("service", "stop", "safe")

	// A password that is wrong, or missing, is known at once.
	for _, tc := range []struct {
		name, says string
		flags      []string
	}{
		{"wrong", "redis://127.0.0.1:7000: it refuses the password that the credential has (WRONGPASS)", []string{"--credential", "password=/etc/hostname"}},
		{"missing", "redis://127.0.0.1:7000: it wants a password (NOAUTH); name its credential by ready_credential or health_credential", []string{"--ready-credential", ""}},
	} {
		g.set("safe", "redis-server /etc/safe.conf", tc.flags...)
		r := g.run("hero_proc", "service", "start", "safe")
		if r.Exit != 1 || !strings.Contains(r.Stderr, "not ready: "+tc.says) {
			t.Errorf("with a password that is %s, start exits with %d: %s", tc.name, r.Exit, r.Stderr)
		}
		nowhere("when it is " + tc.name)
	}
}

// There is nothing to wait for when the program has ended, or is to end.
func TestProbeEndsWithItsProgram(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("ends", "sh -c 'read go </run/gate; exit 7'", "--ready", "unix:/nonexistent", "--restart", "no")
	const unit = "hero-core-ends.service"
	start := func() {
		t.Helper()
		g.sh("rm -f /run/gate; mkfifo /run/gate")
		g.hp("service", "start", "ends", "--no-wait")
		g.waitFor("it to be probed", func() bool { return strings.HasPrefix(g.said(unit), "waiting for unix:/nonexistent") })
	}
	over := func(state, result, said string) {
		t.Helper()
		g.waitFor("the unit to be "+state, func() bool { return g.prop(unit, "ActiveState") == state })
		if got := g.prop(unit, "Result"); got != result {
			t.Errorf("the unit's result is %s, want %s", got, result)
		}
		if got := g.said(unit); got != said {
			t.Errorf("the unit says %q, want %q", got, said)
		}
	}
	start()
	g.sh("echo go >/run/gate")
	over("failed", "exit-code", "not ready: the program has ended while unix:/nonexistent was awaited: no such file or directory")
	if status := g.run("hero_proc", "service", "status", "ends"); !strings.Contains(status.Stdout, "exit-code (exited with status 7), not ready: the program has ended") {
		t.Errorf("service status says:\n%s", status.Stdout)
	}

	start()
	g.hp("service", "stop", "ends")
	over("inactive", "success", "")
	start()
	g.sh("systemctl stop %s", unit)
	over("inactive", "success", "")
	g.waitFor("the history of the stops", func() bool {
		return g.sql("SELECT phase FROM jobs WHERE unit = '"+unit+"' ORDER BY id") == "failed\ncanceled\ncanceled"
	})
}

// It runs at every start of a service that has a probe.
func TestProberStartsInNoTime(t *testing.T) {
	t.Parallel()
	g := boot(t)
	out := g.sh(`python3 - <<'EOF'
import subprocess, time
best = 1
for _ in range(20):
    began = time.perf_counter()
    subprocess.run(["/usr/libexec/hero_proc/hero_proc_probe", "--version"], check=True, stdout=subprocess.DEVNULL)
    best = min(best, time.perf_counter() - began)
print(best * 1e6)
EOF`)
	µs, err := strconv.ParseFloat(out, 64)
	g.must(err)
	took := time.Duration(µs) * time.Microsecond
	t.Logf("the prober starts, and ends, in %s", took)
	if took > 10*time.Millisecond {
		t.Errorf("the prober takes %s to start and to end, want 10 ms at most", took)
	}
}
