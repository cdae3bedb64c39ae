package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
)

// suffixes of the files that make up one database, itself last.
var suffixes = []string{"-wal", "-shm", "-journal", ""}

// What is looked for in a file, the first row being what is wrong:
// https://sqlite.org/pragma.html#pragma_quick_check
const (
	inDefinitions = `SELECT quick_check FROM sqlite_schema AS t, pragma_quick_check(t.name)
		WHERE t.type = 'table' AND t.name IN ('schema', 'services', 'actions') AND quick_check <> 'ok' LIMIT 1`
	inAll = `SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok' LIMIT 1`
)

// damagedName is a file that says that there is damage, and which: Open looks at
// all of the store then.
const damagedName = "damaged"

func (s *Store) damagedNote() string { return filepath.Join(s.dir, damagedName) }

// Check looks for damage in all of the store, beside those who use it. Open has
// looked at the definitions alone: how soon services start must not depend on
// how much history there is. mend says that the error is damage that the next Open
// mends; any other error is for somebody to look into.
func (s *Store) Check(ctx context.Context) (mend bool, err error) {
	if s.alone || s.unmended != nil { // everybody would have to wait; it is known
		return false, nil
	}
	doing := "look for damage in " + s.path()
	_, err = look(ctx, s.path(), asReader, inAll)
	switch {
	case err == nil, ctx.Err() != nil:
		return false, nil
	case !errors.Is(err, errDamaged):
		return false, s.fail(ctx, doing, err)
	}
	// Closing the file would take SQLite's locks on it away, which are the process's.
	f, unread := os.Open(s.path())
	if unread == nil {
		s.unclosed = append(s.unclosed, f)
		unread = readAll(f)
	}
	if unread != nil {
		return false, s.fail(ctx, doing, unread)
	}
	noted := os.WriteFile(s.damagedNote(), []byte(err.Error()+"\n"), 0o600)
	if info, _ := os.Lstat(s.damagedNote()); info == nil || !info.Mode().IsRegular() { // it need not say anything
		return false, s.fail(ctx, "note for the next start that "+s.path()+" is "+err.Error(), noted)
	}
	return true, s.fail(ctx, "go on with "+s.path()+", which the next start mends", err)
}

// inspect is the version of the store's schema; 0 is a store that is new. The
// error is errDamaged when the file has to be set aside.
func (s *Store) inspect(ctx context.Context) (int, error) {
	if err := s.rollBack(ctx); err != nil {
		return 0, err
	}
	params := asReader
	if s.alone {
		params = asOnly
	}
	version, err := examine(ctx, s.path(), params, inDefinitions)
	_, none := os.Lstat(s.damagedNote())
	switch {
	case err != nil || version == 0 || s.schema.Check(version) != nil:
	case s.alone: // and nothing can be mended
		if none == nil {
			s.unmended = unmended(errDamaged, syscall.ENOSPC)
		}
	case none == nil || version < len(s.schema): // an update touches the history, too
		if _, all := examine(ctx, s.path(), params, inAll); errors.Is(all, errDamaged) || diskFull(all) || ctx.Err() != nil {
			err = all
		} else if all != nil {
			s.log.Error("cannot look at all of the store, going on: the definitions of services are not damaged", "error", all)
		}
	}
	why := "it is empty"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "it is missing"
	case err != nil || version > 0:
		return version, err
	}
	// A store that holds nothing is new, unless there are signs that it once
	// held something.
	backups, err := s.backups()
	if err != nil {
		return 0, err
	}
	if len(backups) > 0 || size(s.path()+"-wal") > 0 {
		return 0, fmt.Errorf("%w: %s", errDamaged, why)
	}
	return 0, nil
}

// rollBack lets SQLite undo what a crash left half-done in the file, which a
// reader can't. Only the change to WAL mode, once in a file's life, is not in
// the WAL.
func (s *Store) rollBack(ctx context.Context) error {
	if size(s.path()+"-journal") == 0 || size(s.path()) == 0 {
		return nil
	}
	db, err := connect(s.path(), "_busy_timeout=5000", 1)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := migrate.Version(ctx, db); err != nil && !damage(err) {
		return err
	}
	return nil
}

// examine looks for damage in a database file, and is the version of its schema.
// The error is errDamaged only if what is on the disk could be read and is no good.
func examine(ctx context.Context, path, params, damaged string) (version int, err error) {
	version, err = look(ctx, path, params, damaged)
	if !errors.Is(err, errDamaged) {
		return version, err
	}
	f, unread := os.Open(path)
	if unread == nil {
		unread = errors.Join(readAll(f), f.Close())
	}
	if unread != nil {
		return 0, unread
	}
	return 0, err
}

// readAll reads a file to its end: quick_check counts a page that the disk would
// not give among the damaged ones, so the disk has to give them all first.
func readAll(f *os.File) error {
	_, err := io.Copy(io.Discard, f)
	return err
}

// look is examine by SQLite alone.
func look(ctx context.Context, path, params, damaged string) (version int, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if info.Size() == 0 {
		// SQLite would delete a WAL that is beside it.
		return 0, nil
	}
	db, err := connect(path, params, 1)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var found string
	err = db.QueryRowContext(ctx, damaged).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		version, err = migrate.Version(ctx, db)
	}
	switch {
	case damage(err):
		return 0, fmt.Errorf("%w: %w", errDamaged, err)
	case found != "":
		first, _, _ := strings.Cut(strings.TrimPrefix(found, "*** in database main ***\n"), "\n")
		return 0, fmt.Errorf("%w: %s", errDamaged, first)
	}
	return version, err
}

// size of a file; 0 when it is not there.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
