package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// past is a history of eight jobs, 1 to 8. The clock was set back before job 5.
func past(t *testing.T, s *Store) (at func(second int) time.Time) {
	t.Helper()
	at = func(second int) time.Time { return time.Unix(1_700_000_000+int64(second), 0).UTC() }
	var run int64
	for i, j := range []struct {
		context, service, action string
		phase                    units.Phase
		second                   int
		again                    bool // of the run before
		origin                   units.Origin
	}{
		{"core", "db", "main", units.PhaseSucceeded, 10, false, units.OriginBoot},
		{"core", "web", "migrate", units.PhaseSucceeded, 20, false, units.OriginAPI},
		{"core", "web", "main", units.PhaseFailed, 30, true, ""},
		{"core", "web", "main", units.PhaseRunning, 40, true, ""},
		{"lab", "web", "main", units.PhaseLost, 15, false, units.OriginSystemd},
		{"lab", "web", "main", units.PhaseFailed, 25, false, units.OriginSystemd},
		{"core", "db", "main", units.PhasePending, 50, false, units.OriginBoot},
		{"core", "once", "main", units.PhaseCanceled, 60, false, units.OriginAPI},
	} {
		job := &units.Job{
			Service: units.ID{Context: j.context, Name: j.service}, Action: j.action, Unit: "u", Attempt: 1,
			Phase: j.phase, Created: at(j.second),
		}
		if j.again {
			job.Run = run
		}
		if err := s.SaveJobs(t.Context(), []units.Record{{Job: job, Origin: j.origin}}); err != nil {
			t.Fatal(err)
		}
		if run = job.Run; job.ID != int64(i+1) {
			t.Fatalf("job %d has the number %d", i+1, job.ID)
		}
	}
	return at
}

