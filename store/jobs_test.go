package store

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func job(unit, invocation string, phase units.Phase) *units.Job {
	at := time.Date(2026, 3, 4, 5, 6, 7, 891011000, time.UTC)
	return &units.Job{
		Service: units.ID{Context: "core", Name: "one"}, Action: "main", Unit: unit, Attempt: 1, Phase: phase, InvocationID: invocation,
		MainPID: 1<<32 - 1, Created: at, Started: at.Add(time.Microsecond), Result: "signal", ExitCode: 2, ExitStatus: -1,
	}
}

func save(t *testing.T, s *Store, jobs ...*units.Job) {
	t.Helper()
	var records []units.Record
	for _, j := range jobs {
		records = append(records, units.Record{Job: j, Origin: units.OriginBoot})
	}
	if err := s.SaveJobs(t.Context(), records); err != nil {
		t.Fatalf("SaveJobs: %v", err)
	}
}

func TestJobComesBackAsItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	first, second := job("u1", "a", units.PhaseRunning), job("u2", "", units.PhasePending)
	save(t, s, first, second)
	if first.ID == 0 || first.Run == 0 || second.ID <= first.ID || second.Run <= first.Run {
		t.Errorf("numbers are %d of run %d, %d of run %d", first.ID, first.Run, second.ID, second.Run)
	}
	retry := job("u1", "b", units.PhasePending)
	retry.Run, retry.Attempt, retry.Started = first.Run, 2, time.Time{}
	first.Phase, first.Ended, first.MainPID, first.ExitStatus = units.PhaseFailed, first.Created.Add(time.Hour), 0, 255
	save(t, s, first, retry)
	closeStore(t, s)
	s = open(t, dir)
	for _, want := range []*units.Job{first, second, retry} {
		if got, err := s.Job(t.Context(), want.ID); err != nil || !reflect.DeepEqual(got, *want) {
			t.Errorf("job is %+v, %v\nwant %+v", got, err, *want)
		}
	}
	if live, err := s.LiveJobs(t.Context()); err != nil || !reflect.DeepEqual(live, []units.Job{*second, *retry}) {
		t.Errorf("live jobs are %+v, %v", live, err)
	}
	if got, ok, err := s.JobByInvocation(t.Context(), "a"); err != nil || !ok || got.ID != first.ID {
		t.Errorf("job of invocation a is %+v, %v, %v", got, ok, err)
	}
	if got, ok, err := s.JobByInvocation(t.Context(), ""); err != nil || ok {
		t.Errorf("job of no invocation is %+v, %v", got, err)
	}
	if got, ok, err := s.LastJob(t.Context(), "u1"); err != nil || !ok || got.ID != retry.ID {
		t.Errorf("last job of u1 is %+v, %v, %v", got, ok, err)
	}
	_, err := s.Job(t.Context(), 99)
	wantCode(t, err, units.CodeNoSuchJob)
	var origin string
	if err := s.r.QueryRow(`SELECT origin FROM runs WHERE id = ?`, first.Run).Scan(&origin); err != nil || origin != string(units.OriginBoot) {
		t.Errorf("origin is %q, %v", origin, err)
	}
}

func TestSaveJobsIsAllOrNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		bad  func(*units.Job)
		code units.Code
	}{
		{"no such job", func(j *units.Job) { j.ID = 99 }, units.CodeNoSuchJob},
		{"no such run", func(j *units.Job) { j.Run = 99 }, units.CodeStoreFailed},
		{"an invocation that has a job", func(j *units.Job) { j.InvocationID = "taken" }, units.CodeStoreFailed},
		{"a phase that is none", func(j *units.Job) { j.Phase = "dead" }, units.CodeStoreFailed},
		{"no time", func(j *units.Job) { j.Created = time.Time{} }, units.CodeStoreFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			old := job("u", "taken", units.PhaseRunning)
			save(t, s, old)
			before := *old
			update, good, bad := *old, job("u", "x", units.PhaseRunning), job("u", "y", units.PhaseRunning)
			update.Phase = units.PhaseFailed
			c.bad(bad)
			err := s.SaveJobs(t.Context(), []units.Record{
				{Job: &update}, {Job: good, Origin: units.OriginAPI}, {Job: bad, Origin: units.OriginAPI},
			})
			wantCode(t, err, c.code)
			if good.ID != 0 || good.Run != 0 {
				t.Errorf("a job that was not written has number %d of run %d", good.ID, good.Run)
			}
			if got, err := s.LiveJobs(t.Context()); err != nil || !reflect.DeepEqual(got, []units.Job{before}) {
				t.Errorf("jobs are %+v, %v", got, err)
			}
		})
	}
}

// indexed checks that a query is answered by an index, without sorting.
func indexed(t *testing.T, s *Store, query, index string, args ...any) {
	t.Helper()
	rows, err := s.r.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if !slices.ContainsFunc(plan, func(d string) bool { return strings.Contains(d, index) }) || slices.ContainsFunc(plan, func(d string) bool { return strings.Contains(d, "TEMP B-TREE") }) {
		t.Errorf("%s\nis planned as %q, want index %s and no sorting", query, plan, index)
	}
}

