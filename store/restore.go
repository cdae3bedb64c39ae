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

	"github.com/mattn/go-sqlite3"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// replacementName is what is to replace a damaged store: all of it, on the disk.
// While it is there nothing else is looked at, see replace.
const replacementName = fileName + "-restored"

func (s *Store) replacement() string { return filepath.Join(s.dir, replacementName) }

// restore sets the damaged file aside and puts the newest good backup in its
// place, or an empty store if there is none; with the definitions of the file, where
// only the history is damaged. It is the event that tells of it, and the version of
// what is there now. Where the disk has no room for that, and the definitions are not
// damaged, nothing is done. On an error the damaged file is still where it was,
// or the next start goes on with replace.
func (s *Store) restore(ctx context.Context, why error) (units.Event, int, error) {
	failed := func(err error) (units.Event, int, error) {
		return units.Event{}, 0, fmt.Errorf("%s is %w", s.path(), unmended(why, err))
	}
	sound, err := s.soundDefinitions(ctx)
	if err != nil {
		return failed(err)
	}
	from, version, unread := s.newestGood(ctx, cmp.Or(sound, len(s.schema)))
	if unread != nil && (sound == 0 || ctx.Err() != nil) {
		return failed(fmt.Errorf("its backups can't be read: %w", unread))
	}
	made, kept, err := s.makeReplacement(ctx, from, sound)
	if err == nil && !kept && unread != nil {
		err = errors.Join(unread, os.Remove(made))
	}
	if diskFull(err) && sound > 0 {
		s.unmended = unmended(why, err)
		return units.Event{}, sound, nil
	} else if err != nil {
		return failed(err)
	}
	defer os.Remove(made) // gone if all went well
	if err := errors.Join(os.Rename(made, s.replacement()), syncDir(s.dir)); err != nil {
		return failed(err)
	}
	instead := fmt.Sprintf("the backup %s of %s was restored", from.path, from.time.Format(time.RFC3339))
	switch {
	case kept && from.path == "":
		version, instead = sound, "there is no good backup, so the history starts empty"
	case kept:
		version = sound
	case from.path == "":
		version, instead = len(s.schema), "there is no good backup, so it starts empty: no service is registered"
	}
	if kept {
		instead += "; the definitions of services were not damaged, and are the newest ones"
	}
	event, err := s.replace(why, instead, !kept && from.path == "")
	if err != nil {
		return failed(err)
	}
	return event, version, nil
}

// replace sets aside what there is and puts the replacement in its place, which is
// complete: whatever ends this in between, the next start does it again.
func (s *Store) replace(why error, instead string, empty bool) (units.Event, error) {
	aside, err := s.setAside()
	if err == nil {
		err = errors.Join(os.Rename(s.replacement(), s.path()), syncDir(s.dir))
	}
	e := units.Event{
		Time: s.now(), Source: units.SourceStore, Level: units.LevelError, Code: units.EventStoreRestored,
		Remedy: "hero_proc service list",
	}
	message := []string{fmt.Sprintf("The store %s is lost (%v)", s.path(), why)}
	if aside != "" {
		message = append(message, fmt.Sprintf("it was set aside as %s", aside))
		e.Remedy += fmt.Sprintf("\nsqlite3 %s .recover    # what can still be read of it, as SQL", aside)
	}
	if empty {
		e.Code = units.EventStoreReset
		e.Remedy += "\nhero_proc service set NAME --exec COMMAND    # for each service"
	}
	e.Message = strings.Join(append(message, instead), "; ") + "."
	return e, err
}

// resume goes on with a replace that was not done.
func (s *Store) resume(ctx context.Context) ([]units.Event, error) {
	if _, err := os.Lstat(s.replacement()); err != nil {
		return nil, nil
	}
	if _, err := examine(ctx, s.replacement(), asBackup, inAll); errors.Is(err, errDamaged) {
		s.log.Error("what was to replace the store is damaged itself, removing it", "error", err)
		return nil, os.Remove(s.replacement())
	}
	defined, err := fileFingerprint(ctx, s.replacement())
	if err != nil {
		return nil, err
	}
	event, err := s.replace(errDamaged, "what was to replace it when hero_proc was ended took its place", defined == "")
	if err != nil {
		return nil, err
	}
	return []units.Event{event}, nil
}

// unmended words damage that stays, and why.
func unmended(damage, why error) error {
	return fmt.Errorf("%v, and can't be replaced: %w", damage, why)
}

