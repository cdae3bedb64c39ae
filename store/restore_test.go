package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// damages are ways to lose a store. Those of a file that was never there
// (fresh) are a new store, if there is no backup.
var damages = []struct {
	name  string
	fresh bool
	do    func(t *testing.T, path string)
}{
	{"garbage header", false, func(t *testing.T, path string) { overwrite(t, path, 0, 100, 0xA5) }},
	{"garbage pages in the middle", false, func(t *testing.T, path string) { overwrite(t, path, size(path)/2, 3*4096, 0xA5) }},
	{"zeroes in the middle", false, func(t *testing.T, path string) { overwrite(t, path, size(path)/2, 3*4096, 0) }},
	{"all zeroes", false, func(t *testing.T, path string) { overwrite(t, path, 0, size(path), 0) }},
	{"truncated in the middle", false, func(t *testing.T, path string) { truncate(t, path, size(path)/2) }},
	{"truncated within the first page", false, func(t *testing.T, path string) { truncate(t, path, 300) }},
	{"something else", false, func(t *testing.T, path string) { rewrite(t, path, strings.Repeat("no database\n", 500)) }},
	{"truncated to nothing", true, func(t *testing.T, path string) { truncate(t, path, 0) }},
	{"gone", true, func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}},
	{"a database that holds nothing", true, func(t *testing.T, path string) {
		rewrite(t, path, "")
		db, err := connect(path, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(`PRAGMA user_version = 7`); err != nil {
			t.Fatal(err)
		}
	}},
}

func overwrite(t *testing.T, path string, at, n int64, with byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(slices.Repeat([]byte{with}, int(n)), at); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, to int64) {
	t.Helper()
	if err := os.Truncate(path, to); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// asides are the files that were set aside, without what lay beside them.
func asides(t *testing.T, dir string) []string {
	t.Helper()
	return list(t, dir, "hero_proc.db.corrupt-*Z")
}

func TestLostFileIsSetAsideAndTheBackupRestored(t *testing.T) {
	t.Parallel()
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			fill(t, s)
			backup := backUp(t, s)
			put(t, s, define("later"))
			closeStore(t, s)
			c.do(t, s.path())
			var damaged string
			if _, err := os.Stat(s.path()); err == nil {
				damaged = read(t, s.path())
			}
			// What is left of a WAL must not be played into the backup.
			rewrite(t, s.path()+"-wal", "stale")

			s, events := openWith(t, dir, Options{})
			if len(events) != 1 || events[0].Code != units.EventStoreRestored || events[0].Level != units.LevelError || events[0].Source != units.SourceStore || events[0].Time.IsZero() {
				t.Fatalf("events are %+v", events)
			}
			want := []string{backup, "2026-01-02T03:"}
			aside := asides(t, dir)
			switch {
			case damaged == "" && c.name == "gone":
				if len(aside) > 0 {
					t.Errorf("set aside: %q", aside)
				}
			case len(aside) != 1 || read(t, aside[0]) != damaged:
				t.Errorf("set aside: %q", aside)
			default:
				want = append(want, aside[0])
				if !strings.Contains(events[0].Remedy, "sqlite3 "+aside[0]+" .recover") {
					t.Errorf("remedy is %q", events[0].Remedy)
				}
			}
			for _, part := range want {
				if !strings.Contains(events[0].Message, part) {
					t.Errorf("message lacks %q: %s", part, events[0].Message)
				}
			}
			if got := len(names(t, s)); got != 40 {
				t.Errorf("%d services, want the 40 of the backup", got)
			}
			put(t, s, define("after"))
			closeStore(t, s)
			if got := len(names(t, open(t, dir))); got != 41 { // and nothing to tell
				t.Errorf("%d services, want 41", got)
			}
		})
	}
}