func TestHistoryFilter(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	at := past(t, s)
	all := []int64{1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		name   string
		filter units.JobFilter
		want   []int64
	}{
		{"everything", units.JobFilter{}, all},
		{"what is not over", units.JobFilter{Live: true}, []int64{4, 7}},
		{"what is not over, the newest", units.JobFilter{Live: true, Limit: 1}, []int64{7}},
		{"a context", units.JobFilter{Context: "lab"}, []int64{5, 6}},
		{"a service of any context", units.JobFilter{Service: "web"}, []int64{2, 3, 4, 5, 6}},
		{"a service", units.JobFilter{Context: "core", Service: "web"}, []int64{2, 3, 4}},
		{"one that is not there", units.JobFilter{Context: "core", Service: "we"}, nil},
		{"an injection", units.JobFilter{Service: "web' OR '1'='1"}, nil},
		{"an action", units.JobFilter{Action: "migrate"}, []int64{2}},
		{"an action of a service", units.JobFilter{Context: "core", Service: "web", Action: "main"}, []int64{3, 4}},
		{"a phase that is over", units.JobFilter{Phase: units.PhaseFailed}, []int64{3, 6}},
		{"a phase that is not", units.JobFilter{Phase: units.PhaseRunning}, []int64{4}},
		{"a phase that none of those can be in", units.JobFilter{Live: true, Phase: units.PhaseFailed}, nil},
		{"a phase that is none", units.JobFilter{Phase: "tired"}, nil},
		{"an origin", units.JobFilter{Origin: units.OriginBoot}, []int64{1, 7}},
		{"an origin has all jobs of its runs", units.JobFilter{Origin: units.OriginAPI}, []int64{2, 3, 4, 8}},
		{"a run", units.JobFilter{Run: 2}, []int64{2, 3, 4}},
		{"since, also after the clock was set", units.JobFilter{Since: at(25)}, []int64{3, 4, 6, 7, 8}},
		{"until, also after the clock was set", units.JobFilter{Until: at(25)}, []int64{1, 2, 5, 6}},
		{"since and until are inclusive", units.JobFilter{Since: at(15), Until: at(20)}, []int64{2, 5}},
		{"since the future", units.JobFilter{Since: at(61)}, nil},
		{"until before all", units.JobFilter{Until: at(9)}, nil},
		{"since after until", units.JobFilter{Since: at(30), Until: at(20)}, nil},
		{"the newest", units.JobFilter{Limit: 3}, []int64{6, 7, 8}},
		{"before a number", units.JobFilter{Before: 6, Limit: 3}, []int64{3, 4, 5}},
		{"before a number, and until", units.JobFilter{Before: 6, Until: at(25)}, []int64{1, 2, 5}},
		{"before a number, and until nothing", units.JobFilter{Before: 6, Until: at(1)}, nil},
		{"before a number, and since", units.JobFilter{Before: 7, Since: at(25)}, []int64{3, 4, 6}},
		{"before the first", units.JobFilter{Before: 1}, nil},
		{"before more than there are", units.JobFilter{Before: 1 << 60}, all},
		{"a limit below nothing", units.JobFilter{Limit: -1}, all},
		{"all of it", units.JobFilter{
			Context: "core", Service: "web", Action: "main", Phase: units.PhaseFailed, Origin: units.OriginAPI,
			Run: 2, Since: at(30), Until: at(30), Before: 4, Limit: 9,
		}, []int64{3}},
		{"all but one match", units.JobFilter{
			Context: "core", Service: "web", Action: "main", Phase: units.PhaseFailed, Origin: units.OriginBoot, Run: 2,
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			jobs, err := s.Jobs(t.Context(), c.filter)
			var got []int64
			for _, j := range jobs {
				got = append(got, j.ID)
				if !c.filter.Selects(j) {
					t.Errorf("the filter itself does not select %+v", j)
				}
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("jobs are %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestHistoryIsAnsweredInPages(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	records := make([]units.Record, units.MaxJobLimit+5)
	for i := range records {
		records[i] = units.Record{Job: job("u", "", units.PhaseRunning), Origin: units.OriginBoot}
	}
	if err := s.SaveJobs(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]int{0: units.DefaultJobLimit, 7: 7, 1 << 40: units.MaxJobLimit} {
		if jobs, err := s.Jobs(t.Context(), units.JobFilter{Limit: limit}); err != nil || len(jobs) != want {
			t.Errorf("limit %d: %d jobs, %v; want %d", limit, len(jobs), err, want)
		}
	}
	if jobs, err := s.Jobs(t.Context(), units.JobFilter{Live: true}); err != nil || len(jobs) != len(records) {
		t.Errorf("%d jobs are live, %v; want %d", len(jobs), err, len(records))
	}
	seen, before := 0, int64(0)
	for {
		jobs, err := s.Jobs(t.Context(), units.JobFilter{Before: before, Limit: 99})
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs) == 0 {
			break
		}
		if before != 0 && jobs[len(jobs)-1].ID != before-1 {
			t.Fatalf("the page before job %d ends with job %d", before, jobs[len(jobs)-1].ID)
		}
		seen, before = seen+len(jobs), jobs[0].ID
	}
	if seen != len(records) {
		t.Errorf("the pages have %d jobs; want %d", seen, len(records))
	}
}

// A million jobs are no reason to read them all, or to sort them.
func TestHistoryIsFoundByIndex(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	at := past(t, s)
	for _, c := range []struct {
		filter units.JobFilter
		index  string
	}{
		{units.JobFilter{}, "SCAN jobs"}, // by number, until there are enough
		{units.JobFilter{Context: "core"}, "SCAN jobs"},
		{units.JobFilter{Before: 7}, "INTEGER PRIMARY KEY (rowid<?)"},
		{units.JobFilter{Since: at(20)}, "INTEGER PRIMARY KEY (rowid>?)"},
		{units.JobFilter{Until: at(20), Before: 7}, "INTEGER PRIMARY KEY (rowid<?)"},
		{units.JobFilter{Live: true}, "jobs_live"},
		{units.JobFilter{Live: true, Context: "core"}, "jobs_live"},
		{units.JobFilter{Context: "core", Service: "web"}, "jobs_service"},
		{units.JobFilter{Context: "core", Service: "web", Action: "main", Before: 7, Phase: units.PhaseSucceeded}, "jobs_service"},
		{units.JobFilter{Phase: units.PhaseLost}, "jobs_over"},
		{units.JobFilter{Phase: units.PhaseRunning}, "jobs_live"},
		{units.JobFilter{Run: 2}, "jobs_run"},
		{units.JobFilter{Since: at(20)}, "COVERING INDEX jobs_created"},
		{units.JobFilter{Until: at(20)}, "COVERING INDEX jobs_created"},
		{units.JobFilter{Since: at(20), Until: at(30), Context: "core", Service: "web"}, "jobs_service"},
	} {
		where, args := jobConditions(c.filter)
		indexed(t, s, selectJobs+where+` ORDER BY id DESC LIMIT 100`, c.index, args...)
	}
}

func TestIndexesOfAnOldHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, _ := openWith(t, dir, Options{schema: migrate.Updates[:1]})
	for _, statement := range []string{
		`INSERT INTO runs VALUES (1, 'core', 'a', 'api', 2000000)`,
		`INSERT INTO jobs VALUES (1, 1, 'core', 'a', 'main', 'u', 1, 'failed', 'i', 0, 2000000, NULL, 3000000, 'exit-code', 1, 1)`,
	} {
		if _, err := old.w.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, old)
	s := open(t, dir)
	if jobs, err := s.Jobs(t.Context(), units.JobFilter{Phase: units.PhaseFailed, Since: time.Unix(1, 0)}); err != nil || len(jobs) != 1 {
		t.Errorf("jobs of an older schema are %v, %v", jobs, err)
	}
	var names []string
	rows, err := s.r.Query(`SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'jobs%' ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "jobs_created") || !strings.Contains(got, "jobs_over") || !strings.Contains(got, "jobs_service") {
		t.Errorf("indexes are %s", got)
	}
}