// History grows; asking for one job of it must not read all of it.
func TestJobsAreFoundByIndex(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for query, index := range map[string]string{
		selectJobs + ` WHERE phase IN ('pending', 'running') ORDER BY id`:                                               "jobs_live",
		selectJobs + ` WHERE invocation_id <> '' AND invocation_id = 'x'`:                                               "jobs_invocation",
		selectJobs + ` WHERE unit = 'x' ORDER BY created_at DESC, id DESC LIMIT 1`:                                      "jobs_unit",
		`SELECT id FROM runs WHERE context_name = 'x' AND service_name = 'y' ORDER BY created_at DESC, id DESC LIMIT 1`: "runs_service",
		`SELECT * FROM logs WHERE time BETWEEN 1 AND 2 ORDER BY time, id LIMIT 1`:                                       "logs_time",
	} {
		indexed(t, s, query, index)
	}
}

// What systemd does not count is something else than nothing.
func TestUsageGoesThroughTheStore(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	j := job("u", "a", units.PhaseFailed)
	j.Used = units.Usage{CPU: units.Counted(7), IORead: units.Counted(0), IOWritten: units.Counted(1 << 63)}
	save(t, s, j)
	want := j.Used
	want.IOWritten.N = 1<<63 - 1 // more than SQLite has
	if got, err := s.Job(t.Context(), j.ID); err != nil || got.Used != want {
		t.Errorf("usage is %+v, %v; want %+v", got.Used, err, want)
	}
	j.Used = units.Usage{MemoryPeak: units.Counted(3)}
	save(t, s, j)
	if got, err := s.Job(t.Context(), j.ID); err != nil || got.Used != j.Used {
		t.Errorf("after an update usage is %+v, %v; want %+v", got.Used, err, j.Used)
	}
}

// The jobs of one start are of one run, also when all of them are new.
func TestJobsThatJoinARun(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	first, second, third := job("u", "a", units.PhaseRunning), job("u@x", "b", units.PhaseRunning), job("u@y", "c", units.PhaseRunning)
	err := s.SaveJobs(t.Context(), []units.Record{{Job: first, Origin: units.OriginBoot}, {Job: second, With: first}, {Job: third, With: second}})
	if err != nil || first.Run == 0 || second.Run != first.Run || third.Run != first.Run {
		t.Fatalf("runs are %d, %d and %d, %v; want one", first.Run, second.Run, third.Run, err)
	}
	fourth := job("u@z", "d", units.PhaseRunning)
	if err := s.SaveJobs(t.Context(), []units.Record{{Job: fourth, With: first}}); err != nil || fourth.Run != first.Run {
		t.Errorf("a later job is of run %d, %v; want %d", fourth.Run, err, first.Run)
	}
	if run, err := s.LastRun(t.Context(), first.Service); err != nil || len(run) != 4 || run[3].ID != fourth.ID {
		t.Errorf("the last run is %+v, %v", run, err)
	}
}

// A job that was missed gets a number late, and is not the newest one for that.
func TestLastJobIsTheOneThatBeganLast(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	now, missed := job("u", "a", units.PhaseRunning), job("u", "b", units.PhaseFailed)
	missed.Created = now.Created.Add(-time.Second)
	save(t, s, now, missed)
	if got, ok, err := s.LastJob(t.Context(), "u"); err != nil || !ok || got.ID != now.ID {
		t.Errorf("the last job is %+v, %v, %v; want %d", got, ok, err, now.ID)
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for _, want := range []time.Time{{}, time.UnixMicro(5).UTC(), time.UnixMicro(3).UTC()} {
		if !want.IsZero() {
			if err := s.SetMark(t.Context(), "history", want); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Mark(t.Context(), "history"); err != nil || !got.Equal(want) {
			t.Errorf("the mark is %v, %v; want %v", got, err, want)
		}
	}
}

func TestBootJobs(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	at := time.Unix(1_700_000_000, 0).UTC()
	id := units.ID{Context: "core", Name: "a"}
	job := func(origin units.Origin, created time.Time, run int64) units.Job {
		t.Helper()
		j := units.Job{Run: run, Service: id, Unit: id.Unit(), Attempt: 1, Phase: units.PhaseRunning, Created: created, Started: created}
		if err := s.SaveJobs(t.Context(), []units.Record{{Job: &j, Origin: origin}}); err != nil {
			t.Fatal(err)
		}
		return j
	}
	job(units.OriginBoot, at.Add(-time.Hour), 0)
	first := job(units.OriginBoot, at, 0)
	job(units.OriginAPI, at.Add(time.Second), 0)
	job(units.OriginSystemd, at.Add(time.Second), 0)
	again := job("", at.Add(time.Minute), first.Run) // systemd's restart
	for since, want := range map[time.Time][]units.Job{at: {first, again}, at.Add(time.Microsecond): nil} {
		if got, err := s.BootJobs(t.Context(), since); err != nil || !slices.Equal(got, want) {
			t.Errorf("since %v, the boot's jobs are %+v, %v; want %+v", since, got, err, want)
		}
	}
	if got, err := s.BootJobs(t.Context(), time.Time{}); err != nil || len(got) != 3 {
		t.Errorf("the jobs of all boots are %+v, %v", got, err)
	}
}
