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
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
)

const (
	// backupEvery is how old the newest backup may get while anything is
	// written, if only history.
	backupEvery = 24 * time.Hour
	// backupCost bounds the time that backups take: one that took a
	// millisecond is not followed by another for a second.
	backupCost = 1000
	// compareEvery is how often the store is compared with its backup when
	// nothing was written.
	compareEvery = time.Hour
	backupPrefix = "hero_proc-"
	backupSuffix = ".db"
	stampLayout  = "20060102T150405.000000Z"
)

// backup is a file of the backup directory, and the time in its name.
type backup struct {
	path string
	time time.Time
}

func (s *Store) backupDir() string { return filepath.Join(s.dir, "backups") }

// Backup copies the store, while it is in use, to a new file of the backup
// directory and is its path. A few are kept: see keepBackups.
func (s *Store) Backup(ctx context.Context) (string, error) {
	path, err := s.backupIfRoom(ctx)
	if err != nil {
		return "", s.fail(ctx, "back up the store", err)
	}
	s.prune()
	return path, nil
}

// BackUpIfChanged makes a backup if the definitions are not those of the
// newest one, or if that is a day old and anything was written since.
func (s *Store) BackUpIfChanged(ctx context.Context) error {
	changed, err := s.changed(ctx)
	if err == nil && !changed {
		changed, err = s.stale(ctx)
	}
	if err != nil {
		return s.fail(ctx, "compare the store with its backup", err)
	}
	if changed {
		_, err = s.Backup(ctx)
	}
	return err
}

// BackUpInTime is BackUpIfChanged for a loop: it does nothing if the last
// backup was dear and not long ago, or if nothing was written since it last
// looked: then it looks each hour, for the daily one.
func (s *Store) BackUpInTime(ctx context.Context) error {
	written := s.writes.Load()
	s.mu.Lock()
	early := time.Since(s.backedUp) < backupCost*s.took || written == s.compared && time.Since(s.comparedAt) < compareEvery
	s.mu.Unlock()
	if early {
		return nil
	}
	if err := s.BackUpIfChanged(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compared, s.comparedAt = written, time.Now()
	return nil
}

func (s *Store) changed(ctx context.Context) (bool, error) {
	sum, err := fingerprint(ctx, s.r)
	if err != nil {
		return false, err
	}
	all, err := s.backups()
	if err != nil || len(all) == 0 {
		return sum != "", err
	}
	saved, err := fileFingerprint(ctx, all[0].path)
	if ctx.Err() != nil {
		return false, err
	}
	// One that can't be read is as good as none.
	return err != nil || sum != saved, nil
}

// stale says that the newest backup is a day old, and lacks some history.
func (s *Store) stale(ctx context.Context) (bool, error) {
	all, err := s.backups()
	if err != nil || len(all) > 0 && s.now().Sub(all[0].time) < backupEvery {
		return false, err
	}
	var old string
	if len(all) > 0 {
		db, err := connect(all[0].path, asBackup, 1)
		if err != nil {
			return false, err
		}
		defer db.Close()
		if old, err = historyMark(ctx, db); err != nil {
			s.log.Warn("cannot read the newest backup, making another", "path", all[0].path, "error", err)
			return true, nil
		}
	}
	mark, err := historyMark(ctx, s.r)
	return mark != old, err
}

// historyMark tells whether history was written: the numbers that were given
// last, and how many jobs are not over. "" is none.
func historyMark(ctx context.Context, db migrate.Querier) (mark string, err error) {
	err = db.QueryRowContext(ctx, `SELECT coalesce(group_concat(name || seq, ' '), '') FROM
		(SELECT name, seq FROM sqlite_sequence WHERE seq > 0
		UNION ALL SELECT 'live', count(*) FROM jobs WHERE phase IN ('pending', 'running') HAVING count(*) > 0 ORDER BY 1)`).Scan(&mark)
	return mark, err
}

// backupIfRoom leaves the room of the ballast to the history.
func (s *Store) backupIfRoom(ctx context.Context) (string, error) {
	if err := s.reserve(); err != nil {
		return "", err
	}
	if err := s.needs(size(s.path()) + leastRoom); err != nil {
		return "", err
	}
	return s.backup(ctx)
}

// backup is complete on the disk before it has its name. VACUUM INTO reads
// every row, so that damage ends it and never gets into a backup; it does not
// hold up the writer, and leaves one file in need of no other.
func (s *Store) backup(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	start := time.Now()
	defer func() { s.backedUp, s.took = time.Now(), time.Since(start) }()
	if err := os.MkdirAll(s.backupDir(), 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(s.backupDir(), tempPrefix+"*") // mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // gone if all went well
	defer f.Close()
	if _, err := s.r.ExecContext(ctx, `VACUUM INTO ?`, f.Name()); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	if _, err := fileFingerprint(ctx, f.Name()); err != nil {
		return "", err
	}
	others, err := s.backups()
	if err != nil {
		return "", err
	}
	// The name orders them, also on a machine whose clock went back.
	at := s.now().UTC().Truncate(time.Microsecond)
	if len(others) > 0 && !at.After(others[0].time) {
		at = others[0].time.Add(time.Microsecond)
	}
	path := filepath.Join(s.backupDir(), backupPrefix+at.Format(stampLayout)+backupSuffix)
	if err := os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	return path, syncDir(s.backupDir())
}

// backups are those there are, the newest first.
func (s *Store) backups() ([]backup, error) {
	entries, err := os.ReadDir(s.backupDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []backup
	for _, e := range entries {
		stamp, ok := strings.CutPrefix(e.Name(), backupPrefix)
		if !ok {
			continue
		}
		if at, err := time.Parse(stampLayout+backupSuffix, stamp); err == nil {
			all = append(all, backup{filepath.Join(s.backupDir(), e.Name()), at})
		}
	}
	slices.SortFunc(all, func(a, b backup) int { return b.time.Compare(a.time) })
	return all, nil
}

// prune removes the backups that are not kept.
func (s *Store) prune() {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.backups()
	keep := keepBackups(all)
	for i, b := range all {
		if !keep[i] {
			err = errors.Join(err, os.Remove(b.path))
		}
	}
	if err != nil {
		s.log.Warn("cannot remove old backups, ignoring", "error", err)
	}
}

// Backups that are kept: the newest, for what was done just now, and the last
// ones of some days, for what is noticed later. All are whole copies, so few.
const (
	keepNewest = 3
	keepDays   = 4
)

// keepBackups says of each backup, the newest first, whether it is kept.
func keepBackups(all []backup) []bool {
	keep := make([]bool, len(all))
	days, day := 0, ""
	for i, b := range all {
		last := b.time.UTC().Format(time.DateOnly)
		if last != day {
			days, day = days+1, last
			keep[i] = days <= keepDays
		}
		keep[i] = keep[i] || i < keepNewest
	}
	return keep
}

func fileFingerprint(ctx context.Context, path string) (string, error) {
	db, err := connect(path, asBackup, 1)
	if err != nil {
		return "", err
	}
	defer db.Close()
	sum, err := fingerprint(ctx, db)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return sum, nil
}
