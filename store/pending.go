package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxPending jobs are kept in memory while the disk is full: some megabytes.
const maxPending = 10000

// pending has the jobs that a full disk did not take. They have their numbers
// already and read like all others, so that starting and stopping goes on; a
// crash of the daemon loses them.
type pending struct {
	// writing is held while jobs are written, or kept: numbers are given in order.
	writing sync.Mutex
	// free is how many bytes were free when the disk was found full.
	free int64

	mu   sync.RWMutex
	jobs map[int64]unwritten
}

// unwritten is a job that is not in its table as it is.
type unwritten struct {
	job    units.Job
	origin units.Origin // of its run
	// newJob and newRun say that the tables have no such row yet.
	newJob, newRun bool
}

// SaveJobs writes all of the records, or none. New jobs, and those that begin
// a run, get their numbers. Created of a new job must be set. On a full disk
// they are kept in memory, and written when there is room: that is no error.
// Errors: CodeNoSuchJob for a number that is none, CodeStoreFull when memory
// has all that it may have.
func (s *Store) SaveJobs(ctx context.Context, records []units.Record) error {
	s.pending.writing.Lock()
	defer s.pending.writing.Unlock()
	if s.pending.waits() && s.freeBytes() <= s.pending.free {
		// It was tried, and nothing has changed.
		return s.keep(ctx, records)
	}
	err := s.writeAll(ctx, records)
	if units.CodeOf(err) == units.CodeStoreFull {
		return s.keep(ctx, records)
	}
	return err
}

// writePending writes what a full disk has kept in memory, and answers how
// many jobs that were.
func (s *Store) writePending(ctx context.Context) (int, error) {
	s.pending.writing.Lock()
	defer s.pending.writing.Unlock()
	n := len(s.pending.jobs)
	if n == 0 {
		return 0, nil
	}
	return n, s.writeAll(ctx, nil)
}

// writeAll writes what waits, and the records after it, in one transaction.
func (s *Store) writeAll(ctx context.Context, records []units.Record) error {
	waiting := s.pending.inOrder()
	saved := make([]units.Job, len(records))
	err := s.write(ctx, "write the history", func(tx *sql.Tx) error {
		for _, u := range waiting {
			if err := saveUnwritten(ctx, tx, u); err != nil {
				return err
			}
		}
		runs := map[*units.Job]int64{}
		for i, r := range records {
			saved[i] = *r.Job
			if j := &saved[i]; j.Run == 0 && r.With != nil {
				j.Run = cmp.Or(r.With.Run, runs[r.With])
			}
			if err := saveJob(ctx, tx, &saved[i], r.Origin); err != nil {
				return err
			}
			runs[r.Job] = saved[i].Run
		}
		return nil
	})
	if err != nil {
		if units.CodeOf(err) == units.CodeStoreFull {
			s.pending.free = s.freeBytes()
		}
		return err
	}
	for i, r := range records {
		*r.Job = saved[i]
	}
	s.pending.mu.Lock()
	clear(s.pending.jobs)
	s.pending.mu.Unlock()
	return nil
}

// saveUnwritten writes a job that has its number already.
func saveUnwritten(ctx context.Context, tx *sql.Tx, u unwritten) error {
	if !u.newJob {
		err := updateJob(ctx, tx, u.job)
		if units.CodeOf(err) == units.CodeNoSuchJob {
			return nil // it must not keep all others from being written
		}
		return err
	}
	if u.newRun {
		if _, err := insertRun(ctx, tx, u.job.Run, u.job, u.origin); err != nil {
			return err
		}
	}
	_, err := insertJob(ctx, tx, u.job.ID, u.job)
	return err
}

