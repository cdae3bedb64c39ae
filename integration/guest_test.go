package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// guest is one test's machine. What can't fail in a sound machine fails the
// test here, so that tests read as a list of what is done and expected.
type guest struct {
	*machine.Machine
	t   testing.TB
	ctx context.Context
}

const (
	daemon   = "hero_proc.service"
	heroDB   = "hero-core-hero_db.service"
	settings = "/etc/default/hero_proc"
	// database is the store's file.
	database = "/var/lib/hero_proc/hero_proc.db"
)

// redis is a command that makes a real server of hero_db's protocol, which
// says itself when it is ready.
const redis = "/usr/bin/redis-server --port 6379 --dir /tmp --save '' --supervised systemd --daemonize no"

// sleeper is a command that stays up and does nothing.
const sleeper = "/usr/bin/sleep infinity"

// newGuest makes a machine that is off.
func newGuest(t testing.TB, disk machine.Layers) *guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	m, err := host.New(disk)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{m, t, ctx}
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			// The test's context is over by now.
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			t.Log(m.Report(ctx, daemon, heroDB, "hero-*"))
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// boot makes a machine with hero_proc installed and nothing registered, and
// powers it on.
func boot(t testing.TB) *guest {
	t.Helper()
	g := newGuest(t, installed)
	g.on()
	return g
}

func (g *guest) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) on() {
	g.t.Helper()
	g.must(g.Boot(g.ctx))
}

func (g *guest) reboot() {
	g.t.Helper()
	g.must(g.Reboot(g.ctx))
}

// sh runs a shell script that must succeed.
func (g *guest) sh(format string, args ...any) string {
	g.t.Helper()
	out, err := g.Output(g.ctx, "sh", "-ec", fmt.Sprintf(format, args...))
	g.must(err)
	return strings.TrimSpace(out)
}

// run runs a command that may fail.
func (g *guest) run(args ...string) machine.Result {
	g.t.Helper()
	r, err := g.Run(g.ctx, args...)
	g.must(err)
	return r
}

// hp runs the command line's hero_proc, which must succeed.
func (g *guest) hp(args ...string) string {
	g.t.Helper()
	out, err := g.Output(g.ctx, append([]string{"hero_proc"}, args...)...)
	g.must(err)
	return out
}

// set registers a service that runs a command.
func (g *guest) set(name, command string, flags ...string) {
	g.t.Helper()
	g.hp(append([]string{"service", "set", name, "--exec", command}, flags...)...)
}

// environment sets the daemon's environment, for its next start.
func (g *guest) environment(lines ...string) {
	g.t.Helper()
	g.must(g.WriteFile(g.ctx, settings, strings.NewReader(strings.Join(lines, "\n")+"\n"), 0o644))
}

func (g *guest) prop(unit, name string) string {
	g.t.Helper()
	p, err := g.Properties(g.ctx, unit, name)
	g.must(err)
	return p[name]
}

// usec is a property that counts microseconds.
func (g *guest) usec(unit, name string) time.Duration {
	g.t.Helper()
	n, err := strconv.ParseInt(g.prop(unit, name), 10, 64)
	g.must(err)
	return time.Duration(n) * time.Microsecond
}

// readyAt is when the daemon said READY=1, since the kernel's start.
func (g *guest) readyAt() time.Duration { return g.usec(daemon, "ActiveEnterTimestampMonotonic") }

// waitFor waits for something that sends no event.
func (g *guest) waitFor(what string, cond func() bool) {
	g.t.Helper()
	g.must(machine.WaitFor(g.ctx, what, func() (bool, error) { return cond(), nil }))
}

// active checks that units are active.
func (g *guest) active(names ...string) {
	g.t.Helper()
	for _, u := range names {
		if err := Active(g.ctx, g.Machine, u); err != nil {
			g.t.Error(err)
		}
	}
}

// identity is what stays the same as long as nobody touches a unit.
func (g *guest) identity(unit string) string {
	g.t.Helper()
	p, err := g.Properties(g.ctx, unit, "ActiveState", "MainPID", "InvocationID", "NRestarts")
	g.must(err)
	return fmt.Sprint(p)
}

// entry is a journal entry of hero_proc's.
type entry struct {
	MessageID   string `json:"MESSAGE_ID"`
	Priority    string `json:"PRIORITY"`
	Message     string `json:"MESSAGE"`
	Source      string `json:"HERO_SOURCE"`
	Context     string `json:"HERO_CONTEXT"`
	Service     string `json:"HERO_SERVICE"`
	Code        string `json:"HERO_ERROR_CODE"`
	Remediation string `json:"HERO_REMEDIATION"`
	Unit        string `json:"_SYSTEMD_UNIT"`
	Monotonic   string `json:"__MONOTONIC_TIMESTAMP"`
}

// at is when the entry was written, since the kernel's start.
func (g *guest) at(e entry) time.Duration {
	g.t.Helper()
	n, err := strconv.ParseInt(e.Monotonic, 10, 64)
	g.must(err)
	return time.Duration(n) * time.Microsecond
}

// entries are this boot's structured errors and warnings of one source.
func (g *guest) entries(source string) []entry {
	g.t.Helper()
	g.sh("journalctl --sync")
	out, err := g.Output(g.ctx, "journalctl", "--boot", "--output=json", "--all", "--quiet", "--priority=warning", "HERO_SOURCE="+source)
	g.must(err)
	var all []entry
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		g.must(json.Unmarshal(lines.Bytes(), &e))
		all = append(all, e)
	}
	g.must(lines.Err())
	return all
}

// row is a row of the logs table, as the command line prints it.
type row struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Source  string    `json:"source"`
	Code    string    `json:"code"`
	Context string    `json:"context"`
	Service string    `json:"service"`
	Message string    `json:"message"`
	Remedy  string    `json:"remedy"`
	Result  string    `json:"result"`
}

func parseRows(t testing.TB, text string) []row {
	t.Helper()
	var answer struct {
		SchemaVersion int   `json:"schema_version"`
		Entries       []row `json:"entries"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if answer.SchemaVersion != 1 {
		t.Errorf("schema_version is %d in %s", answer.SchemaVersion, text)
	}
	return answer.Entries
}

// rows are the rows of one source and level.
func (g *guest) rows(source string, level units.Level) []row {
	g.t.Helper()
	return parseRows(g.t, g.hp("log", "query", "--source", source, "--level", string(level), "--json"))
}
