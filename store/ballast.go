package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
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
	// leastRoom must be free beside the ballast for definitions to change:
	// what one of the longest takes in the WAL and in the file.
	leastRoom = 256 << 10
)

func (s *Store) ballast() string { return filepath.Join(s.dir, ballastName) }

// Room looks whether the disk is full, and goes on as before once it is not:
// the ballast is made, and the history that was kept in memory is written.
// written is how many jobs that were. The error is CodeStoreFull as long as
// definitions can't be changed, or what kept the history from being written.
func (s *Store) Room(ctx context.Context) (written int, err error) {
	const doing = "take changes of definitions until there is room"
	if err := s.reserve(); err != nil {
		return 0, s.fail(ctx, doing, err)
	}
	return s.writePending(ctx)
}

// reserve makes the ballast if it is not there. The error is that the disk is
// full. Whatever else is wrong is no reason to refuse work.
func (s *Store) reserve() error {
	err := s.findRoom()
	if err != nil && !diskFull(err) {
		s.log.Warn("cannot make the ballast for a full disk, ignoring", "error", err)
		err = nil
	}
	s.full.Store(err != nil)
	return err
}

func (s *Store) findRoom() error {
	if size(s.ballast()) != ballastSize {
		return s.makeFile(ballastSize, ballastRoom, s.ballast())
	}
	if s.full.Load() {
		// A write has failed; statfs(2) knows nothing of quotas.
		return s.makeFile(leastRoom, leastRoom, "")
	}
	return s.needs(leastRoom)
}

// needs is an error when less than that many bytes are free. It is asked
// first: a try would take the last room from others.
func (s *Store) needs(bytes int64) error {
	if s.freeBytes() < bytes {
		return fmt.Errorf("%w: less than %d KiB are free", syscall.ENOSPC, bytes>>10)
	}
	return nil
}

// freeBytes is the room that the disk has, all there can be where it doesn't
// say: a tmpfs without a limit has 0 of 0 blocks. Bfree, as root may use what
// is reserved; for another user the write fails.
func (s *Store) freeBytes() int64 {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &disk); err != nil || disk.Blocks == 0 {
		return math.MaxInt64
	}
	return int64(disk.Bfree) * disk.Bsize
}

// makeFile makes a file of that size under its name, or with none for a try,
// if the disk has room.
func (s *Store) makeFile(size, room int64, name string) (err error) {
	if err := s.needs(room); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone if all went well
	// Written, as not each file system has fallocate(2), and with noise, as
	// some would keep nothing of zeros.
	_, err = io.CopyN(f, rand.Reader, size)
	if err == nil {
		err = f.Sync() // some give the room no sooner
	}
	if err = errors.Join(err, f.Close()); err != nil || name == "" {
		return err
	}
	return os.Rename(f.Name(), name)
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
	s.full.Store(true)
	s.release()
	// What is in the WAL mostly replaces pages that the file has already: it
	// goes there without more room, and the WAL's is free.
	if _, err := s.w.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		s.log.Debug("cannot empty the WAL on a full disk, ignoring", "error", err)
	}
}
