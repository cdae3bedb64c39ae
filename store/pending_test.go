package store

import (
	"database/sql"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// large is a job that needs pages of its own: no room that is left in one will do.
func large(unit, invocation string, phase units.Phase) *units.Job {
	j := job(unit, invocation, phase)
	j.Result = strings.Repeat("x", 9000)
	return j
}

// stuff writes until the disk takes no more.
func stuff(t *testing.T, s *Store) {
	t.Helper()
	var err error
	for err == nil {
		err = s.transact(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO logs VALUES (NULL, 0, '', '', 'info', '', '', 'noise', '', '', '')`)
			return err
		})
	}
	if !diskFull(err) {
		t.Fatal(err)
	}
}

// What a full disk does not take reads as all else, and is written in the end.
func TestHistoryGoesOnInMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	old := job("old", "a", units.PhaseRunning)
	save(t, s, old)
	undo := fillDisk(t, s)
	stuff(t, s)

	first := large("new", "b", units.PhasePending)
	save(t, s, first)
	retry := large("new", "c", units.PhaseRunning)
	retry.Attempt = 2
	ended := *old
	ended.Phase = units.PhaseFailed
	first.Phase = units.PhaseFailed
	err := s.SaveJobs(t.Context(), []units.Record{{Job: retry, With: first}, {Job: &ended}, {Job: first}})
	if err != nil {
		t.Fatal(err)
	}
	other := large("other", "d", units.PhaseRunning)
	save(t, s, other)
	if first.ID != old.ID+1 || first.Run != old.Run+1 || retry.ID != first.ID+1 || other.ID != retry.ID+1 || other.Run != first.Run+1 {
		t.Errorf("numbers are %d of run %d, %d, %d of run %d", first.ID, first.Run, retry.ID, other.ID, other.Run)
	}
	same := func(when string) {
		t.Helper()
		for _, want := range []*units.Job{&ended, first, retry, other} {
			if got, err := s.Job(t.Context(), want.ID); err != nil || !reflect.DeepEqual(got, *want) {
				t.Errorf("%s: job is %+v, %v\nwant %+v", when, got, err, *want)
			}
			if got, ok, err := s.JobByInvocation(t.Context(), want.InvocationID); err != nil || !ok || got.ID != want.ID {
				t.Errorf("%s: job of invocation %s is %+v, %v, %v", when, want.InvocationID, got, ok, err)
			}
		}
		if got, ok, err := s.LastJob(t.Context(), "new"); err != nil || !ok || got.ID != retry.ID {
			t.Errorf("%s: the last job is %+v, %v, %v", when, got, ok, err)
		}
		if got, ok, err := s.LastJob(t.Context(), "old"); err != nil || !ok || got.Phase != units.PhaseFailed {
			t.Errorf("%s: the last job is %+v, %v, %v", when, got, ok, err)
		}
		for _, c := range []struct {
			name   string
			filter units.JobFilter
			want   []*units.Job
		}{
			{"all", units.JobFilter{}, []*units.Job{&ended, first, retry, other}},
			{"the newest", units.JobFilter{Limit: 2}, []*units.Job{retry, other}},
			{"those before", units.JobFilter{Limit: 2, Before: retry.ID}, []*units.Job{&ended, first}},
			{"failed", units.JobFilter{Phase: units.PhaseFailed}, []*units.Job{&ended, first}},
			{"running", units.JobFilter{Phase: units.PhaseRunning}, []*units.Job{retry, other}},
			{"of the run", units.JobFilter{Run: first.Run}, []*units.Job{first, retry}},
			{"of the origin", units.JobFilter{Origin: units.OriginBoot}, []*units.Job{&ended, first, retry, other}},
			{"of another origin", units.JobFilter{Origin: units.OriginAPI}, nil},
		} {
			var want []units.Job
			for _, j := range c.want {
				want = append(want, *j)
			}
			if got, err := s.Jobs(t.Context(), c.filter); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: jobs are %+v, %v", when, c.name, got, err)
			}
		}
		if got, err := s.LastRun(t.Context(), other.Service); err != nil || !reflect.DeepEqual(got, []units.Job{*other}) {
			t.Errorf("%s: the last run has %+v, %v", when, got, err)
		}
		if live, err := s.LiveJobs(t.Context()); err != nil || !reflect.DeepEqual(live, []units.Job{*retry, *other}) {
			t.Errorf("%s: live jobs are %+v, %v", when, live, err)
		}
	}
	same("on a full disk")
	undo()
	if written, err := s.Room(t.Context()); err != nil || written != 4 {
		t.Errorf("%d jobs were written, %v", written, err)
	}
	same("once there is room")
	next := large("next", "e", units.PhaseRunning)
	save(t, s, next)
	if next.ID != other.ID+1 || next.Run != other.Run+1 {
		t.Errorf("the next job is %d of run %d", next.ID, next.Run)
	}
	closeStore(t, s)
	s = open(t, dir)
	if live, err := s.LiveJobs(t.Context()); err != nil || !reflect.DeepEqual(live, []units.Job{*retry, *other, *next}) {
		t.Errorf("opened again, live jobs are %+v, %v", live, err)
	}
}

// The next write takes what waits with it, without being told of the room.
func TestPendingIsWrittenWithTheNext(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	undo := fillDisk(t, s)
	stuff(t, s)
	save(t, s, large("u", "a", units.PhaseRunning))
	undo()
	s.pending.free = -1 // as it would be on a disk that has more room than it had
	save(t, s, large("u", "b", units.PhaseRunning))
	if n := number(t, s, `SELECT count(*) FROM jobs`); n != 2 || len(s.pending.jobs) != 0 {
		t.Errorf("%d jobs are written, %d wait", n, len(s.pending.jobs))
	}
}

func TestClosingWritesWhatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	undo := fillDisk(t, s)
	stuff(t, s)
	save(t, s, large("u", "a", units.PhaseRunning))
	undo()
	closeStore(t, s)
	if n := countJobs(t, open(t, dir)); n != 1 {
		t.Errorf("%d jobs are there", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	undo := fillDisk(t, s)
	stuff(t, s)
	many := make([]*units.Job, maxPending)
	for i := range many {
		many[i] = job("u", fmt.Sprint(i), units.PhaseRunning)
	}
	save(t, s, many...)
	more := large("u", "more", units.PhaseRunning)
	err := s.SaveJobs(t.Context(), []units.Record{{Job: more, Origin: units.OriginAPI}})
	wantCode(t, err, units.CodeStoreFull)
	if more.ID != 0 {
		t.Errorf("a job that was refused has number %d", more.ID)
	}
	// What is there may change.
	many[0].Phase = units.PhaseFailed
	save(t, s, many[0])
	undo()
	if written, err := s.Room(t.Context()); err != nil || written != maxPending {
		t.Errorf("%d jobs were written, %v", written, err)
	}
	save(t, s, more)
}