func TestLostFileWithoutBackup(t *testing.T) {
	t.Parallel()
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			fill(t, s)
			closeStore(t, s)
			c.do(t, s.path())
			s, events := openWith(t, dir, Options{})
			aside := asides(t, dir)
			if c.fresh {
				if len(events)+len(aside) > 0 {
					t.Errorf("of a new store: %+v, %q", events, aside)
				}
			} else if len(events) != 1 || events[0].Code != units.EventStoreReset || len(aside) != 1 || !strings.Contains(events[0].Message, aside[0]) {
				t.Errorf("events are %+v, set aside %q", events, aside)
			}
			if got := names(t, s); len(got) > 0 {
				t.Errorf("services are %q", got)
			}
			put(t, s, define("after"))
		})
	}
}

// A WAL belongs to its file: SQLite would play it into any other.
func TestMissingFileLeavesItsWAL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		backup bool
		event  units.EventCode
		want   []string
	}{
		{"with a backup", true, units.EventStoreRestored, []string{"one"}},
		{"without", false, units.EventStoreReset, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			put(t, s, define("one"))
			if c.backup {
				backUp(t, s)
			}
			put(t, s, define("two"))
			dir = crash(t, dir)
			if err := os.Remove(filepath.Join(dir, fileName)); err != nil {
				t.Fatal(err)
			}
			s, events := openWith(t, dir, Options{})
			if len(events) != 1 || events[0].Code != c.event {
				t.Errorf("events are %+v", events)
			}
			if got := names(t, s); !slices.Equal(got, c.want) {
				t.Errorf("services are %q, want %q", got, c.want)
			}
			if aside := list(t, dir, "hero_proc.db.corrupt-*-wal"); len(aside) != 1 || size(aside[0]) == 0 {
				t.Errorf("the WAL was set aside as %q", aside)
			}
		})
	}
}

func TestNewestGoodBackupIsTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, newest string)
		want  []string
	}{
		{"all good", func(*testing.T, string) {}, []string{"one", "two"}},
		{"the newest is damaged", func(t *testing.T, newest string) { overwrite(t, newest, 0, 50, 0xA5) }, []string{"one"}},
		{"the newest is empty", func(t *testing.T, newest string) { truncate(t, newest, 0) }, []string{"one"}},
		{"the newest is of a newer hero_proc", func(t *testing.T, newest string) {
			db, err := connect(newest, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := next.Apply(t.Context(), db, clock()); err != nil {
				t.Fatal(err)
			}
		}, []string{"one"}},
		{"the newest can't be read", func(t *testing.T, newest string) {
			unreadable(t, newest)
		}, []string{"one"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, _ := openWith(t, dir, Options{Now: clock()})
			var newest string
			for _, name := range []string{"one", "two"} {
				put(t, s, define(name))
				var err error
				if newest, err = s.Backup(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			closeStore(t, s)
			c.spoil(t, newest)
			truncate(t, s.path(), 100)
			s, events := openWith(t, dir, Options{})
			if len(events) != 1 || events[0].Code != units.EventStoreRestored {
				t.Errorf("events are %+v", events)
			}
			if got := names(t, s); !slices.Equal(got, c.want) {
				t.Errorf("services are %q, want %q", got, c.want)
			}
		})
	}
}

// Only damage is damage: what the disk or a permission keeps from us is still there.
func TestWhatCannotBeReadIsNotSetAside(t *testing.T) {
	t.Parallel()
	t.Run("the file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := open(t, dir)
		put(t, s, define("one"))
		backUp(t, s)
		closeStore(t, s)
		// Not readable for root either.
		unreadable(t, s.path())
		_, events, err := Open(t.Context(), dir, Options{})
		wantCode(t, err, units.CodeStoreFailed)
		if found := list(t, dir, "*corrupt*"); len(found)+len(events) > 0 {
			t.Errorf("set aside: %q, events %+v", found, events)
		}
	})
	t.Run("the only backup of a damaged file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := open(t, dir)
		put(t, s, define("one"))
		backup := backUp(t, s)
		closeStore(t, s)
		unreadable(t, backup)
		truncate(t, s.path(), 100)
		_, events, err := Open(t.Context(), dir, Options{})
		wantCode(t, err, units.CodeStoreFailed)
		if found := list(t, dir, "*corrupt*"); len(found)+len(events) > 0 || size(s.path()) != 100 {
			t.Errorf("set aside: %q, events %+v", found, events)
		}
	})
}
