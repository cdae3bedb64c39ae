package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// terminal runs a command on a terminal of 100 columns and prints, as Python
// writes it, all that the terminal got. Its first argument is a JSON list of
// pairs: the terminal shows the one, and the shell does the other.
const terminal = `
import fcntl, json, os, pty, struct, subprocess, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    os.execvpe(sys.argv[2], sys.argv[2:], dict(os.environ, TERM="xterm", NO_COLOR="1"))
got, seen, when = b"", 0, json.loads(sys.argv[1])
while True:
    try:
        part = os.read(fd, 4096)
    except OSError: # EIO: nobody has the terminal open
        break
    if not part:
        break
    got += part
    while when and (at := got.find(when[0][0].encode(), seen)) >= 0:
        seen = at + len(when[0][0])
        subprocess.run(["sh", "-c", when.pop(0)[1]], check=True)
print(ascii(got.decode()))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

// How terminal writes what takes a line away, and what ends one.
const erase, newline = `\r\x1b[K`, `\r\n`

// then is what is done once the terminal shows a text.
type then [2]string

// onTerminal is what a terminal gets of a command of hero_proc, which must end
// with that status.
func (g *guest) onTerminal(exit int, when []then, args ...string) string {
	g.t.Helper()
	g.must(g.WriteFile(g.ctx, "/run/terminal.py", strings.NewReader(terminal), 0o644))
	if when == nil {
		when = []then{}
	}
	pairs, err := json.Marshal(when)
	g.must(err)
	r := g.run(append([]string{"python3", "/run/terminal.py", string(pairs), "hero_proc"}, args...)...)
	if r.Exit != exit {
		g.t.Errorf("%v exits with %d, want %d: %s%s", args, r.Exit, exit, r.Stdout, r.Stderr)
	}
	return strings.Trim(strings.TrimSpace(r.Stdout), "'\"")
}

// stays is what the terminal shows in the end.
func stays(got string) (lines []string) {
	for _, line := range strings.Split(got, newline) {
		parts := strings.Split(line, erase)
		lines = append(lines, parts[len(parts)-1])
	}
	return lines
}

// On a terminal one sees what is awaited, and in the end no trace of it.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("db", sleeper, "--ready", "unix:/run/db-is-ready")
	g.set("web", sleeper, "--requires", "db")
	wants := func(what, got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s, the terminal has no %q: %s", what, part, got)
			}
		}
	}
	const awaits = "0 of 2 done; core/web: waits for core/db, waiting for unix:/run/db-is-ready"
	ready := "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('/run/db-is-ready'); s.listen(); time.sleep(1000)"
	got := g.onTerminal(0, []then{{awaits, `systemd-run -q python3 -c "` + ready + `"`}}, "service", "start", "web", "db")
	wants("while they start", got, awaits, erase+"started core/web"+newline)
	if end := got[strings.LastIndex(got, erase)+len(erase):]; strings.Contains(end, "of 2 done") || !strings.Contains(end, "started core/db") {
		t.Errorf("in the end the terminal shows %q", end)
	}

	// It stops when it is let go, and not before.
	g.set("slow", `sh -c "trap '' TERM; touch /run/ignores; while ! test -e /run/let-go; do sleep 0.1; done"`)
	slow := func() {
		g.sh("rm -f /run/ignores /run/let-go")
		g.hp("service", "start", "slow")
		g.waitFor("it to ignore that it is to stop", func() bool { return g.run("test", "-e", "/run/ignores").Exit == 0 })
	}
	slow()
	const stops = "core/slow: is stopping (stop-sigterm)"
	got = g.onTerminal(0, []then{{stops, "touch /run/let-go"}}, "service", "stop", "slow")
	wants("while it stops", got, stops, erase+"stopped core/slow"+newline)

	// None of it is for a pipe, for JSON or for who wants quiet; that it would
	// come takes a while.
	const later = "systemd-run -q sh -c 'sleep 2; touch /run/let-go'"
	for _, flag := range []string{"--json", "--quiet"} {
		slow()
		g.sh(later)
		if got := g.onTerminal(0, nil, "service", "stop", "slow", flag); strings.Contains(got, "\\x1b") || strings.Contains(got, "is stopping") {
			t.Errorf("with %s the terminal has %s", flag, got)
		}
	}
	slow()
	g.sh(later)
	if r := g.run("hero_proc", "service", "stop", "slow"); r.Stdout != "stopped core/slow\n" || r.Stderr != "" {
		t.Errorf("in a pipe it gives %+v", r)
	}
}

// So one does of a run that is waited for, between the lines that it prints.
func TestProgressOfARunOnATerminal(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const until, runs = "until test -e /run/%s; do sleep 0.1; done; ", "is running"
	command := strings.ReplaceAll(until, "%s", "first") + "echo one; " + strings.ReplaceAll(until, "%s", "second") + "echo two; exit 3"
	got := g.onTerminal(3, []then{{runs, "touch /run/first"}, {"one\r\n", ":"}, {runs, "touch /run/second"}}, "run", "--name", "slow", "--wait", "--", "sh", "-c", command)
	if want := []string{"one", "two", ""}; !slices.Equal(stays(got), want) {
		t.Errorf("what stays on the terminal is %q, want %q, of %s", stays(got), want, got)
	}
	for _, want := range []string{"s) job 1 of core/slow is running", erase + "one" + newline, newline + "("} {
		if !strings.Contains(got, want) {
			t.Errorf("the terminal has no %q: %s", want, got)
		}
	}
	// The job has the terminal, or what reads it wants the object alone.
	slow := []string{"--", "sh", "-c", "sleep 2; echo out"}
	if got := g.onTerminal(0, nil, append([]string{"run", "--pipe"}, slow...)...); got != "out"+newline {
		t.Errorf("with --pipe the terminal has %q", got)
	}
	if got := g.onTerminal(0, nil, append([]string{"--json", "run", "--wait"}, slow...)...); strings.Contains(got, "\\x1b") || strings.Contains(got, runs) {
		t.Errorf("with --json the terminal has %q", got)
	}
	if r := g.run(append([]string{"hero_proc", "run", "--wait"}, slow...)...); r.Stdout != "out\n" || r.Stderr != "" {
		t.Errorf("in a pipe it gives %+v", r)
	}
}
