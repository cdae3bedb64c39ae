package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// rootPage is where a table, or an index, begins.
func rootPage(t *testing.T, path, name string) (page, pageSize int64) {
	t.Helper()
	db, err := connect(path, asReader, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?`, name).Scan(&page, &pageSize); err != nil {
		t.Fatalf("where is %s: %v", name, err)
	}
	return page, pageSize
}

// damageTable spoils the first page of a table, or of an index.
func damageTable(t *testing.T, path, name string) {
	t.Helper()
	page, pageSize := rootPage(t, path, name)
	overwrite(t, path, (page-1)*pageSize, pageSize, 0xA5)
}

// twice has a service there twice, which quick_check does not see: its key is
// wrong in the index.
func twice(t *testing.T, path, name string) {
	t.Helper()
	page, pageSize := rootPage(t, path, "sqlite_autoindex_services_1")
	content := []byte(read(t, path))
	index := content[(page-1)*pageSize : page*pageSize]
	copy(index, bytes.Replace(index, []byte("core"+name), []byte("core"+strings.Repeat("x", len(name))), 1))
	rewrite(t, path, string(content))
	db, err := connect(path, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`INSERT INTO services SELECT * FROM services NOT INDEXED WHERE +name = ?`, name); err != nil {
		t.Fatal(err)
	}
}

// checkFails has Check find damage, and note it.
func checkFails(t *testing.T, s *Store) {
	t.Helper()
	mend, err := s.Check(t.Context())
	wantCode(t, err, units.CodeStoreFailed)
	if !mend || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), s.path()) {
		t.Errorf("Check: %v, %v", mend, err)
	}
}

func checkPasses(t *testing.T, s *Store) {
	t.Helper()
	if mend, err := s.Check(t.Context()); mend || err != nil {
		t.Errorf("Check: %v, %v", mend, err)
	}
}

// mended opens a store that Check has found damaged, or that is known to be, and
// that has these services then.
func mended(t *testing.T, dir string, opts Options, says string, want ...string) *Store {
	t.Helper()
	s, events := openWith(t, dir, opts)
	if len(events) != 1 || events[0].Code != units.EventStoreRestored || !strings.Contains(events[0].Message, says) {
		t.Errorf("events are %+v, want one that says %q", events, says)
	}
	if got := names(t, s); !slices.Equal(got, want) {
		t.Errorf("restored, the services are %q, want %q", got, want)
	}
	checkPasses(t, s)
	save(t, s, job("u", "new", units.PhaseFailed))
	for _, path := range []string{s.damagedNote(), s.replacement()} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	return s
}

// What only the history has lost keeps no service from being started, is found
// beside the work, and mended by the next start, which loses no definition, and
// gives no number of a run twice.
func TestDamagedHistory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		table  string
		backup bool
		jobs   int // that are live
		says   string
	}{
		{"jobs", true, 1, "the definitions of services were not damaged"},
		{"jobs", false, 0, "there is no good backup, so the history starts empty; the definitions"},
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
				backUp(t, s)
			}
			put(t, s, define("two"))
			last := job("u", "b", units.PhaseRunning)
			save(t, s, last)
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
			if mend, err := s.Check(over); mend || err != nil {
				t.Errorf("given up, Check says %v, %v", mend, err)
			}
			checkFails(t, s)
			dir = crash(t, dir) // as by a kill: what came last is in the WAL

			s = mended(t, dir, Options{}, c.says, want...)
			if got := countJobs(t, s); got != c.jobs {
				t.Errorf("%d jobs are live, want %d", got, c.jobs)
			}
			next := job("u", "c", units.PhaseFailed)
			if save(t, s, next); next.ID <= last.ID || next.Run <= last.Run {
				t.Errorf("job %d of run %d comes after job %d of run %d", next.ID, next.Run, last.ID, last.Run)
			}
			if aside := asides(t, dir); len(aside) != 1 {
				t.Errorf("set aside: %q", aside)
			}
			closeStore(t, s)
			open(t, dir)
			versionOf(t, s.path(), asReader) // looks at all of it
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
	s = open(t, dir)
	if got := names(t, s); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
	checkPasses(t, s)
	if found := append(list(t, dir, "*corrupt*"), list(t, dir, damagedName)...); len(found) > 0 {
		t.Errorf("there are %q", found)
	}
}

// Damage that can't be noted would only be found again and again.
func TestDamageThatCannotBeNoted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	closeStore(t, s)
	damageTable(t, s.path(), "jobs")
	s = open(t, dir)
	if err := os.Mkdir(s.damagedNote(), 0o700); err != nil {
		t.Fatal(err)
	}
	mend, err := s.Check(t.Context())
	wantCode(t, err, units.CodeStoreFailed)
	if mend {
		t.Error("it is to be mended")
	}
}

// An update of the schema touches the history.
func TestDamagedHistoryOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	backUp(t, s)
	put(t, s, define("two"))
	closeStore(t, s)
	damageTable(t, s.path(), "jobs")
	s = mended(t, dir, Options{schema: next}, "the definitions", "one", "two")
	if version := versionOf(t, s.path(), asReader); version != len(next) {
		t.Errorf("version is %d", version)
	}
}

// What a newer hero_proc has written is its own to mend.
func TestDamagedHistoryOfANewerVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := openWith(t, dir, Options{schema: next})
	put(t, s, define("one"))
	backUp(t, s)
	closeStore(t, s)
	damageTable(t, s.path(), "jobs")
	rewrite(t, s.damagedNote(), "damaged")
	_, events, err := Open(t.Context(), dir, Options{})
	var newer *NewerError
	if found := list(t, dir, "hero_proc.db?*ed*"); !errors.As(err, &newer) || len(events)+len(found) > 0 {
		t.Errorf("error %v, events %+v, set aside %q", err, events, found)
	}
	mended(t, dir, Options{schema: next}, "the definitions", "one")
}

// The newest backup may be the one that was made before an update.
func TestDamagedHistoryWithAnOlderBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	closeStore(t, s)
	s, _ = openWith(t, dir, Options{schema: next})
	put(t, s, define("two"))
	if made := list(t, dir, "backups", "*"); len(made) != 1 || versionOf(t, made[0], asBackup) != len(migrate.Updates) {
		t.Fatalf("backups are %q", made)
	}
	closeStore(t, s)
	damageTable(t, s.path(), "jobs")
	s, _ = openWith(t, dir, Options{schema: next})
	checkFails(t, s)
	closeStore(t, s)
	mended(t, dir, Options{schema: next}, "the definitions", "one", "two")
}

// Whatever is wrong with the definitions, or with the backups, the other will do.
func TestDamagedHistoryAndMore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *Store, backup string)
		says string
		want []string
	}{
		{"definitions that can't be taken", func(t *testing.T, s *Store, _ string) {
			twice(t, s.path(), "two")
		}, "was restored.", []string{"one"}},
		{"a backup that can't be read", func(t *testing.T, _ *Store, backup string) {
			unreadable(t, backup)
		}, "the history starts empty", []string{"one", "two"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, dir)
			put(t, s, define("one"))
			backup := backUp(t, s)
			put(t, s, define("two"))
			closeStore(t, s)
			c.do(t, s, backup)
			damageTable(t, s.path(), "jobs")
			rewrite(t, s.damagedNote(), "damaged")
			mended(t, dir, Options{}, c.says, c.want...)
		})
	}
}

// A backup that can't be read is no reason to go back to nothing.
func TestNothingThatCanReplaceTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	backup := backUp(t, s)
	put(t, s, define("two"))
	closeStore(t, s)
	twice(t, s.path(), "two")
	damageTable(t, s.path(), "jobs")
	rewrite(t, s.damagedNote(), "damaged")
	good := read(t, backup)
	unreadable(t, backup)
	before := read(t, s.path())
	_, events, err := Open(t.Context(), dir, Options{})
	wantCode(t, err, units.CodeStoreFailed)
	if left := append(list(t, dir, "hero_proc.db?*ed*"), list(t, dir, tempPrefix+"*")...); len(events)+len(left) > 0 || read(t, s.path()) != before {
		t.Errorf("events are %+v, and there are %q", events, left)
	}
	if err := os.Remove(backup); err != nil {
		t.Fatal(err)
	}
	rewrite(t, backup, good)
	mended(t, dir, Options{}, "was restored.", "one")
}

// The history is read as far as it can be where definitions are lost.
func TestRunsOutliveDamagedDefinitions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	over, err := s.BeginRun(t.Context(), adHoc("over"), "boot", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	backUp(t, s)
	if err := s.EndRuns(t.Context(), over.Run); err != nil {
		t.Fatal(err)
	}
	last := job("u", "b", units.PhaseRunning)
	save(t, s, last)
	closeStore(t, s)
	damageTable(t, s.path(), "services")
	s = mended(t, dir, Options{}, "was restored.", "one")
	if open, err := s.OpenRuns(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("open runs are %+v, %v: that was over", open, err)
	}
	next := job("u", "c", units.PhaseFailed)
	if save(t, s, next); next.ID <= last.ID || next.Run <= last.Run {
		t.Errorf("job %d of run %d comes after job %d of run %d", next.ID, next.Run, last.ID, last.Run)
	}
}

// A crash at any point while a store is replaced loses nothing of what replaces it.
func TestReplacementGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	for done := range len(suffixes) + 1 {
		for _, empty := range []bool{false, true} {
			dir := t.TempDir()
			s := open(t, dir)
			put(t, s, define("one"))
			made, want := "", []string(nil)
			var err error
			if empty {
				made, _, err = s.makeReplacement(t.Context(), backup{}, 0)
			} else {
				made, err = s.Backup(t.Context())
				want = []string{"one"}
			}
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, define("two"))
			crashed := crash(t, dir) // with a WAL
			path := filepath.Join(crashed, fileName)
			rewrite(t, filepath.Join(crashed, replacementName), read(t, made))
			rewrite(t, filepath.Join(crashed, damagedName), "damaged")
			for _, suffix := range suffixes[:done] {
				if err := os.Rename(path+suffix, path+".corrupt-20260101T000000.000000Z"+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			s, events := openWith(t, crashed, Options{})
			code := map[bool]units.EventCode{false: units.EventStoreRestored, true: units.EventStoreReset}[empty]
			if len(events) != 1 || events[0].Code != code || !strings.Contains(events[0].Message, "took its place") {
				t.Errorf("after %d steps, empty %v: events are %+v", done, empty, events)
			}
			if got := names(t, s); !slices.Equal(got, want) {
				t.Errorf("after %d steps the services are %q, want %q", done, got, want)
			}
			closeStore(t, s)
			open(t, crashed)
		}
	}
}

// A replacement that is no good replaces nothing.
func TestReplacementThatIsDamagedItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	closeStore(t, s)
	rewrite(t, s.replacement(), strings.Repeat("no database\n", 500))
	if got := names(t, open(t, dir)); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
	if left := list(t, dir, "hero_proc.db?*ed*"); len(left) > 0 {
		t.Errorf("there are %q", left)
	}
}
