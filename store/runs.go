package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// BeginRun records an ad-hoc run that is about to be started in the machine's
// boot of that ID, and its first job. It is a change that somebody asks for:
// as a definition, it never takes the room that the ballast kept.
func (s *Store) BeginRun(ctx context.Context, what units.AdHoc, boot string, at time.Time) (units.Job, error) {
	unlock, err := s.numbers(ctx)
	if err != nil {
		return units.Job{}, err
	}
	defer unlock()
	var job units.Job
	err = s.define(ctx, fmt.Sprintf("record run %q", what.ID), func(tx *sql.Tx) error {
		job = units.Job{Service: what.ID, Action: what.Action.Name, Attempt: 1, Phase: units.PhasePending, Created: at}
		var err error
		job.Run, err = insert(ctx, tx, `INSERT INTO runs (context_name, service_name, origin, created_at, definition, boot, state)
			VALUES (?, ?, ?, ?, ?, ?, 'open')`,
			what.Context, what.Name, units.OriginRun, micros(at), what.Encode(), boot)
		if err != nil {
			return err
		}
		job.Unit = what.RunUnit(job.Run)
		return saveJob(ctx, tx, &job, units.OriginRun)
	})
	return job, err
}

// numbers keeps others from numbering runs and jobs. What waits for room on a
// full disk has its numbers already, and goes first.
func (s *Store) numbers(ctx context.Context) (unlock func(), err error) {
	s.pending.writing.Lock()
	if s.pending.waits() {
		if err := s.writeAll(ctx, nil); err != nil {
			s.pending.writing.Unlock()
			return nil, err
		}
	}
	return s.pending.writing.Unlock, nil
}

// BeginRunAgain records a further job of a run that is about to be started
// again, in another boot of the machine.
func (s *Store) BeginRunAgain(ctx context.Context, job *units.Job, boot string) error {
	unlock, err := s.numbers(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	saved := *job
	err = s.write(ctx, fmt.Sprintf("record run %d again", job.Run), func(tx *sql.Tx) error {
		saved = *job
		if _, err := tx.ExecContext(ctx, `UPDATE runs SET boot = ? WHERE id = ?`, boot, job.Run); err != nil {
			return err
		}
		return saveJob(ctx, tx, &saved, units.OriginRun)
	})
	if err == nil {
		*job = saved
	}
	return err
}

// OpenRuns are the ad-hoc runs that are not over, the oldest first. One that
// can't be read is in the list with its error.
func (s *Store) OpenRuns(ctx context.Context) ([]units.OpenRun, error) {
	const doing = "read the ad-hoc runs"
	rows, err := s.r.QueryContext(ctx, `SELECT id, context_name, service_name, definition, boot, state = 'canceled'
		FROM runs WHERE state IN ('open', 'canceled') ORDER BY id`)
	if err != nil {
		return nil, s.fail(ctx, doing, err)
	}
	defer rows.Close()
	var all []units.OpenRun
	for rows.Next() {
		var r units.OpenRun
		var id units.ID
		var definition string
		if err := rows.Scan(&r.Run, &id.Context, &id.Name, &definition, &r.Boot, &r.Canceled); err != nil {
			return nil, s.fail(ctx, doing, err)
		}
		r.What, r.Err = units.DecodeAdHoc(id, definition)
		all = append(all, r)
	}
	return all, s.fail(ctx, doing, rows.Err())
}

// CancelRun notes that somebody asked for the end of an ad-hoc run; EndRuns
// that runs are over, and their ends recorded. Of other runs nothing is noted.
func (s *Store) CancelRun(ctx context.Context, run int64) error {
	return s.write(ctx, fmt.Sprintf("cancel run %d", run), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE runs SET state = 'canceled' WHERE id = ? AND state = 'open'`, run)
		return err
	})
}

func (s *Store) EndRuns(ctx context.Context, runs ...int64) error {
	return s.write(ctx, "end runs", func(tx *sql.Tx) error {
		for _, run := range runs {
			if _, err := tx.ExecContext(ctx, `UPDATE runs SET state = 'over' WHERE id = ? AND state <> ''`, run); err != nil {
				return err
			}
		}
		return nil
	})
}
