package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ErrLocked is inside the error of [Open] when another process has the store.
var ErrLocked = errors.New("another hero_proc_server is using it")

// NewerError is inside the error of [Open] when a newer hero_proc has written
// the store. The file is as it was.
type NewerError = migrate.NewerError

// errDamaged is inside an error that says that a database file has lost its
// content. Nothing else may ever lead to a file being set aside.
var errDamaged = errors.New("damaged")

// fail gives an error its code: the one place that knows the causes. doing
// reads on after "cannot". An error that has a code keeps it.
func (s *Store) fail(ctx context.Context, doing string, err error) error {
	var coded *units.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return err
	case gaveUp(ctx, err):
		// SQLite says "interrupted", database/sql "transaction has already
		// been rolled back": the context knows why.
		code := units.CodeCanceled
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			code = units.CodeTimeout
		}
		return units.Errorf(code, "cannot %s: %w", doing, ctx.Err())
	case diskFull(err):
		return units.Errorf(units.CodeStoreFull, "cannot %s: %w", doing, err).
			WithRemedy(s.freeSpace())
	}
	failed := units.Errorf(units.CodeStoreFailed, "cannot %s: %w", doing, err)
	var newer *NewerError
	switch {
	case errors.Is(err, ErrLocked):
		failed.Remedy = "systemctl status hero_proc"
	case errors.As(err, &newer):
		failed.Remedy = fmt.Sprintf("install the newer hero_proc again, or go back to a backup from before: ls -l %s", s.backupDir())
	case damage(err):
		failed.Remedy = "systemctl restart hero_proc    # checks the store, and restores the newest backup if it must"
	}
	return failed
}

// freeSpace is what mends a full disk.
func (s *Store) freeSpace() string {
	return "df -h " + s.dir + "    # then free some space there: hero_proc goes on by itself"
}

func gaveUp(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, sql.ErrTxDone) || sqliteCode(err) == sqlite3.ErrInterrupt)
}

func diskFull(err error) bool {
	full := func(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
	var e sqlite3.Error
	errors.As(err, &e)
	// SQLite says ErrIoErr when it can't make the files beside the database.
	return full(err) || e.Code == sqlite3.ErrFull || full(e.SystemErrno)
}

// damage says that SQLite could read the file and that it makes no sense. An
// I/O error, a full disk or a missing permission is none.
func damage(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.ErrCorrupt || code == sqlite3.ErrNotADB
}

func sqliteCode(err error) sqlite3.ErrNo {
	var e sqlite3.Error
	errors.As(err, &e)
	return e.Code
}
