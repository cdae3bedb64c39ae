package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// wantEvent checks that this boot has reported exactly one thing about
// hero_db, in the journal and in the logs table, before READY=1, that the
// message says why, and that the boot went on.
func (g *guest) wantEvent(code units.EventCode, says string) {
	g.t.Helper()
	g.active(daemon)
	info, ok := code.Info()
	if !ok {
		g.t.Fatalf("%s is not in the table of events", code)
	}
	entries := g.entries(units.SourceHeroDB)
	if len(entries) != 1 {
		g.t.Fatalf("the journal has %d entries of %s, want 1: %+v", len(entries), units.SourceHeroDB, entries)
	}
	e := entries[0]
	for _, f := range []struct{ field, got, want string }{
		{"MESSAGE_ID", e.MessageID, info.MessageID},
		{"PRIORITY", e.Priority, map[units.Level]string{units.LevelError: "3", units.LevelWarning: "4"}[info.Level]},
		{"HERO_CONTEXT", e.Context, units.DefaultContext},
		{"HERO_SERVICE", e.Service, units.HeroDB},
		{"HERO_ERROR_CODE", e.Code, string(code)},
		{"_SYSTEMD_UNIT", e.Unit, daemon},
	} {
		if f.got != f.want {
			g.t.Errorf("%s is %q, want %q", f.field, f.got, f.want)
		}
	}
	if !strings.Contains(e.Remediation, "hero_proc service ") {
		g.t.Errorf("HERO_REMEDIATION is %q, want commands", e.Remediation)
	}
	if !strings.Contains(e.Message, says) {
		g.t.Errorf("the message is %q, want %q in it", e.Message, says)
	}
	if at, ready := g.at(e), g.readyAt(); at >= ready {
		g.t.Errorf("the entry is of %s, READY=1 was at %s", at, ready)
	}
	rows := g.rows(units.SourceHeroDB, info.Level)
	if len(rows) != 1 {
		g.t.Fatalf("the logs table has %d rows, want 1: %+v", len(rows), rows)
	}
	r := rows[0]
	if r.Code != string(code) || r.Message != e.Message || r.Context != e.Context || r.Service != e.Service || r.Source != units.SourceHeroDB {
		g.t.Errorf("the row %+v is not the entry %+v", r, e)
	}
	if ready := g.readyTime(); !r.Time.Before(ready) {
		g.t.Errorf("the row is of %s, READY=1 was at %s", r.Time, ready)
	}
}

// readyTime is when the daemon said READY=1, by the wall clock.
func (g *guest) readyTime() time.Time {
	g.t.Helper()
	at := g.sh("systemctl show --timestamp=us+utc --property=ActiveEnterTimestamp --value %s", daemon)
	ready, err := time.Parse("Mon 2006-01-02 15:04:05.000000 MST", at)
	g.must(err)
	return ready
}

// wantSilence checks that this boot has nothing to say about hero_db.
func (g *guest) wantSilence() {
	g.t.Helper()
	g.active(daemon)
	if entries := g.entries(units.SourceHeroDB); len(entries) > 0 {
		g.t.Errorf("the journal has %+v, want nothing", entries)
	}
	for _, level := range []units.Level{units.LevelError, units.LevelWarning} {
		if rows := g.rows(units.SourceHeroDB, level); len(rows) > 0 {
			g.t.Errorf("the logs table has %+v, want nothing", rows)
		}
	}
}

func TestHeroDBNotRegistered(t *testing.T) {
	t.Parallel()
	g := newGuest(t, installed)
	// What is there the moment that READY=1 was said was written before it.
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/witness.service", strings.NewReader(`[Unit]
After=hero_proc.service
[Service]
Type=oneshot
ExecStart=sh -c 'hero_proc log query --source hero_proc.auto_start_db --level error --json >/run/witness'
[Install]
WantedBy=multi-user.target
`), 0o644))
	g.sh("systemctl enable witness.service")
	g.on()
	g.wantEvent(units.EventNotRegistered, `"core/hero_db" is not registered`)
	if seen := parseRows(t, g.sh("cat /run/witness")); len(seen) != 1 {
		t.Errorf("at READY=1 the logs table had %+v, want one row", seen)
	}
	explained := g.sh("journalctl --boot --catalog HERO_SOURCE=%s", units.SourceHeroDB)
	for _, words := range []string{
		"No service hero_db is registered in context core",
		"hero_proc service set hero_db",
	} {
		if !strings.Contains(explained, words) {
			t.Errorf("journalctl --catalog has no %q:\n%s", words, explained)
		}
	}
	if list := g.hp("service", "list"); strings.Contains(list, "hero_db") {
		t.Errorf("hero_proc has registered hero_db by itself:\n%s", list)
	}
}

func TestHeroDBWithoutStartIntentIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, wanted := range []units.Wanted{units.WantedStop, units.WantedIgnore, units.WantedSpec} {
		t.Run(string(wanted), func(t *testing.T) {
			t.Parallel()
			g := boot(t)
			g.set("hero_db", redis, "--ready", "notify", "--status", string(wanted))
			g.forget()
			g.reboot()
			g.wantEvent(units.EventNotStartIntent, `wanted status "`+string(wanted)+`"`)
			p, err := g.Properties(g.ctx, heroDB, "LoadState", "ActiveState", "InvocationID")
			g.must(err)
			load := "loaded"
			if wanted == units.WantedSpec {
				load = "not-found"
			}
			if p["LoadState"] != load || p["ActiveState"] != "inactive" || p["InvocationID"] != "" {
				t.Errorf("%s reads %v, want %s and never started", heroDB, p, load)
			}
			if errors := g.rows(units.SourceHeroDB, units.LevelError); len(errors) > 0 {
				t.Errorf("a wish is no error, but the logs table has %+v", errors)
			}
		})
	}
}

// forget empties the logs table, which has what the boot before a
// registration had to say.
func (g *guest) forget() {
	g.t.Helper()
	g.sql("DELETE FROM logs")
}

// sql runs a statement on the store, behind the daemon's back, and returns
// the rows as lines of tab-separated values.
func (g *guest) sql(statement string) string {
	g.t.Helper()
	out, err := g.Output(g.ctx, "python3", "-c", `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10)
