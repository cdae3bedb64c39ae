package integration

import (
	"fmt"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// storeEntry waits until the store's trouble is in the journal, and checks
// the fields that every entry of it has.
func (g *guest) storeEntry(code units.EventCode) entry {
	g.t.Helper()
	var found entry
	g.waitFor(string(code)+" in the journal", func() bool {
		for _, e := range g.entries(units.SourceStore) {
			if e.Code == string(code) {
				found = e
				return true
			}
		}
		return false
	})
	info, _ := code.Info()
	if found.MessageID != info.MessageID || found.Priority != "3" || found.Unit != daemon {
		g.t.Errorf("the entry is %+v, want MESSAGE_ID %s, PRIORITY 3, of %s", found, info.MessageID, daemon)
	}
	return found
}

// setAside holds that one file was set aside, and that the entry names it.
func (g *guest) setAside(e entry) {
	g.t.Helper()
	if aside := strings.Fields(g.sh("ls -d %s.corrupt-*Z", database)); len(aside) != 1 || !strings.Contains(e.Message, aside[0]) {
		g.t.Errorf("set aside is %q; the message is %s", aside, e.Message)
	}
}

// stored is a machine with services that run, and that are in the store and
// its backup.
func stored(t *testing.T) (g *guest, before string) {
	t.Helper()
	g = boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--env", "KEEP=me", "--now")
	g.sh("for i in $(seq 30); do hero_proc service set s$i --exec '%s' --requires hero_db --status stop; done", sleeper)
	g.set("web", sleeper, "--requires", "hero_db", "--now")
	return g, g.identities()
}

// Without its store hero_proc can't go on. It says so, leaves alone what runs,
// and is back once the trouble is over.
func TestStoreThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, spoil, mend string
		says, remedy      string
	}{
		{
			name:  "not a file",
			spoil: "mv %[1]s /root/kept; rm -f %[1]s-*; mkdir %[1]s",
			mend:  "rmdir %[1]s; mv /root/kept %[1]s",
			says:  "is a directory", remedy: "ls -la /var/lib/hero_proc",
		},
		{
			name:  "of a newer version",
			spoil: `python3 -c 'import sqlite3; db = sqlite3.connect("%[1]s"); db.execute("INSERT INTO schema VALUES (999, 0)"); db.commit(); db.close()'; sha256sum %[1]s >/root/sum`,
			mend:  `sha256sum --check --quiet /root/sum; python3 -c 'import sqlite3; db = sqlite3.connect("%[1]s"); db.execute("DELETE FROM schema WHERE version = 999"); db.commit(); db.close()'`,
			says:  "version 999", remedy: "install the newer hero_proc",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g, before := stored(t)
			g.sh("systemctl stop hero_proc")
			g.sh(tc.spoil, database)
			if r := g.run("systemctl", "start", "hero_proc"); r.Exit == 0 {
				t.Error("hero_proc says that it is ready without its store")
			}
			e := g.storeEntry(units.EventStoreUnusable)
			if !strings.Contains(e.Message, tc.says) || !strings.Contains(e.Remediation, tc.remedy) {
				t.Errorf("the entry is %+v, want it to say %q and to do %q", e, tc.says, tc.remedy)
			}
			if after := g.identities(); after != before {
				t.Errorf("services were touched: they are\n%s\nwere\n%s", after, before)
			}
			// systemd starts it again and again: nobody has to.
			g.sh(tc.mend, database)
			g.back()
			if after := g.identities(); after != before {
				t.Errorf("mended, the services are\n%s\nwere\n%s", after, before)
			}
			if definition := g.hp("service", "show", "hero_db"); !strings.Contains(definition, "KEEP") {
				t.Errorf("mended, the definition is\n%s", definition)
			}
		})
	}
}

func TestDamagedStoreIsRestored(t *testing.T) {
	t.Parallel()
	g, before := stored(t)
	listed := g.sql("SELECT context_name, name, status, definition FROM services ORDER BY name")
	g.sh("systemctl stop hero_proc")
	// The header stays as it is, as of a file whose disk has lost some blocks.
	g.sh("dd if=/dev/urandom of=%s bs=4096 seek=1 count=12 conv=notrunc,fsync status=none", database)
	g.sh("systemctl start hero_proc")
	e := g.storeEntry(units.EventStoreRestored)
	if !strings.Contains(e.Message, "/var/lib/hero_proc/backups/") {
		t.Errorf("the message does not name the backup: %s", e.Message)
	}
	if after := g.identities(); after != before {
		t.Errorf("services were touched: they are\n%s\nwere\n%s", after, before)
	}
	if after := g.sql("SELECT context_name, name, status, definition FROM services ORDER BY name"); after != listed {
		t.Errorf("the services are\n%s\nwere\n%s", after, listed)
	}
	g.setAside(e)
	if rows := g.rows(units.SourceStore, units.LevelError); len(rows) != 1 || rows[0].Code != string(units.EventStoreRestored) {
		t.Errorf("the logs table has %+v", rows)
	}
	// The machine boots with it as with any other.
	g.reboot()
	g.active(daemon, heroDB, "hero-core-web.service")
	if n := g.sql("SELECT count(*) FROM services"); n != fmt.Sprint(32) {
		t.Errorf("after a boot the store has %s services", n)
	}
}

