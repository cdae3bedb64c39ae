package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func versionOf(t *testing.T, path, params string) int {
	t.Helper()
	version, err := examine(t.Context(), path, params, inAll)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return version
}

func TestBackupIsMadeWhenDefinitionsChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := clock()
	again := func(s *Store) *Store {
		t.Helper()
		closeStore(t, s)
		s, _ = openWith(t, dir, Options{Now: now})
		if err := s.BackUpInTime(t.Context()); err != nil {
			t.Error(err)
		}
		return s
	}
	s, _ := openWith(t, dir, Options{Now: now})
	for _, step := range []struct {
		name   string
		do     func()
		backup int // how many there are then
	}{
		{"new and empty", func() { s = again(s) }, 0},
		{"registered", func() { put(t, s, define("one")) }, 0},
		{"opened", func() { s = again(s) }, 1},
		{"opened again", func() { s = again(s) }, 1},
		{"asked for, unchanged", func() {
			if err := s.BackUpIfChanged(t.Context()); err != nil {
				t.Error(err)
			}
		}, 1},
		{"asked for, another wanted status", func() {
			one := define("one")
			one.Wanted = units.WantedStop
			put(t, s, one)
			if err := s.BackUpIfChanged(t.Context()); err != nil {
				t.Error(err)
			}
		}, 2},
		{"opened after that", func() { s = again(s) }, 2},
		{"history alone", func() {
			if err := s.appendLogs(t.Context(), []units.Event{{Time: now(), Level: units.LevelInfo}}); err != nil {
				t.Error(err)
			}
			s = again(s)
		}, 2},
		{"all removed", func() {
			if err := s.RemoveService(t.Context(), define("one").ID); err != nil {
				t.Error(err)
			}
			s = again(s)
		}, 3},
		{"the newest is damaged", func() {
			truncate(t, slices.Max(list(t, dir, "backups", "*")), 10)
			s = again(s)
			versionOf(t, slices.Max(list(t, dir, "backups", "*")), asBackup)
		}, 3},
	} {
		step.do()
		if got := list(t, dir, "backups", "*"); len(got) != step.backup {
			t.Errorf("%s: backups are %q, want %d", step.name, got, step.backup)
		}
	}
}

func TestBackupsAreOrderedAndFewAlsoIfTheClockGoesBack(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	s, _ := openWith(t, t.TempDir(), Options{Now: func() time.Time { now = now.Add(-time.Minute); return now }})
	var made []string
	for range keepNewest + 3 {
		path := backUp(t, s)
		made = append(made, path)
	}
	if !slices.IsSorted(made) {
		t.Errorf("made in the order %q", made)
	}
	if got := list(t, s.backupDir(), "*"); !slices.Equal(got, made[3:]) {
		t.Errorf("kept %q, want the newest of %q", got, made)
	}
}

func TestBackupIsOneFileThatTheWriterDoesNotWaitFor(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, define("one"))
	letGo := hold(t, s)
	path, err := s.Backup(t.Context())
	if err != nil {
		t.Fatalf("beside a writer: %v", err)
	}
	letGo()
	if version := versionOf(t, path, asBackup); version != len(migrate.Updates) {
		t.Errorf("version of the backup is %d", version)
	}
	if got := list(t, s.backupDir(), "*"); !slices.Equal(got, []string{path}) {
		t.Errorf("files are %q", got)
	}
}

func TestGivenUpBackupLeavesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Backup(ctx)
	wantCode(t, err, units.CodeCanceled)
	if got, err := os.ReadDir(s.backupDir()); err != nil || len(got) > 0 {
		t.Errorf("files are %v, %v", got, err)
	}
}

func TestHalfWrittenFilesAreSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "backups"), 0o700); err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(dir, tempPrefix+"1"), "half")
	rewrite(t, filepath.Join(dir, "backups", tempPrefix+"2"), "half")
	rewrite(t, filepath.Join(dir, "backups", "hero_proc-mine.db"), "the operator's")
	open(t, dir)
	if got := append(list(t, dir, tempPrefix+"*"), list(t, dir, "backups", tempPrefix+"*")...); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	if got := list(t, dir, "backups", "*"); len(got) != 1 {
		t.Errorf("a file that is not ours was removed: %q", got)
	}
}

func TestMigrationIsBackedUpFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := clock()
	s, _ := openWith(t, dir, Options{Now: now})
	put(t, s, define("one"))
	backUp(t, s) // the definitions are the same
	closeStore(t, s)
	s, _ = openWith(t, dir, Options{Now: now, schema: next})
	if got := names(t, s); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
	made := list(t, dir, "backups", "*")
	if len(made) != 2 || versionOf(t, made[1], asBackup) != len(migrate.Updates) {
		t.Errorf("backups are %q", made)
	}
	if version := versionOf(t, s.path(), asReader); version != len(next) {
		t.Errorf("version is %d", version)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	closeStore(t, s)
	failing := append(slices.Clone(migrate.Updates), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM services`)
		return errors.Join(err, broken)
	})
	for range 3 {
		if _, _, err := Open(t.Context(), dir, Options{schema: failing}); !errors.Is(err, broken) {
			t.Fatalf("error is %v", err)
		}
	}
	if got := list(t, dir, "backups", "*"); len(got) > 0 {
		t.Errorf("each try left a backup: %q", got)
	}
	if got := names(t, open(t, dir)); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
}

func TestBackupThatCannotBeMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	closeStore(t, s)
	// A file system that has no room for it says so at the same places.
	if err := os.Symlink("/proc/self/nowhere", s.backupDir()); err != nil {
		t.Fatal(err)
	}
	_, _, err := Open(t.Context(), dir, Options{schema: next})
	wantCode(t, err, units.CodeStoreFailed)
	if version := versionOf(t, s.path(), asReader); version != len(migrate.Updates) {
		t.Errorf("migrated to %d without a backup of before", version)
	}
	s = open(t, dir)
	if got := names(t, s); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
	wantCode(t, s.BackUpInTime(t.Context()), units.CodeStoreFailed)
}
