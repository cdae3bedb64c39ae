package integration

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

var updateWhy = flag.Bool("update", false, "write the outputs of service why that are compared anew")

// whyVaries is what differs from one run to the next, and what it is compared as.
var whyVaries = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`), "TIME"},
	{regexp.MustCompile(`(\d+min )?\d+s ago`), "AGO ago"},
	{regexp.MustCompile(`\[\d+\]`), "[PID]"},
	{regexp.MustCompile(`[0-9.]+m?s after it was asked for`), "SOON after it was asked for"},
	{regexp.MustCompile(`and \d+ tries`), "and N tries"},
	{regexp.MustCompile(`PID \d+`), "PID N"},
}

// why is what "service why" prints, less what differs from run to run.
func (g *guest) why(name string, exit int) string {
	g.t.Helper()
	g.sh("journalctl --sync")
	r := g.run("hero_proc", "service", "why", name)
	if r.Exit != exit || r.Stderr != "" {
		g.t.Errorf("why %s exits with %d, want %d; it says %q", name, r.Exit, exit, r.Stderr)
	}
	return vary(r.Stdout)
}

func vary(text string) string {
	for _, v := range whyVaries {
		text = v.what.ReplaceAllString(text, v.as)
	}
	return text
}

// wantWhy compares the whole of it with a file.
func (g *guest) wantWhy(name, file string) {
	g.t.Helper()
	exit := 0
	if strings.HasPrefix(file, "unregistered") {
		exit = 4
	}
	g.wantText(file, func() string { return g.why(name, exit) })
}

// wantText compares with a file, until they are the same: what is said follows
// what systemd does, and not all of that is over when it does the next thing.
func (g *guest) wantText(file string, say func() string) {
	g.t.Helper()
	path := filepath.Join("testdata", "why", file+".txt")
	if *updateWhy {
		g.must(os.WriteFile(path, []byte(say()), 0o644))
	}
	want, err := os.ReadFile(path)
	g.must(err)
	got := ""
	ctx, cancel := context.WithTimeout(g.ctx, 15*time.Second)
	defer cancel()
	if err := machine.WaitFor(ctx, file, func() (bool, error) {
		got = say()
		return got == string(want), nil
	}); err != nil {
		g.t.Errorf("%v: it says\n%s\nwant\n%s", err, got, want)
	}
}

// brokenC is a service that says why it can't go on, and ends with status 3.
const brokenC = `/bin/sh -c 'echo "cannot open /etc/c.conf" >&2; exit 3'`

func TestWhyOfAChain(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("c", brokenC, "--ready", "notify", "--restart", "no")
	g.set("b", sleeper, "--requires", "c")
	g.set("a", sleeper, "--requires", "b")
	g.wantWhy("a", "chain-never-started")
	if r := g.run("hero_proc", "service", "start", "a"); r.Exit != 1 || !strings.Contains(r.Stderr, "Try:\n  hero_proc service why a\n") {
		t.Fatalf("start of a exits with %d: %s", r.Exit, r.Stderr)
	}
	if state, reason := g.reads("a"); state != "blocked" || reason != "it requires hero-core-b.service, which is inactive; hero_proc starts it once that is up" {
		t.Errorf("a, two behind what failed, is %s: %s", state, reason)
	}
	for _, n := range []string{"a", "b", "c"} {
		g.wantWhy(n, "chain-failed-"+n)
	}
	// Somebody who may not read the journal is told so, and what to do.
	g.wantText("chain-failed-unprivileged", func() string {
		r := g.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "hero_proc", "service", "why", "a")
		return regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(vary(r.Stdout), "INVOCATION")
	})

	// What mends it.
	g.set("c", sleeper, "--ready", "exec")
	g.hp("service", "start", "a")
	g.wantWhy("a", "chain-running")
	g.hp("service", "stop", "c")
	g.wantWhy("a", "chain-stopped-a")
	g.wantWhy("c", "chain-stopped-c")
	g.set("c", "/bin/sh -c 'kill -SEGV $$'")
	g.run("hero_proc", "service", "start", "c")
	g.waitFor("c to give up", func() bool { return g.prop("hero-core-c.service", "ActiveState") == "failed" })
	g.wantWhy("c", "chain-crashed")
}

func TestWhyOfWhatCannotStart(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("orphan", sleeper, "--requires", "nowhere")
	g.set("x", sleeper, "--after", "y")
	g.set("y", sleeper, "--after", "x")
	g.set("z", sleeper, "--requires", "x")
	g.set("masked", sleeper)
	g.set("needy", sleeper, "--requires", "night", "--status", "stop")
	g.set("dropin", sleeper)
	g.set("template", sleeper, "--status", "spec")
	g.set("day", sleeper)
	g.set("night", sleeper, "--conflicts", "day")
	g.sh(`systemctl mask hero-core-masked.service
		mkdir -p /etc/systemd/system/hero-core-dropin.service.d
		printf '[Service]\nExecStart=/bin/true\n' >/etc/systemd/system/hero-core-dropin.service.d/x.conf`)
	g.forget()
	g.reboot()
	for _, tt := range []struct{ service, file string }{
		{"orphan", "missing"}, {"nowhere", "unregistered-required"}, {"elsewhere", "unregistered"},
		{"x", "cycle"}, {"z", "cycle-behind"}, {"masked", "masked"}, {"needy", "not-wanted"}, {"dropin", "drop-in"},
		{"template", "spec"}, {"night", "conflict"}, {"day", "running"},
	} {
		g.wantWhy(tt.service, tt.file)
	}
}

func TestWhyOfWaiting(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("slow", sleeper, "--ready", "tcp:127.0.0.1:1", "--ready-timeout", "4s", "--restart", "no")
	g.set("waits", sleeper, "--requires", "slow")
	g.hp("service", "start", "--no-wait", "waits")
	g.waitFor("slow to wait", func() bool { return strings.HasPrefix(g.said("hero-core-slow.service"), "waiting") })
	g.wantWhy("slow", "probe-waits")
	g.wantWhy("waits", "queued")
	g.waitFor("slow to fail", func() bool { return g.prop("hero-core-slow.service", "ActiveState") == "failed" })
	g.wantWhy("slow", "probe-gave-up")
	g.wantWhy("waits", "queued-failed")

	g.set("again", brokenC, "--restart-delay", "1h")
	g.run("hero_proc", "service", "start", "again")
	g.waitFor("again to wait for its restart", func() bool { return g.prop("hero-core-again.service", "SubState") == "auto-restart" })
	g.wantWhy("again", "auto-restart")

	g.set("two", sleeper)
	g.set("two", brokenC, "--action", "side", "--restart", "no")
	g.run("hero_proc", "service", "start", "two") // which says that not all of it has started
	g.waitFor("its side to fail", func() bool { return g.prop("hero-core-two@side.service", "ActiveState") == "failed" })
	g.wantWhy("two", "degraded")

	g.set("once", "/bin/true", "--oneshot")
	g.hp("service", "start", "once")
	g.wantWhy("once", "oneshot")
	g.set("short", "/bin/true")
	g.run("hero_proc", "service", "start", "short")
	g.waitFor("short to end", func() bool { return g.prop("hero-core-short.service", "ActiveState") == "inactive" })
	g.wantWhy("short", "ended")

	var answer struct {
		Schema int `json:"schema_version"`
		Why    struct {
			State string `json:"state"`
			Chain []struct {
				Name    string    `json:"name"`
				Depth   int       `json:"depth"`
				Root    bool      `json:"root"`
				Since   time.Time `json:"since"`
				Journal struct {
					Lines []struct {
						From, Message string
					} `json:"lines"`
				} `json:"journal"`
			} `json:"chain"`
		} `json:"why"`
	}
	g.must(json.Unmarshal([]byte(g.hp("service", "why", "waits", "--json")), &answer))
	chain := answer.Why.Chain
	if answer.Schema != 1 || answer.Why.State != "blocked" || len(chain) != 2 || chain[1].Name != "slow" || chain[1].Depth != 1 || !chain[1].Root || chain[1].Since.IsZero() ||
		len(chain[1].Journal.Lines) != 1 || !strings.HasPrefix(chain[1].Journal.Lines[0].Message, "not ready: tcp:127.0.0.1:1 after 4s") {
		t.Errorf("as JSON, why says %+v", answer)
	}
}