for row in db.execute(sys.argv[2]):
    print(*row, sep="\t")
db.commit()
`, database, statement)
	g.must(err)
	return strings.TrimSpace(out)
}

func TestHeroDBOptOut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		registered bool
	}{
		{name: "not registered"},
		{name: "registered", registered: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t, installed)
			g.environment("HERO_PROC_NO_AUTOSTART_DB=1")
			g.on()
			if tc.registered {
				g.set("hero_db", redis, "--ready", "notify")
				g.set("bystander", sleeper)
				g.reboot()
				g.active("hero-core-bystander.service")
				if load, id := g.prop(heroDB, "LoadState"), g.prop(heroDB, "InvocationID"); load != "loaded" || id != "" {
					t.Errorf("opted out, and hero_db is %s, with invocation %q; want it loaded and never started", load, id)
				}
			}
			g.wantSilence()
			if health := g.hp("health"); !strings.Contains(health, "opted-out") {
				t.Errorf("hero_proc health does not tell of the opt-out:\n%s", health)
			}
		})
	}
}

func TestHeroDBInAnotherContext(t *testing.T) {
	t.Parallel()
	g := newGuest(t, installed)
	g.environment("HERO_PROC_HERO_DB_CONTEXT=data")
	g.on()
	entries := g.entries(units.SourceHeroDB)
	if len(entries) != 1 || entries[0].Context != "data" || entries[0].Code != string(units.EventNotRegistered) {
		t.Errorf("the journal has %+v, want that data/hero_db is not registered", entries)
	}
	g.set("hero_db", redis, "--ready", "notify", "--context", "data")
	g.forget()
	g.reboot()
	g.wantSilence()
	g.active("hero-data-hero_db.service")
}

func TestHeroDBThatCannotStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, command string
		flags         []string
		code          units.EventCode
		says          string
	}{
		{
			name: "fails", command: "/usr/bin/false", flags: []string{"--restart", "no"},
			code: units.EventStartFailed, says: "exit-code",
		},
		{
			name: "fails before it says that it is ready", command: "/usr/bin/false", flags: []string{"--restart", "no", "--ready", "notify"},
			code: units.EventStartFailed, says: "exit-code",
		},
		{
			name: "does not exist", command: "/usr/bin/no_such_program", flags: []string{"--restart", "no"},
			code: units.EventStartFailed, says: "203/EXEC",
		},
		{
			name: "fails and is to be tried again", command: "/usr/bin/false", flags: []string{"--restart", "always", "--restart-delay", "1m"},
			code: units.EventStartTimeout, says: "exit-code",
		},
		{
			// systemd itself gives up later, or the machine would be "starting" for long.
			name: "never gets ready", command: sleeper, flags: []string{"--ready", "notify", "--restart", "no", "--timeout-start", "4s"},
			code: units.EventStartTimeout, says: "activating",
		},
		{
			name: "gives up on a limit of starts", command: "/usr/bin/false", flags: []string{"--restart", "always", "--restart-delay", "100ms"},
			code: units.EventStartFailed, says: "exit-code",
		},
		{
			name: "requires what fails", command: sleeper, flags: []string{"--requires", "broken"},
			code: units.EventDependencyFailed, says: "hero-core-broken.service",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGuest(t, installed)
			g.environment("HERO_PROC_DB_START_TIMEOUT=2s")
			g.on()
			g.set("broken", "/usr/bin/false", "--oneshot")
			g.set("hero_db", tc.command, tc.flags...)
			g.set("bystander", sleeper)
			g.forget()
			g.reboot()
			g.wantEvent(tc.code, tc.says)
			g.active("hero-core-bystander.service")
			start := g.usec(daemon, "ExecMainStartTimestampMonotonic")
			// Without the timeout that is set it would wait for 30 s.
			if took := g.readyAt() - start; took > 20*time.Second {
				t.Errorf("READY=1 came %s after the daemon's start, with a timeout of 2 s", took)
			}
		})
	}
}

func TestHeroDBAlreadyRunningIsUntouched(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify")
	g.forget()
	g.reboot()
	before := g.identity(heroDB)
	g.sh("systemctl restart hero_proc")
	if after := g.identity(heroDB); after != before {
		t.Errorf("after a restart of hero_proc hero_db is %s, was %s", after, before)
	}
	g.wantSilence()
	if jobs := g.sql("SELECT phase FROM jobs WHERE unit = '" + heroDB + "'"); jobs != "running" {
		t.Errorf("the history of hero_db has the jobs %q, want the one that runs", strings.Split(jobs, "\n"))
	}
	if !slices.Contains(strings.Fields(g.sh("redis-cli PING")), "PONG") {
		t.Error("hero_db does not answer")
	}
}
