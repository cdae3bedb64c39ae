package store

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// damageTable spoils the first page of a table, or of an index.
func damageTable(t *testing.T, path, name string) {
	t.Helper()
	db, err := connect(path, asReader, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var page, pageSize int64
	if err := db.QueryRow(`SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?`, name).Scan(&page, &pageSize); err != nil {
		t.Fatalf("where is %s: %v", name, err)
	}
	overwrite(t, path, (page-1)*pageSize, pageSize, 0xA5)
}

// What only the history has lost keeps no service from being started, is found
// beside the work, and mended by the next start, which loses no definition.
func TestDamagedHistory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		table  string
		backup bool
		jobs   int // that are live
		says   string
	}{
		{"jobs", true, 1, "the definitions of services were not damaged and are the newest ones"},
		{"jobs", false, 0, "there is no good backup, so the history starts empty"},
		{"jobs_unit", true, 1, "the definitions"},
		{"logs", true, 1, "the definitions"},
		{"runs", true, 1, "the definitions"},
	} {
		t.Run(c.table+map[bool]string{false: " without a backup"}[c.backup], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			put(t, s, define("one"))
			save(t, s, job("u", "a", units.PhaseRunning))
			if c.backup {
				if _, err := s.Backup(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			put(t, s, define("two"))
			save(t, s, job("u", "b", units.PhaseRunning))
			closeStore(t, s)
			damageTable(t, s.path(), c.table)

			s = open(t, dir) // and nothing to tell
			put(t, s, define("three"))
			want := []string{"one", "three", "two"}
			if got := names(t, s); !slices.Equal(got, want) {
				t.Errorf("services are %q, want %q", got, want)
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Check(over); err != nil {
				t.Errorf("given up, Check says %v", err)
			}
			err := s.Check(t.Context())
			wantCode(t, err, units.CodeStoreFailed)
			if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), s.path()) {
				t.Errorf("Check: %v", err)
			}
			dir = crash(t, dir) // as by a kill: what came last is in the WAL

			s, events := openWith(t, dir, Options{})
			if len(events) != 1 || events[0].Code != units.EventStoreRestored || !strings.Contains(events[0].Message, c.says) {
				t.Errorf("events are %+v, want one that says %q", events, c.says)
			}
			if aside := asides(t, dir); len(aside) != 1 || !strings.Contains(events[0].Message, aside[0]) {
				t.Errorf("set aside: %q", aside)
			}
			if got := names(t, s); !slices.Equal(got, want) {
				t.Errorf("restored, the services are %q, want %q", got, want)
			}
			if got := countJobs(t, s); got != c.jobs {
				t.Errorf("%d jobs are live, want %d", got, c.jobs)
			}
			if err := s.Check(t.Context()); err != nil {
				t.Errorf("restored, Check says %v", err)
			}
			save(t, s, job("u", "c", units.PhaseFailed))
			closeStore(t, s)
			open(t, dir)
			versionOf(t, s.path(), asReader) // looks at all of it
			if _, err := os.Lstat(s.damagedNote()); err == nil {
				t.Error("what was noted is still there")
			}
		})
	}
}

// A store that is said to be damaged, and is not, stays.
func TestNoteOfDamageThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	closeStore(t, s)
	rewrite(t, s.damagedNote(), "damaged: they say")
	for range 2 {
		s = open(t, dir)
		if got := names(t, s); !slices.Equal(got, []string{"one"}) {
			t.Errorf("services are %q", got)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("Check: %v", err)
		}
		if found := list(t, dir, "*corrupt*"); len(found) > 0 {
			t.Errorf("set aside: %q", found)
		}
		if _, err := os.Lstat(s.damagedNote()); err == nil {
			t.Error("the note is still there")
		}
		closeStore(t, s)
	}
}
