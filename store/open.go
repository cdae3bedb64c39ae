package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	fileName = "hero_proc.db"
	lockName = "lock"
	// tempPrefix marks a file that a crash may leave behind half-written.
	tempPrefix = ".new-"
	readers    = 4
)

// Parameters of the kinds of connections: https://sqlite.org/uri.html
// and, with an underscore, the pragmas that go-sqlite3 sets on each one.
const (
	asWriter = "_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_foreign_keys=on&_txlock=immediate&_auto_vacuum=incremental&_stmt_cache_size=32"
	asReader = "mode=ro&_busy_timeout=5000&_stmt_cache_size=32"
	// The one connection of a store without room for files beside it: with an
	// exclusive lock SQLite keeps the WAL's index in memory, and reading takes
	// no room at all. No parameter that looks into the file may come before the
	// lock: https://sqlite.org/wal.html#use_of_wal_without_shared_memory
	// Unlike a reader it plays the WAL into the file when it closes, also after
	// a check; nothing is lost by that.
	asOnly = "_locking_mode=EXCLUSIVE&_synchronous=FULL&_busy_timeout=5000&_foreign_keys=on&_txlock=immediate"
	// A backup is never written again: no locks, and no files beside it.
	asBackup = "mode=ro&immutable=1"
)

// Options of [Open]. The zero value will do.
type Options struct {
	Logger *slog.Logger     // nil is silent
	Now    func() time.Time // nil is time.Now

	schema migrate.Schema // nil is migrate.Updates
}

// Store is an open store. Its methods may be called at the same time. Their
// errors are [units.Error] with CodeStoreFull, CodeStoreFailed, CodeCanceled,
// CodeTimeout, or what the method says.
type Store struct {
	dir    string
	log    *slog.Logger
	now    func() time.Time
	schema migrate.Schema

	lock  *os.File
	w, r  *sql.DB
	alone bool // w and r are the same

	full    atomic.Bool // the disk, as far as is known
	pending pending

	unmended error       // there is damage, and no room to mend it; or nil
	unclosed []io.Closer // for as long as SQLite has the file open

	mu sync.Mutex // one backup at a time
	// When the last backup of this process ended, and how long it took.
	backedUp time.Time
	took     time.Duration
	// writes counts what was written; compared is what it was when the store was
	// last compared with its backup, at comparedAt.
	writes     atomic.Uint64
	compared   uint64
	comparedAt time.Time
}

// Open opens the store in dir, and makes both if they are not there. The
// events are what has to be told of it, like a damaged file that was set aside. They
// are there beside an error, too.
//
// The order is the contract: lock, check the definitions, set aside and restore,
// refuse a newer schema, back up and migrate an older one. Nothing is changed
// before the check. The rest is checked, and what has changed is backed up, by
// Check and BackUpInTime, once nobody has to wait for it.
//
// A full disk is no reason to fail, if the store is sound and its schema
// known: the ballast is given up, and if that is not enough, one connection
// does with the room that is taken already. Definitions can be read then, but
// not changed: CodeStoreFull, until BackUpIfChanged or a change finds room.
func Open(ctx context.Context, dir string, opts Options) (*Store, []units.Event, error) {
	s := &Store{dir: dir, log: opts.Logger, now: opts.Now, schema: opts.schema}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.schema == nil {
		s.schema = migrate.Updates
	}
	events, err := s.open(ctx)
	if err != nil {
		err = s.fail(ctx, "open the store in "+s.dir, err)
		s.Close()
		return nil, events, err
	}
	return s, events, nil
}

func (s *Store) open(ctx context.Context) (events []units.Event, err error) {
	if err := s.claim(); err != nil {
		return nil, err
	}
	for {
		found, err := s.load(ctx)
		events = append(events, found...)
		if !diskFull(err) || !s.makeRoom() {
			return events, err
		}
		if err := s.disconnect(); err != nil {
			return events, err
		}
	}
}

