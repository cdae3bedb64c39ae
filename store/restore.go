package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// replacementName is what is to replace a damaged store: all of it, on the disk.
// While it is there nothing else is looked at, see replace.
const replacementName = fileName + ".restored"

func (s *Store) replacement() string { return filepath.Join(s.dir, replacementName) }

// restore sets the damaged file aside and puts the newest good backup in its
// place, or nothing if there is none; with the definitions of the file, where
// only the history is damaged. It is the event that tells of it, and the version of
// what is there now. On an error the damaged file is still where it was, or the next
// start goes on with replace.
func (s *Store) restore(ctx context.Context, why error) (units.Event, int, error) {
	fatal := func(err error) (units.Event, int, error) {
		return units.Event{}, 0, fmt.Errorf("%s (%v), and what is to replace it can't be made: %w", s.path(), why, err)
	}
	sound, err := s.soundDefinitions(ctx)
	if err != nil {
		return fatal(err)
	}
	from, version, err := s.newestGood(ctx)
	if err != nil && sound > 0 {
		s.log.Error("cannot read the backups, going on without: the definitions of services are not damaged", "error", err)
	} else if err != nil {
		return units.Event{}, 0, fmt.Errorf("%s (%v), and its backups can't be read: %w", s.path(), why, err)
	}
	// The copy first: a full disk must leave everything as it was.
	made, kept, err := s.make(ctx, from, version, sound)
	if err != nil {
		return fatal(err)
	}
	if kept {
		version = sound
	}
	defer os.Remove(made) // gone if all went well
	if err := errors.Join(os.Rename(made, s.replacement()), syncDir(s.dir)); err != nil {
		return fatal(err)
	}
	instead := fmt.Sprintf("the backup %s of %s was restored", from.path, from.time.Format(time.RFC3339))
	switch {
	case from.path == "" && kept:
		instead = "there is no good backup, so the history starts empty"
	case from.path == "":
		instead = "there is no good backup, so it starts empty: no service is registered"
	}
	if kept {
		instead += "; the definitions of services were not damaged, and are the newest ones"
	}
	event, err := s.replace(why, instead)
	if version == 0 {
		event.Code = units.EventStoreReset
		event.Remedy += "\nhero_proc service set NAME --exec COMMAND    # for each service"
	}
	return event, version, err
}

// replace sets aside what there is and puts the replacement in its place, which is
// complete: whatever ends this in between, the next start does it again.
func (s *Store) replace(why error, instead string) (units.Event, error) {
	aside, err := s.setAside()
	if err == nil {
		err = errors.Join(os.Rename(s.replacement(), s.path()), syncDir(s.dir))
	}
	message := []string{fmt.Sprintf("The store %s is lost (%v)", s.path(), why)}
	remedy := "hero_proc service list"
	if aside != "" {
		message = append(message, fmt.Sprintf("it was set aside as %s", aside))
		remedy += fmt.Sprintf("\nsqlite3 %s .recover    # what can still be read of it, as SQL", aside)
	}
	return units.Event{
		Time: s.now(), Source: units.SourceStore, Level: units.LevelError, Code: units.EventStoreRestored,
		Message: strings.Join(append(message, instead), "; ") + ".", Remedy: remedy,
	}, err
}

// resume goes on with a replace that was not done.
func (s *Store) resume() ([]units.Event, error) {
	if _, err := os.Lstat(s.replacement()); err != nil {
		return nil, nil
	}
	event, err := s.replace(errors.New("damaged"), "what was to replace it when hero_proc was ended took its place")
	if err != nil {
		return nil, err
	}
	return []units.Event{event}, nil
}

// soundDefinitions is the version of the store's schema, or 0 if its definitions
// are damaged, too.
func (s *Store) soundDefinitions(ctx context.Context) (version int, err error) {
	version, err = examine(ctx, s.path(), asReader, inDefinitions)
	switch {
	case err != nil && (diskFull(err) || ctx.Err() != nil):
		return 0, err
	case err != nil || s.schema.Check(version) != nil:
		return 0, nil
	}
	return version, nil
}