// A history that is damaged keeps hero_db from nothing. It is replaced soon after,
// and the definitions stay, also those that no backup has.
func TestDamagedHistoryIsReplaced(t *testing.T) {
	t.Parallel()
	g, _ := stored(t)
	g.sh("systemctl stop hero_proc")
	g.must(g.WriteFile(g.ctx, "/root/spoil.py", strings.NewReader(`
import os, sqlite3
db = sqlite3.connect("`+database+`")
for table, name in (("services", "name"), ("actions", "service_name")):
    columns = [c[1] for c in db.execute(f"PRAGMA table_info({table})")]
    values = ["'late'" if c == name else c for c in columns]
    db.execute(f"INSERT INTO {table} SELECT {', '.join(values)} FROM {table} WHERE {name} = 's1'")
db.commit()
(page,), (size,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone(), db.execute("PRAGMA page_size").fetchone()
db.close()
with open("`+database+`", "r+b") as f:
    f.seek((page - 1) * size)
    f.write(os.urandom(size))
`), 0o600))
	g.sh("python3 /root/spoil.py")
	g.reboot()
	e := g.storeEntry(units.EventStoreRestored)
	g.back()
	if !strings.Contains(e.Message, "/var/lib/hero_proc/backups/") || !strings.Contains(e.Message, "definitions of services were not damaged") {
		t.Errorf("the message is %s", e.Message)
	}
	if n := g.prop(daemon, "NRestarts"); n != "1" {
		t.Errorf("systemd has restarted hero_proc %s times, want once", n)
	}
	if said := g.sh("journalctl --boot --unit hero_proc --grep 'which the next start mends|with result' --output cat"); !strings.Contains(said, "cannot go on") || !strings.Contains(said, "with result 'exit-code'") {
		t.Errorf("hero_proc did not end by itself: %s", said)
	}
	g.active(daemon, heroDB, "hero-core-web.service")
	if up, again := g.usec(heroDB, "ActiveEnterTimestampMonotonic"), g.usec(daemon, "ExecMainStartTimestampMonotonic"); up > again {
		t.Errorf("hero_db is up since %d µs, after the start at %d that has mended the store", up, again)
	}
	if n := g.sql("SELECT count(*) FROM services"); n != fmt.Sprint(33) {
		t.Errorf("the store has %s services", n)
	}
	if definition := g.hp("service", "show", "late"); !strings.Contains(definition, sleeper) {
		t.Errorf("what no backup has is\n%s", definition)
	}
	g.setAside(e)
}

// A daemon that hangs is replaced by systemd, and what it supervises runs on.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--now")
	g.set("web", sleeper, "--requires", "hero_db", "--now")
	before := g.identities()
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/hero_proc.service.d/watchdog.conf", strings.NewReader("[Service]\nWatchdogSec=2\n"), 0o644))
	g.sh("systemctl daemon-reload; systemctl restart hero_proc")
	main := g.prop(daemon, "MainPID")
	// One that is well goes on past it.
	beat := g.usec(daemon, "WatchdogTimestampMonotonic")
	for range 3 {
		g.waitFor("a sign of life", func() bool {
			last := beat
			beat = g.usec(daemon, "WatchdogTimestampMonotonic")
			return beat > last
		})
	}
	if now := g.prop(daemon, "MainPID"); now != main {
		t.Fatalf("hero_proc is process %s, was %s: it should have lived", now, main)
	}
	g.sh("systemctl kill --kill-whom=main --signal=STOP hero_proc")
	g.waitFor("another hero_proc", func() bool {
		p := g.prop(daemon, "MainPID")
		return p != "0" && p != main
	})
	g.back()
	if n := g.prop(daemon, "NRestarts"); n != "1" {
		t.Errorf("systemd has restarted hero_proc %s times", n)
	}
	if after := g.identities(); after != before {
		t.Errorf("services were touched: they are\n%s\nwere\n%s", after, before)
	}
}
