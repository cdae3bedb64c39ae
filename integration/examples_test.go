package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// examples is the documentation whose commands the test runs, so that it can't
// be wrong.
const examples = "../packaging/examples/dbus.md"

// block is one fenced block: commands (sh), or what they print (text). With
// "follow" they go on while the next ones are run.
type block struct {
	kind, text string
	line       int
}

func readBlocks(t *testing.T, file string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		kind, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !inside:
			inside = true
			blocks = append(blocks, block{kind: strings.TrimSpace(kind), line: number})
		case fence:
			inside = false
		case inside:
			blocks[len(blocks)-1].text += line
		}
	}
	return blocks
}

// missing is the first line of want that the output does not have behind the
// one before it; "" when it has all. "…" stands for anything, and any number
// of spaces for any other.
func missing(output, want string) string {
	lines := strings.Split(output, "\n")
	for pattern := range strings.Lines(want) {
		pattern = strings.TrimRight(pattern, "\n")
		expr := strings.Join(strings.Fields(regexp.QuoteMeta(pattern)), `\s+`)
		for _, anything := range []string{`\s+…\s+`, `…\s+`, `\s+…`, "…"} {
			expr = strings.ReplaceAll(expr, anything, ".*")
		}
		line := regexp.MustCompile(`^\s*` + expr + `\s*$`)
		for {
			if len(lines) == 0 {
				return pattern
			}
			next := lines[0]
			lines = lines[1:]
			if line.MatchString(next) {
				break
			}
		}
	}
	return ""
}

func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	g := boot(t)
	// Nothing else has made a job: the documentation says that this is job 1.
	blocks := readBlocks(t, examples)
	var printed string
	var followed *follower
	ran := map[string]int{}
	for _, b := range blocks {
		ran[b.kind]++
		switch b.kind {
		case "sh":
			printed = g.sh("%s", b.text)
		case "text":
			if line := missing(printed, b.text); line != "" {
				t.Errorf("%s:%d: there is no line %q in what was printed:\n%s", examples, b.line, line, printed)
			}
		case "sh follow":
			followed = g.follow(b.text)
		case "text follow":
			g.waitFor(fmt.Sprintf("%s:%d: %s", examples, b.line, b.text), func() bool { return missing(followed.String(), b.text) == "" })
			followed.stop()
		default:
			t.Errorf("%s:%d: a block of kind %q is not tested", examples, b.line, b.kind)
		}
	}
	for _, kind := range []string{"sh", "text", "sh follow", "text follow"} {
		if ran[kind] < 2 {
			t.Errorf("%s has %d blocks of kind %q; is it read right?", examples, ran[kind], kind)
		}
	}
	if list := g.hp("service", "list", "--json"); strings.Contains(list, `"demo"`) {
		t.Errorf("the examples leave their service behind: %s", list)
	}
}

// follower is a command that runs, and what it has printed so far.
type follower struct {
	mu   sync.Mutex
	text bytes.Buffer
	stop func()
}

func (f *follower) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(p)
}

func (f *follower) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

// follow starts a command and returns once it has said that it listens.
func (g *guest) follow(script string) *follower {
	g.t.Helper()
	f := &follower{}
	// exec: the kill at the end of ctx is then the command's own.
	ctx, cancel := context.WithCancel(g.ctx)
	cmd, err := g.Command(ctx, "sh", "-ec", "exec "+script)
	g.must(err)
	cmd.Stdout, cmd.Stderr = f, f
	g.must(cmd.Start())
	f.stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	g.t.Cleanup(f.stop)
	g.waitFor("the start of: "+script, func() bool { return strings.Contains(strings.ToLower(f.String()), "monitor") })
	return f
}

// writeProgram writes while nothing forks: a child would have the file open for
// writing until it executes, and the program could not be executed (ETXTBSY).
func writeProgram(path string, text []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, 0o755)
}

// TestOverSSH calls the guest's hero_proc from the host, with a program for
// ssh that enters the guest: what answers is systemd's own bridge.
func TestOverSSH(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("web", sleeper, "--now")
	enter, err := g.Command(g.ctx, "systemd-stdio-bridge")
	g.must(err)
	shell, err := g.Command(g.ctx, "sh", "-c")
	g.must(err)
	nobody, err := g.Command(g.ctx, append(asNobody, "systemd-stdio-bridge")...)
	g.must(err)
	dir := t.TempDir()
	cli := dir + "/hero_proc"
	copied, err := g.Command(g.ctx, "cat", "/usr/bin/hero_proc")
	g.must(err)
	program, err := copied.Output()
	g.must(err)
	g.must(writeProgram(cli, program))
	g.must(writeProgram(dir+"/ssh", fmt.Appendf(nil, `#!/bin/sh
# ssh -xT -- USER@HOST COMMAND
case "$*" in
"-xT -- root@hero systemd-stdio-bridge") exec %s ;;
"-xT -- root@hero 'journalctl' "*) shift 3; exec %s "$*" ;; # as sshd: to a shell
"-xT -- nobody@hero systemd-stdio-bridge") exec %s ;;
esac
echo "ssh: Could not resolve hostname $3: Name or service not known" >&2
exit 255
`, strings.Join(enter.Args, " "), strings.Join(shell.Args, " "), strings.Join(nobody.Args, " "))))

	call := func(args ...string) (string, error) {
		cmd := exec.CommandContext(g.ctx, cli, args...)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	if out, err := call("-H", "root@hero", "service", "status", "web"); err != nil || !strings.Contains(out, "core/web") || !strings.Contains(out, "running") {
		t.Errorf("status over ssh: %v\n%s", err, out)
	}
	before := g.prop("hero-core-web.service", "InvocationID")
	if out, err := call("-H", "root@hero", "service", "restart", "web"); err != nil {
		t.Errorf("restart over ssh: %v\n%s", err, out)
	}
	if g.prop("hero-core-web.service", "InvocationID") == before {
		t.Error("the restart over ssh restarted nothing")
	}
	for _, args := range [][]string{{"service", "logs", "web", "--since", "1d", "-n", "5"}, {"job", "logs", "1"}} {
		if out, err := call(append([]string{"-H", "root@hero"}, args...)...); err != nil || !strings.Contains(out, "Started hero-core-web.service") {
			t.Errorf("%v over ssh: %v\n%s", args, err, out)
		}
	}
	if out, err := call("-H", "nobody@hero", "service", "list"); err != nil || !strings.Contains(out, "core/web") {
		t.Errorf("nobody may not list over ssh: %v\n%s", err, out)
	}
	if out, err := call("-H", "nobody@hero", "service", "stop", "web"); err == nil {
		t.Errorf("nobody may stop over ssh: %s", out)
	}
	g.active("hero-core-web.service")
	if out, err := call("-H", "elsewhere", "service", "list"); err == nil || !strings.Contains(out, "Could not resolve hostname") {
		t.Errorf("an ssh that fails: %v\n%s", err, out)
	}
	g.waitFor("the end of the bridges", func() bool { return g.run("pgrep", "systemd-stdio").Exit == 1 })
}