func (s *Store) load(ctx context.Context) (events []units.Event, err error) {
	s.unmended = nil
	if events, err = s.resume(ctx); err != nil {
		return nil, err
	}
	version, err := s.inspect(ctx)
	if errors.Is(err, errDamaged) {
		var event units.Event
		if event, version, err = s.restore(ctx, err); err == nil && s.unmended == nil {
			events = append(events, event)
		}
	}
	if err != nil {
		return events, err
	}
	if err := s.schema.Check(version); err != nil {
		return events, err
	}
	if err := s.secure(); err != nil {
		return events, err
	}
	if err := s.connect(); err != nil {
		return events, err
	}
	full := s.reserve()
	var made string
	if version > 0 && version < len(s.schema) {
		if made, err = s.backup(ctx); err != nil {
			return events, err
		}
	}
	if err := s.schema.Apply(ctx, s.w, s.now); err != nil {
		// Nothing was changed. Were the copy kept, a daemon that fails again
		// and again would push all older ones out.
		if made != "" {
			err = errors.Join(err, os.Remove(made))
		}
		return events, err
	}
	s.prune()
	if full != nil {
		events = append(events, units.Event{
			Time: s.now(), Source: units.SourceStore, Code: units.EventStoreFull, Level: units.LevelError,
			Message: s.fail(ctx, "take changes of definitions until there is room, going on with those that are stored", full).Error(),
			Remedy:  "df -h " + s.dir + "\nls -la " + s.backupDir(),
		})
	}
	if s.unmended != nil {
		return append(events, s.notReplaced()), nil
	}
	if err := os.Remove(s.damagedNote()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("cannot remove what was noted of damage, ignoring: with each start all of the store is looked at", "error", err)
	}
	return events, nil
}

// Close writes everything back into the one file and lets another process
// open it. Close the log queue first.
func (s *Store) Close() error {
	var errs []error
	if n, err := s.writePending(context.Background()); err != nil {
		errs = append(errs, fmt.Errorf("%d jobs of the history are lost: %w", n, err))
	}
	errs = append(errs, s.disconnect())
	for _, f := range s.unclosed {
		errs = append(errs, f.Close())
	}
	if s.lock != nil {
		// Closing alone leaves the lock to a child that is being forked.
		errs = append(errs, syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close())
	}
	return errors.Join(errs...)
}

// connect makes the pools. They connect when they are first used.
func (s *Store) connect() (err error) {
	if s.alone {
		s.w, err = connect(s.path(), asOnly, 1)
		s.r = s.w
		return err
	}
	if s.r, err = connect(s.path(), asReader, readers); err != nil {
		return err
	}
	s.w, err = connect(s.path(), asWriter, 1)
	return err
}

func (s *Store) disconnect() error {
	var errs []error
	// The writer last: the last connection checkpoints, if it may write.
	for _, db := range []*sql.DB{s.r, s.w} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Store) path() string { return filepath.Join(s.dir, fileName) }

func connect(path, params string, conns int) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: params}
	db, err := sql.Open("sqlite3", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// claim makes the directory and takes its lock, which ends with the process.
func (s *Store) claim() error {
	abs, err := filepath.Abs(s.dir)
	if err != nil {
		return err
	}
	s.dir = abs
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := tighten(s.dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", s.lock.Name(), err)
	}
	for _, dir := range []string{s.dir, s.backupDir()} {
		if err := sweep(dir); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what a crash left half-written.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// secure makes the file before SQLite does, which would leave its mode to the
// umask. Files beside it get the mode that it has.
func (s *Store) secure() error {
	f, err := os.OpenFile(s.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for _, suffix := range suffixes {
		if err := tighten(s.path()+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(s.dir)
}

// tighten takes away the rights that mode does not have.
func tighten(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&^mode == 0 {
		return err
	}
	return os.Chmod(path, mode)
}

// syncDir makes renames and new files in dir outlast a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
