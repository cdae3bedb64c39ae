package integration

import (
	"strings"
	"testing"
)

// terminal runs a command on a terminal of 100 columns and prints, as Python
// writes it, all that the terminal got.
const terminal = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    os.execvpe(sys.argv[1], sys.argv[1:], dict(os.environ, TERM="xterm", NO_COLOR="1"))
got = b""
while True:
    try:
        part = os.read(fd, 4096)
    except OSError: # EIO: nobody has the terminal open
        break
    if not part:
        break
    got += part
print(ascii(got.decode()))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

// On a terminal one sees what is awaited, and in the end no trace of it.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.must(g.WriteFile(g.ctx, "/run/terminal.py", strings.NewReader(terminal), 0o644))
	g.set("db", sleeper, "--ready", "unix:/run/db-is-ready")
	g.set("web", sleeper, "--requires", "db")
	g.set("slow", `sh -c "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.1; done"`)
	onTerminal := func(args ...string) string {
		t.Helper()
		r := g.run(append([]string{"python3", "/run/terminal.py", "hero_proc"}, args...)...)
		if r.Exit != 0 {
			t.Errorf("%v exits with %d: %s%s", args, r.Exit, r.Stdout, r.Stderr)
		}
		return strings.Trim(strings.TrimSpace(r.Stdout), "'\"")
	}
	wants := func(what, got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s, the terminal has no %q: %s", what, part, got)
			}
		}
	}
	const erase, newline = `\r\x1b[K`, `\r\n`
	// What makes it ready comes when the line had time to be drawn.
	ready := "sleep 2; python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"/run/db-is-ready\"); s.listen(); time.sleep(60)'"
	g.sh("rm -f /run/db-is-ready; systemd-run -q --unit=readier sh -c %s", quoted(ready))
	got := onTerminal("service", "start", "web", "db")
	wants("while they start", got, "0 of 2 done; core/web: waits for core/db, waiting for unix:/run/db-is-ready", erase+"started core/web"+newline)
	if end := got[strings.LastIndex(got, erase)+len(erase):]; strings.Contains(end, "of 2 done") || !strings.Contains(end, "started core/db") {
		t.Errorf("in the end the terminal shows %q", end)
	}
	g.hp("service", "start", "slow")
	got = onTerminal("service", "stop", "slow")
	wants("while it stops", got, "core/slow: is stopping (stop-sigterm)", erase+"stopped core/slow"+newline)

	// None of it is for a pipe, for JSON or for who wants quiet.
	for _, flag := range []string{"--json", "--quiet"} {
		g.hp("service", "start", "slow")
		if got := onTerminal("service", "stop", "slow", flag); strings.Contains(got, "\\x1b") || strings.Contains(got, "is stopping") {
			t.Errorf("with %s the terminal has %s", flag, got)
		}
	}
	g.hp("service", "start", "slow")
	if r := g.run("hero_proc", "service", "stop", "slow"); r.Stdout != "stopped core/slow\n" || r.Stderr != "" {
		t.Errorf("in a pipe it gives %+v", r)
	}
}

// quoted is one word of a shell script.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
