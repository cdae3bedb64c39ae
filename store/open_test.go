package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestOpenMakesEverythingPrivate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lax  bool // there before, and open to others
	}{{"new", false}, {"laxer before", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// A path that means something in a URI.
			dir := filepath.Join(t.TempDir(), "a?mode=memory&b=%41#c d")
			if c.lax {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, fileName), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Join(dir, fileName), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, dir)
			put(t, s, define("one"))
			backup := backUp(t, s)
			for path, want := range map[string]fs.FileMode{
				dir:                           0o700 | fs.ModeDir,
				filepath.Join(dir, fileName):  0o600,
				filepath.Join(dir, lockName):  0o600,
				s.path() + "-wal":             0o600,
				s.path() + "-shm":             0o600,
				filepath.Join(dir, "backups"): 0o700 | fs.ModeDir,
				backup:                        0o600,
			} {
				info, err := os.Stat(path)
				if err != nil || info.Mode() != want {
					t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
				}
			}
			closeStore(t, s)
			if left := list(t, s.dir, "hero_proc.db?*"); len(left) > 0 {
				t.Errorf("beside the file after Close: %q", left)
			}
		})
	}
}

// Each connection has them, also one that the pool makes anew.
func TestPragmas(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	s.w.SetMaxIdleConns(0) // closes the one that Open used
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1", "auto_vacuum": "2",
	} {
		var got string
		if err := s.w.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
	if _, err := s.r.Exec(`DELETE FROM services`); err == nil {
		t.Error("a reader could write")
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	_, _, err := Open(t.Context(), dir, Options{})
	wantCode(t, err, units.CodeStoreFailed)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error is %v", err)
	}
	put(t, first, define("one")) // it was not disturbed
	closeStore(t, first)
	if got := names(t, open(t, dir)); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
}

func TestNewerSchemaIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		crashed bool // what was written last is in the WAL alone
	}{{"closed", false}, {"crashed", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, _ := openWith(t, dir, Options{schema: next})
			put(t, s, define("one"))
			if c.crashed {
				dir = crash(t, dir)
			}
			closeStore(t, s)
			file := filepath.Join(dir, fileName)
			db, wal := read(t, file), ""
			if c.crashed {
				wal = read(t, file+"-wal")
			}
			_, events, err := Open(t.Context(), dir, Options{})
			wantCode(t, err, units.CodeStoreFailed)
			var newer *NewerError
			if !errors.As(err, &newer) || newer.Have != len(next) || newer.Known != len(migrate.Updates) {
				t.Errorf("error is %v", err)
			}
			if len(events) > 0 {
				t.Errorf("events are %+v", events)
			}
			if read(t, file) != db || c.crashed && read(t, file+"-wal") != wal {
				t.Error("the file was changed")
			}
			if found := append(list(t, dir, "backups", "*"), list(t, dir, "*corrupt*")...); len(found) > 0 {
				t.Errorf("made: %q", found)
			}
			again, _ := openWith(t, dir, Options{schema: next})
			if got := names(t, again); !slices.Equal(got, []string{"one"}) {
				t.Errorf("services are %q", got)
			}
		})
	}
}

func TestCrashedStoreOpensWithAllThatWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s)
	if got := len(names(t, open(t, crash(t, dir)))); got != 40 {
		t.Errorf("%d services, want 40", got)
	}
}

// A crash during the change to WAL mode leaves a rollback journal, which a
// connection that only reads can't play back.
func TestHotJournalIsRolledBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s)
	closeStore(t, s)
	db, err := connect(s.path(), "_journal_mode=DELETE", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	// More than its cache has room for, so that the file is written before the commit.
	if _, err := tx.Exec(`PRAGMA cache_size = 1; PRAGMA cache_spill = 1; UPDATE actions SET definition = '{' || definition; DELETE FROM services`); err != nil {
		t.Fatal(err)
	}
	crashed := crash(t, dir)
	if _, err := examine(t.Context(), filepath.Join(crashed, fileName), asReader, inAll); err == nil || errors.Is(err, errDamaged) {
		t.Fatalf("a reader says %v: the test made no hot journal", err)
	}
	if got := len(names(t, open(t, crashed))); got != 40 {
		t.Errorf("%d services, want 40", got)
	}
}

func TestErrorsHaveCodes(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	s := &Store{dir: "/state"}
	for _, c := range []struct {
		name   string
		ctx    context.Context
		err    error
		want   units.Code
		remedy string
	}{
		{"no room for a page", t.Context(), sqlite3.Error{Code: sqlite3.ErrFull}, units.CodeStoreFull, "df -h /state"},
		{"no room for the shared memory", t.Context(), sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.ENOSPC}, units.CodeStoreFull, "df -h /state"},
		{"no room for a copy", t.Context(), &fs.PathError{Op: "write", Err: syscall.ENOSPC}, units.CodeStoreFull, "df -h /state"},
		{"quota used up", t.Context(), fmt.Errorf("x: %w", syscall.EDQUOT), units.CodeStoreFull, "df -h /state"},
		{"no room while something else is damaged", t.Context(), fmt.Errorf("%w %w", sqlite3.Error{Code: sqlite3.ErrCorrupt}, syscall.ENOSPC), units.CodeStoreFull, "df -h /state"},
		{"damaged while it is used", t.Context(), sqlite3.Error{Code: sqlite3.ErrCorrupt}, units.CodeStoreFailed, "systemctl restart hero_proc"},
		{"the disk fails", t.Context(), sqlite3.Error{Code: sqlite3.ErrIoErr, SystemErrno: syscall.EIO}, units.CodeStoreFailed, ""},
		{"constraint", t.Context(), sqlite3.Error{Code: sqlite3.ErrConstraint}, units.CodeStoreFailed, ""},
		{"caller left", over, sqlite3.Error{Code: sqlite3.ErrInterrupt}, units.CodeCanceled, ""},
		{"time is up", late, context.DeadlineExceeded, units.CodeTimeout, ""},
		{"caller left, but that was not it", over, sqlite3.Error{Code: sqlite3.ErrFull}, units.CodeStoreFull, "df -h /state"},
		{"has a code", t.Context(), fmt.Errorf("x: %w", units.NoSuchService(units.ID{})), units.CodeNoSuchService, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := s.fail(c.ctx, "do it", c.err)
			wantCode(t, err, c.want)
			var coded *units.Error
			if errors.As(err, &coded); c.remedy != "" && !strings.HasPrefix(coded.Remedy, c.remedy) {
				t.Errorf("remedy is %q, want %q", coded.Remedy, c.remedy)
			}
			if c.want != units.CodeNoSuchService && !strings.HasPrefix(err.Error(), "cannot do it: ") {
				t.Errorf("message is %q", err)
			}
		})
	}
	if err := s.fail(over, "do it", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