// keep gives new jobs the numbers that they would have got, and keeps all of
// the records in memory, or none.
func (s *Store) keep(ctx context.Context, records []units.Record) error {
	run, job, err := s.lastNumbers(ctx)
	if err != nil {
		return err
	}
	s.pending.mu.Lock()
	defer s.pending.mu.Unlock()
	for _, u := range s.pending.jobs {
		run, job = max(run, u.job.Run), max(job, u.job.ID)
	}
	next := maps.Clone(s.pending.jobs)
	if next == nil {
		next = map[int64]unwritten{}
	}
	origins := map[int64]units.Origin{}
	for _, u := range next {
		origins[u.job.Run] = u.origin
	}
	kept := make([]unwritten, len(records))
	runs := map[*units.Job]int64{}
	for i, r := range records {
		u := unwritten{job: *r.Job}
		if before, ok := next[u.job.ID]; ok {
			u.newJob, u.newRun = before.newJob, before.newRun
		}
		if u.job.ID == 0 {
			job++
			u.job.ID, u.newJob = job, true
			if u.job.Run == 0 && r.With != nil {
				u.job.Run = cmp.Or(r.With.Run, runs[r.With])
			}
			if u.job.Run == 0 {
				run++
				u.job.Run, u.newRun = run, true
				origins[run] = r.Origin
			}
		}
		if _, known := origins[u.job.Run]; !known {
			if origins[u.job.Run], err = s.originOf(ctx, u.job.Run); err != nil {
				return err
			}
		}
		u.origin = origins[u.job.Run]
		next[u.job.ID], kept[i], runs[r.Job] = u, u, u.job.Run
	}
	if len(next) > maxPending {
		return units.Errorf(units.CodeStoreFull, "cannot write the history: the disk is full, and %d jobs are kept in memory already", len(s.pending.jobs)).
			WithRemedy(s.freeSpace())
	}
	s.pending.jobs = next
	for i, r := range records {
		*r.Job = kept[i].job
	}
	return nil
}

// lastNumbers are the highest numbers that the tables have given.
func (s *Store) lastNumbers(ctx context.Context) (run, job int64, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT
		coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'runs'), 0),
		coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0)`).Scan(&run, &job)
	return run, job, s.fail(ctx, "number a job", err)
}

// originOf is that of a run which the tables have; "" if they don't.
func (s *Store) originOf(ctx context.Context, run int64) (origin units.Origin, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT origin FROM runs WHERE id = ?`, run).Scan(&origin)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return origin, s.fail(ctx, fmt.Sprintf("read run %d", run), err)
}

func (p *pending) waits() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.jobs) > 0
}

// inOrder are the jobs that wait, in the order of their numbers.
func (p *pending) inOrder() []unwritten {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.SortedFunc(maps.Values(p.jobs), func(a, b unwritten) int { return cmp.Compare(a.job.ID, b.job.ID) })
}

// find is the newest of the jobs that wait and that match.
func (p *pending) find(match func(units.Job) bool) (found units.Job, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, u := range p.jobs {
		if match(u.job) && (!ok || younger(u.job, found)) {
			found, ok = u.job, true
		}
	}
	return found, ok
}

// younger says whether a job began after another, as LastJob orders them.
func younger(j, than units.Job) bool {
	return cmp.Or(j.Created.Compare(than.Created), cmp.Compare(j.ID, than.ID)) > 0
}

// lastRun is the newest of the runs of a service that wait, 0 if none does.
func (p *pending) lastRun(id units.ID) int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var first units.Job
	for _, u := range p.jobs {
		if u.newRun && u.job.Service == id && (first.Run == 0 || younger(u.job, first)) {
			first = u.job
		}
	}
	return first.Run
}

// job is the job of that number, if it waits.
func (p *pending) job(id int64) (units.Job, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	u, ok := p.jobs[id]
	return u.job, ok
}

// over puts the jobs that wait and match over those that were read, in the
// order of their numbers, and leaves out those that match no more.
func (p *pending) over(read []units.Job, match func(unwritten) bool) []units.Job {
	waiting := p.inOrder()
	if len(waiting) == 0 {
		return read
	}
	all := map[int64]units.Job{}
	for _, j := range read {
		all[j.ID] = j
	}
	for _, u := range waiting {
		if delete(all, u.job.ID); match(u) {
			all[u.job.ID] = u.job
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b units.Job) int { return cmp.Compare(a.ID, b.ID) })
}
