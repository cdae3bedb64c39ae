package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const selectJobs = `SELECT id, run_id, context_name, service_name, action, unit, attempt, phase, invocation_id,
	main_pid, created_at, started_at, ended_at, result, exit_code, exit_status,
	cpu_nsec, memory_peak, io_read, io_written FROM jobs`

func saveJob(ctx context.Context, tx *sql.Tx, j *units.Job, origin units.Origin) error {
	if j.ID != 0 {
		return updateJob(ctx, tx, *j)
	}
	var err error
	if j.Run == 0 {
		if j.Run, err = insertRun(ctx, tx, nil, *j, origin); err != nil {
			return err
		}
	}
	j.ID, err = insertJob(ctx, tx, nil, *j)
	return err
}

// insertRun writes the run that a job begins. id is its number, nil for the
// next one.
func insertRun(ctx context.Context, tx *sql.Tx, id any, j units.Job, origin units.Origin) (int64, error) {
	return insert(ctx, tx, `INSERT INTO runs (id, context_name, service_name, origin, created_at) VALUES (?, ?, ?, ?, ?)`,
		id, j.Service.Context, j.Service.Name, origin, micros(j.Created))
}

// insertJob writes a new job. id is its number, nil for the next one.
func insertJob(ctx context.Context, tx *sql.Tx, id any, j units.Job) (int64, error) {
	return insert(ctx, tx, `INSERT INTO jobs (id, run_id, context_name, service_name, action, unit, attempt, phase, invocation_id,
		main_pid, created_at, started_at, ended_at, result, exit_code, exit_status, cpu_nsec, memory_peak, io_read, io_written)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, j.Run, j.Service.Context, j.Service.Name, j.Action, j.Unit, j.Attempt, j.Phase, j.InvocationID,
		j.MainPID, micros(j.Created), micros(j.Started), micros(j.Ended), j.Result, j.ExitCode, j.ExitStatus,
		count(j.Used.CPU), count(j.Used.MemoryPeak), count(j.Used.IORead), count(j.Used.IOWritten))
}

// updateJob writes what can change in a job's life; whose it is can't.
func updateJob(ctx context.Context, tx *sql.Tx, j units.Job) error {
	result, err := tx.ExecContext(ctx, `UPDATE jobs SET attempt = ?, phase = ?, invocation_id = ?, main_pid = ?,
		started_at = ?, ended_at = ?, result = ?, exit_code = ?, exit_status = ?,
		cpu_nsec = ?, memory_peak = ?, io_read = ?, io_written = ? WHERE id = ?`,
		j.Attempt, j.Phase, j.InvocationID, j.MainPID,
		micros(j.Started), micros(j.Ended), j.Result, j.ExitCode, j.ExitStatus,
		count(j.Used.CPU), count(j.Used.MemoryPeak), count(j.Used.IORead), count(j.Used.IOWritten), j.ID)
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
	if job, ok := s.pending.job(id); ok {
		return job, nil
	}
	job, ok, err := s.oneJob(ctx, selectJobs+` WHERE id = ?`, id)
	if err == nil && !ok {
		err = noSuchJob(id)
	}
	return job, err
}

// LiveJobs are the jobs that are not over, the oldest first.
func (s *Store) LiveJobs(ctx context.Context) ([]units.Job, error) {
	all, err := s.jobs(ctx, "read the live jobs", selectJobs+` WHERE phase IN ('pending', 'running') ORDER BY id`)
	return s.pending.over(all, func(u unwritten) bool { return !u.job.Phase.Terminal() }), err
}

// maxBootJobs bounds the jobs of one boot: a service that systemd restarts for
// days makes ever more of them.
const maxBootJobs = 20000

// BootJobs are the jobs of those runs that a boot began since then, the oldest
// first.
func (s *Store) BootJobs(ctx context.Context, since time.Time) ([]units.Job, error) {
	return s.jobs(ctx, "read the jobs of the boot", selectJobs+` WHERE run_id IN
		(SELECT id FROM runs WHERE origin = 'boot' AND created_at >= ?) ORDER BY id LIMIT ?`, bound(since, math.MinInt64), maxBootJobs)
}

func (s *Store) jobs(ctx context.Context, doing, query string, args ...any) ([]units.Job, error) {
	rows, err := s.r.QueryContext(ctx, query, args...)
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
	if job, ok := s.pending.find(func(j units.Job) bool { return j.InvocationID == invocation && invocation != "" }); ok {
		return job, true, nil
	}
	// The first condition lets SQLite use the index, which leaves out "".
	return s.oneJob(ctx, selectJobs+` WHERE invocation_id <> '' AND invocation_id = ?`, invocation)
}

// LastJob is the newest job of a unit; false if it never had one. One that was
// missed and is written down late has a higher number than the one after it.
func (s *Store) LastJob(ctx context.Context, unit string) (units.Job, bool, error) {
	waiting, ok := s.pending.find(func(j units.Job) bool { return j.Unit == unit })
	job, read, err := s.oneJob(ctx, selectJobs+` WHERE unit = ? ORDER BY created_at DESC, id DESC LIMIT 1`, unit)
	if ok && (!read || waiting.ID == job.ID || younger(waiting, job)) {
		return waiting, true, err
	}
	return job, read, err
}

// LastRun are the jobs of a service's newest run, the oldest first. An ad-hoc
// run of one of its actions is none of its.
func (s *Store) LastRun(ctx context.Context, id units.ID) ([]units.Job, error) {
	all, err := s.jobs(ctx, "read the last run of "+id.String(), selectJobs+` WHERE run_id =
		(SELECT id FROM runs WHERE context_name = ? AND service_name = ? AND origin <> 'run' ORDER BY created_at DESC, id DESC LIMIT 1) ORDER BY id`, id.Context, id.Name)
	run := s.pending.lastRun(id)
	if run == 0 && len(all) > 0 {
		run = all[0].Run
	}
	return s.pending.over(all, func(u unwritten) bool { return u.job.Run == run }), err
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
	var created, started, ended, cpu, memory, read, written sql.NullInt64
	err := row.Scan(&j.ID, &j.Run, &j.Service.Context, &j.Service.Name, &j.Action, &j.Unit, &j.Attempt, &j.Phase, &j.InvocationID,
		&j.MainPID, &created, &started, &ended, &j.Result, &j.ExitCode, &j.ExitStatus,
		&cpu, &memory, &read, &written)
	j.Used = units.Usage{CPU: fromCount(cpu), MemoryPeak: fromCount(memory), IORead: fromCount(read), IOWritten: fromCount(written)}
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

// count is a number as the tables have it; "not counted" is NULL.
func count(c units.Count) sql.NullInt64 {
	return sql.NullInt64{Int64: int64(min(c.N, math.MaxInt64)), Valid: c.Known}
}

func fromCount(n sql.NullInt64) units.Count {
	return units.Count{N: uint64(max(n.Int64, 0)), Known: n.Valid}
}