// notReplaced is the event of a store that is used as it is.
func (s *Store) notReplaced() units.Event {
	return units.Event{
		Time: s.now(), Source: units.SourceStore, Code: units.EventBootStepFailed, Level: units.LevelError,
		Message: fmt.Sprintf("The history in the store %s is %v; going on with it, as the definitions of services are not damaged.", s.path(), s.unmended),
		Remedy:  "df -h " + s.dir + "\nsystemctl restart hero_proc    # once there is room",
	}
}

// soundDefinitions is the version of the store's schema, or 0 if its definitions
// are damaged, too.
func (s *Store) soundDefinitions(ctx context.Context) (version int, err error) {
	version, err = examine(ctx, s.path(), asReader, inDefinitions)
	if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return version, err
}

// makeReplacement makes it, of a backup or of nothing; kept says that it has the
// definitions of the store, which are sound in that version.
func (s *Store) makeReplacement(ctx context.Context, from backup, sound int) (made string, kept bool, err error) {
	// A try would take the last room from others.
	if err := s.needs(size(from.path) + leastRoom); err != nil {
		return "", false, err
	}
	for {
		version := sound
		if from.path == "" && sound == 0 {
			version = len(s.schema)
		}
		if made, err = s.copyIn(cmp.Or(from.path, os.DevNull)); err != nil {
			return "", false, err
		}
		err = s.fillReplacement(ctx, made, version, sound > 0)
		if err == nil {
			return made, sound > 0, nil
		}
		err = errors.Join(err, os.Remove(made))
		if sound == 0 || !damage(err) && sqliteCode(err) != sqlite3.ErrConstraint {
			return "", false, err
		}
		s.log.Error("cannot take the definitions out of the damaged store, going back to those of the backup", "error", err)
		sound = 0
	}
}

// fillReplacement brings a copy to that version, unless it is 0, and puts the definitions of the
// store, if they are kept, in the place of its own. What can be read of the store's history
// tells which runs are over, and which numbers were given: units have them in their names.
func (s *Store) fillReplacement(ctx context.Context, path string, version int, kept bool) (err error) {
	db, err := connect(path, "_auto_vacuum=incremental", 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if version > 0 {
		if err := s.schema[:version].Apply(ctx, db, s.now); err != nil {
			return err
		}
	}
	store := url.URL{Scheme: "file", Path: s.path(), RawQuery: asReader}
	if _, err := db.ExecContext(ctx, `ATTACH ? AS damaged`, store.String()); err != nil && !kept {
		return nil // there is nothing to read
	} else if err != nil {
		return err
	}
	if kept {
		if _, err := db.ExecContext(ctx, `BEGIN;
			DELETE FROM actions;
			DELETE FROM services;
			INSERT INTO services SELECT * FROM damaged.services;
			INSERT INTO actions SELECT * FROM damaged.actions;
			COMMIT`); err != nil {
			return err
		}
	}
	for _, what := range []string{
		`UPDATE runs SET state = (SELECT state FROM damaged.runs AS now WHERE now.id = runs.id)
			WHERE state IN ('open', 'canceled') AND EXISTS (SELECT 1 FROM damaged.runs AS now WHERE now.id = runs.id)`,
		`UPDATE sqlite_sequence AS was SET seq = now.seq FROM damaged.sqlite_sequence AS now
			WHERE now.name = was.name AND now.seq > was.seq AND now.seq < 1 << 53`,
		`INSERT INTO sqlite_sequence SELECT name, seq FROM damaged.sqlite_sequence AS now
			WHERE now.seq < 1 << 53 AND NOT EXISTS (SELECT 1 FROM sqlite_sequence AS was WHERE was.name = now.name)`,
	} {
		if _, err := db.ExecContext(ctx, what); diskFull(err) || ctx.Err() != nil {
			return err
		} else if err != nil {
			s.log.Warn("cannot read what the damaged store says of runs, ignoring: their numbers may be given again", "error", err)
		}
	}
	return nil
}

// newestGood is the newest backup that passes the check and has that version of the
// schema or an older one. Its path is "" if there is none; an error if there may be
// one that the disk would not give.
func (s *Store) newestGood(ctx context.Context, newest int) (backup, int, error) {
	all, err := s.backups()
	if err != nil {
		return backup{}, 0, err
	}
	var unread error
	for _, b := range all {
		version, err := examine(ctx, b.path, asBackup, inAll)
		switch {
		case err == nil && version > 0 && version <= newest:
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
