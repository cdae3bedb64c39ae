package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const selectJobs = `SELECT id, run_id, context_name, service_name, action, unit, attempt, phase, invocation_id,
	main_pid, created_at, started_at, ended_at, result, exit_code, exit_status FROM jobs`

// SaveJobs writes all of the records, or none. New jobs, and those that begin
// a run, get their numbers. Created of a new job must be set. Error:
// CodeNoSuchJob for a number that is none.
func (s *Store) SaveJobs(ctx context.Context, records []units.Record) error {
	saved := make([]units.Job, len(records))
	err := s.write(ctx, "write the history", func(tx *sql.Tx) error {
		for i, r := range records {
			saved[i] = *r.Job
			if err := saveJob(ctx, tx, &saved[i], r.Origin); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, r := range records {
		*r.Job = saved[i]
	}
	return nil
}

func saveJob(ctx context.Context, tx *sql.Tx, j *units.Job, origin units.Origin) error {
	if j.ID != 0 {
		return updateJob(ctx, tx, *j)
	}
	var err error
	if j.Run == 0 {
		j.Run, err = insert(ctx, tx, `INSERT INTO runs (context_name, service_name, origin, created_at) VALUES (?, ?, ?, ?)`,
			j.Service.Context, j.Service.Name, origin, micros(j.Created))
		if err != nil {
			return err
		}
	}
	j.ID, err = insert(ctx, tx, `INSERT INTO jobs (run_id, context_name, service_name, action, unit, attempt, phase, invocation_id,
		main_pid, created_at, started_at, ended_at, result, exit_code, exit_status)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		j.Run, j.Service.Context, j.Service.Name, j.Action, j.Unit, j.Attempt, j.Phase, j.InvocationID,
		j.MainPID, micros(j.Created), micros(j.Started), micros(j.Ended), j.Result, j.ExitCode, j.ExitStatus)
	return err
}

// updateJob writes what can change in a job's life; whose it is can't.
func updateJob(ctx context.Context, tx *sql.Tx, j units.Job) error {
	result, err := tx.ExecContext(ctx, `UPDATE jobs SET attempt = ?, phase = ?, invocation_id = ?, main_pid = ?,
		started_at = ?, ended_at = ?, result = ?, exit_code = ?, exit_status = ? WHERE id = ?`,
		j.Attempt, j.Phase, j.InvocationID, j.MainPID,
		micros(j.Started), micros(j.Ended), j.Result, j.ExitCode, j.ExitStatus, j.ID)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return noSuchJob(j.ID)
}

// Job is one job. Error: CodeNoSuchJob.
func (s *Store) Job(ctx context.Context, id int64) (units.Job, error) {
	job, ok, err := s.oneJob(ctx, selectJobs+` WHERE id = ?`, id)
	if err == nil && !ok {
		err = noSuchJob(id)
	}
	return job, err
}

// LiveJobs are the jobs that are not over, the oldest first.
func (s *Store) LiveJobs(ctx context.Context) ([]units.Job, error) {
	const doing = "read the live jobs"
	rows, err := s.r.QueryContext(ctx, selectJobs+` WHERE phase IN ('pending', 'running') ORDER BY id`)
	if err != nil {
		return nil, s.fail(ctx, doing, err)
	}
	defer rows.Close()
	var all []units.Job
	for rows.Next() {
		job, err := scanJob(rows)
		if err != nil {
			return nil, s.fail(ctx, doing, err)
		}
		all = append(all, job)
	}
	return all, s.fail(ctx, doing, rows.Err())
}

// JobByInvocation is the job that systemd's invocation ID is of; false if
// there is none.
func (s *Store) JobByInvocation(ctx context.Context, invocation string) (units.Job, bool, error) {
	// The first condition lets SQLite use the index, which leaves out "".
	return s.oneJob(ctx, selectJobs+` WHERE invocation_id <> '' AND invocation_id = ?`, invocation)
}

// LastJob is the newest job of a unit; false if it never had one.
func (s *Store) LastJob(ctx context.Context, unit string) (units.Job, bool, error) {
	return s.oneJob(ctx, selectJobs+` WHERE unit = ? ORDER BY id DESC LIMIT 1`, unit)
}

func (s *Store) oneJob(ctx context.Context, query string, arg any) (units.Job, bool, error) {
	job, err := scanJob(s.r.QueryRowContext(ctx, query, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return units.Job{}, false, nil
	}
	if err != nil {
		return units.Job{}, false, s.fail(ctx, fmt.Sprintf("read job %v", arg), err)
	}
	return job, true, nil
}

func scanJob(row interface{ Scan(...any) error }) (units.Job, error) {
	var j units.Job
	var created, started, ended sql.NullInt64
	err := row.Scan(&j.ID, &j.Run, &j.Service.Context, &j.Service.Name, &j.Action, &j.Unit, &j.Attempt, &j.Phase, &j.InvocationID,
		&j.MainPID, &created, &started, &ended, &j.Result, &j.ExitCode, &j.ExitStatus)
	j.Created, j.Started, j.Ended = fromMicros(created), fromMicros(started), fromMicros(ended)
	return j, err
}

func insert(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

func noSuchJob(id int64) error {
	return units.Errorf(units.CodeNoSuchJob, "there is no job %d", id)
}

// micros is a time as the tables have it; the zero time is NULL.
func micros(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func fromMicros(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}
