package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// The history is bounded by what the administrator has set, the room is given
// back, and what runs loses nothing.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--now")
	g.set("quiet", sleeper, "--now")
	g.hp("service", "restart", "quiet")
	g.set("idle", sleeper, "--status", "stop")
	g.hp("service", "start", "idle")
	g.hp("service", "stop", "idle")
	before := g.identities()
	g.sh("systemctl stop hero_proc")
	// A service that has crashed for a month, one of long ago, and what the
	// registered ones once did.
	const crashed = 30_000
	g.sql(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO runs (id, context_name, service_name, origin, created_at) SELECT 1000 + i, 'core', 'crasher', 'systemd', (unixepoch() - 86400) * 1000000 FROM n`, crashed))
	g.sql(`INSERT INTO jobs (run_id, context_name, service_name, action, unit, attempt, phase, invocation_id, main_pid, created_at, started_at, ended_at, result, exit_code, exit_status)
		SELECT id, 'core', service_name, 'main', 'hero-core-crasher.service', 1, 'failed', printf('%032x', id), 0, created_at, created_at, created_at, 'exit-code', 1, 1 FROM runs WHERE service_name = 'crasher'`)
	g.sql(`UPDATE jobs SET created_at = 1, started_at = 2, ended_at = 3 WHERE unit = 'hero-core-idle.service'`)
	g.sql(`INSERT INTO logs (time, source, code, level, context_name, service_name, message, remedy, unit, result)
		VALUES (1, 'hero_proc.test', 'x', 'info', '', '', 'of long ago', '', '', '')`)
	size := func() int {
		n, err := strconv.Atoi(g.sh("stat -c %%s %s", database))
		g.must(err)
		return n
	}
	large := size()

	g.environment("HERO_PROC_RETAIN_PER_SERVICE=10", "HERO_PROC_RETAIN_AGE=30d")
	g.sh("systemctl start hero_proc")
	g.waitFor("the history to be bounded", func() bool {
		return strings.Contains(g.sh("journalctl --boot --output=cat --unit=hero_proc"), "bounded the history")
	})
	for statement, want := range map[string]string{
		"SELECT count(*), min(run_id) FROM jobs WHERE service_name = 'crasher'": fmt.Sprintf("10\t%d", 1000+crashed-9),
		"SELECT count(*) FROM runs WHERE id NOT IN (SELECT run_id FROM jobs)":   "0",
		"SELECT count(*) FROM jobs WHERE service_name = 'quiet'":                "2",
		"SELECT count(*) FROM jobs WHERE service_name = 'idle'":                 "1", // its last, if of long ago
		"SELECT count(*) FROM jobs WHERE phase = 'running'":                     "2",
		"SELECT count(*) FROM logs WHERE source = 'hero_proc.test'":             "0",
		"PRAGMA integrity_check":                                                "ok",
		"PRAGMA freelist_count":                                                 "0",
		"SELECT count(*) FROM services":                                         "3",
	} {
		if got := g.sql(statement); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
	if small := size(); small > large/10 {
		t.Errorf("the store has %d bytes, had %d", small, large)
	}
	if after := g.identities(); after != before {
		t.Errorf("services were touched: they are\n%s\nwere\n%s", after, before)
	}
}