// make makes the replacement, with the definitions that are sound, if it is kept
// that they are.
func (s *Store) make(ctx context.Context, from backup, version, sound int) (made string, kept bool, err error) {
	copied := func() { made, err = s.copyIn(cmp.Or(from.path, os.DevNull)) }
	if copied(); err != nil || sound == 0 || sound < version {
		return made, false, err
	}
	if err = s.takeDefinitions(ctx, made, sound); err == nil {
		return made, true, nil
	}
	err = errors.Join(err, os.Remove(made))
	if diskFull(err) || ctx.Err() != nil {
		return "", false, err
	}
	s.log.Error("cannot take the definitions out of the damaged store, going back to those of the backup", "error", err)
	copied()
	return made, false, err
}

// takeDefinitions puts the definitions of the store, which has that version, in the
// place of those of a copy. No number is given twice: the units of runs have them.
func (s *Store) takeDefinitions(ctx context.Context, to string, version int) (err error) {
	db, err := connect(to, "_auto_vacuum=incremental", 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.schema[:version].Apply(ctx, db, s.now); err != nil {
		return err
	}
	from := url.URL{Scheme: "file", Path: s.path(), RawQuery: asReader}
	if _, err := db.ExecContext(ctx, `ATTACH ? AS damaged;
		BEGIN;
		DELETE FROM actions;
		DELETE FROM services;
		INSERT INTO services SELECT * FROM damaged.services;
		INSERT INTO actions SELECT * FROM damaged.actions;
		COMMIT`, from.String()); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `BEGIN;
		CREATE TEMP TABLE numbers AS SELECT name, max(seq) AS seq FROM
			(SELECT name, seq FROM damaged.sqlite_sequence UNION ALL SELECT name, seq FROM main.sqlite_sequence) GROUP BY name;
		DELETE FROM main.sqlite_sequence;
		INSERT INTO main.sqlite_sequence SELECT name, seq FROM numbers;
		COMMIT`); err != nil {
		s.log.Warn("cannot tell which numbers of runs and jobs were given, ignoring: they may be given again", "error", err)
	}
	return nil
}

// newestGood is the newest backup that passes the check and that this version
// can read. Its path is "" if there is none; an error if there may be one that
// the disk would not give.
func (s *Store) newestGood(ctx context.Context) (backup, int, error) {
	all, err := s.backups()
	if err != nil {
		return backup{}, 0, err
	}
	var unread error
	for _, b := range all {
		version, err := examine(ctx, b.path, asBackup, inAll)
		switch {
		case err == nil && version > 0 && s.schema.Check(version) == nil:
			return b, version, nil
		case err == nil || errors.Is(err, errDamaged):
			s.log.Warn("a backup is no good, ignoring", "path", b.path, "version", version, "error", err)
		default:
			unread = errors.Join(unread, err)
		}
	}
	return backup{}, 0, unread
}

// copyIn copies a file into the store's directory, under a name that means
// nothing yet.
func (s *Store) copyIn(path string) (name string, err error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp(s.dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return "", errors.Join(err, os.Remove(to.Name()))
	}
	return to.Name(), nil
}

// setAside renames the file and those beside it: a WAL that is left would be
// played into the file that is restored. The name is "" if there was no file.
func (s *Store) setAside() (string, error) {
	at := s.now().UTC()
	name := func() string { return s.path() + ".corrupt-" + at.Format(stampLayout) }
	for taken(name()) {
		at = at.Add(time.Microsecond)
	}
	var aside string
	for _, suffix := range suffixes {
		err := os.Rename(s.path()+suffix, name()+suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", err
		case suffix == "":
			aside = name()
		}
	}
	return aside, nil
}

// taken says that a file of the set has the name.
func taken(name string) bool {
	for _, suffix := range suffixes {
		if _, err := os.Lstat(name + suffix); err == nil {
			return true
		}
	}
	return false
}
