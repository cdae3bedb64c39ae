package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// On a full disk SQLite can't open a WAL, nor even delete: the room for it is
// kept in a file that can be given up. What is given up is the history's
// alone; definitions change only while the ballast lies there.
const (
	ballastName = "ballast"
	ballastSize = 1 << 20
	// A disk that has room for little more than the ballast counts as full.
	// Else one at its brink would make it and give it up by turns.
	ballastRoom = 2 * ballastSize
)

func (s *Store) ballast() string { return filepath.Join(s.dir, ballastName) }

// reserve makes the ballast if it is not there. The error is that the disk is
// full. Whatever else is wrong is no reason to refuse work.
func (s *Store) reserve() error {
	if size(s.ballast()) == ballastSize {
		return nil
	}
	err := s.makeBallast()
	if err != nil && !diskFull(err) {
		s.log.Warn("cannot make the ballast for a full disk, ignoring", "error", err)
		return nil
	}
	return err
}

func (s *Store) makeBallast() (err error) {
	// Asked first: a try would take the last room from the history.
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &disk); err != nil {
		return &os.PathError{Op: "statfs", Path: s.dir, Err: err}
	}
	// Bfree, as root may use what is reserved; for another user the write
	// fails. A tmpfs without a limit says 0 of 0.
	if disk.Blocks > 0 && disk.Bfree*uint64(disk.Bsize) < ballastRoom {
		return fmt.Errorf("%w: less than %d MiB are free", syscall.ENOSPC, ballastRoom>>20)
	}
	f, err := os.CreateTemp(s.dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone if all went well
	// Written, as not each file system has fallocate(2), and with noise, as
	// some would keep nothing of zeros.
	_, err = io.CopyN(f, rand.Reader, ballastSize)
	if err == nil {
		err = f.Sync() // some give the room no sooner
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.ballast())
}

// release gives the ballast up; false if there was none.
func (s *Store) release() bool {
	if os.Remove(s.ballast()) != nil {
		return false
	}
	s.log.Warn("the disk is full, gave up the ballast to go on", "path", s.ballast())
	return true
}

// makeRoom is called when the store could not be opened on a full disk. It is
// false when there is nothing left to try.
func (s *Store) makeRoom() bool {
	switch {
	case s.release():
	case !s.alone && size(s.path()) > 0:
		s.alone = true
	default:
		return false
	}
	return true
}

// squeeze makes what room there can be for the history. Errors don't count:
// whether there is enough shows when it is written again.
func (s *Store) squeeze(ctx context.Context) {
	s.release()
	// What is in the WAL mostly replaces pages that the file has already: it
	// goes there without more room, and the WAL's is free.
	if _, err := s.w.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		s.log.Debug("cannot empty the WAL on a full disk, ignoring", "error", err)
	}
}
