package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// restore sets the damaged file aside and puts the newest good backup in its
// place, or nothing if there is none; with the definitions of the file, where
// only the history is damaged. It is the event that tells of it, and
// the version of what is there now. On an error the damaged file is still where
// it was, or gone and the next start takes it up from there.
func (s *Store) restore(ctx context.Context, why error) (units.Event, int, error) {
	from, version, err := s.newestGood(ctx)
	if err != nil {
		return units.Event{}, 0, fmt.Errorf("%s (%v), and its backups can't be read: %w", s.path(), why, err)
	}
	// The copy first: a full disk must leave everything as it was.
	var copied string
	sound, err := s.soundDefinitions(ctx)
	switch {
	case err != nil:
	case from.path != "":
		copied, err = s.copyIn(from.path)
	case sound > 0:
		version = sound
		copied, err = s.emptyCopy(ctx, version)
	}
	defer os.Remove(copied) // gone if all went well
	kept := err == nil && sound > 0 && sound == version
	if kept {
		err = s.copyDefinitions(ctx, copied)
	}
	if err != nil {
		return units.Event{}, 0, fmt.Errorf("%s (%v), and what is to replace it can't be made: %w", s.path(), why, err)
	}
	aside, err := s.setAside()
	if err != nil {
		return units.Event{}, 0, err
	}
	if copied != "" {
		if err := os.Rename(copied, s.path()); err != nil {
			return units.Event{}, 0, err
		}
	}
	return s.restored(why, aside, from, kept), version, syncDir(s.dir)
}

// restored words the event. aside is "" if there was no file, from.path if
// there was no backup. kept says that the definitions are those of the file.
func (s *Store) restored(why error, aside string, from backup, kept bool) units.Event {
	e := units.Event{Time: s.now(), Source: units.SourceStore, Level: units.LevelError, Code: units.EventStoreRestored}
	message := []string{fmt.Sprintf("The store %s is lost (%v)", s.path(), why)}
	remedy := []string{"hero_proc service list"}
	if aside != "" {
		message = append(message, fmt.Sprintf("it was set aside as %s", aside))
		remedy = append(remedy, fmt.Sprintf("sqlite3 %s .recover    # what can still be read of it, as SQL", aside))
	}
	if from.path != "" {
		message = append(message, fmt.Sprintf("the backup %s of %s was restored", from.path, from.time.Format(time.RFC3339)))
	}
	switch {
	case kept && from.path != "":
		message = append(message, "the definitions of services were not damaged and are the newest ones")
	case kept:
		message = append(message, "there is no good backup, so the history starts empty; the definitions of services were not damaged, and are kept")
	case from.path == "":
		e.Code = units.EventStoreReset
		message = append(message, "there is no good backup, so it starts empty: no service is registered")
		remedy = append(remedy, "hero_proc service set NAME --exec COMMAND    # for each service")
	}
	e.Message = strings.Join(message, "; ") + "."
	e.Remedy = strings.Join(remedy, "\n")
	return e
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

// soundDefinitions is the version of the store's schema, or 0 if its definitions
// are damaged, too: where nothing else was looked at, they are.
func (s *Store) soundDefinitions(ctx context.Context) (version int, err error) {
	if !s.checked {
		return 0, nil
	}
	version, err = examine(ctx, s.path(), asReader, inDefinitions)
	switch {
	case errors.Is(err, errDamaged), errors.Is(err, fs.ErrNotExist), err == nil && s.schema.Check(version) != nil:
		return 0, nil
	}
	return version, err
}

// emptyCopy is copyIn where there is nothing to copy: a store of that version
// that holds nothing.
func (s *Store) emptyCopy(ctx context.Context, version int) (name string, err error) {
	if name, err = s.copyIn(os.DevNull); err != nil {
		return "", err
	}
	db, err := connect(name, "_auto_vacuum=incremental", 1)
	if err == nil {
		err = errors.Join(s.schema[:version].Apply(ctx, db, s.now), db.Close())
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return name, nil
}

// copyDefinitions puts the definitions of the store in the place of those of a copy
// that has the same version.
func (s *Store) copyDefinitions(ctx context.Context, to string) error {
	db, err := connect(to, "", 1)
	if err != nil {
		return err
	}
	from := url.URL{Scheme: "file", Path: s.path(), RawQuery: asReader}
	_, err = db.ExecContext(ctx, `ATTACH ? AS damaged;
		BEGIN;
		DELETE FROM actions;
		DELETE FROM services;
		INSERT INTO services SELECT * FROM damaged.services;
		INSERT INTO actions SELECT * FROM damaged.actions;
		COMMIT`, from.String())
	return errors.Join(err, db.Close())
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
