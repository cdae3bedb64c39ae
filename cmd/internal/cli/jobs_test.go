package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// jobsAPI is a daemon that has jobs, contexts, a log and metrics, and notes
// what is asked of it. The rest of the API it doesn't have.
type jobsAPI struct {
	API
	jobs     []units.Job
	contexts []units.ContextStatus
	canceled []int64
	filter   units.LogFilter
	asked    units.JobFilter
	all      bool
	err      error
	exec     func(context.Context, []string, io.Writer) error
	denied   bool
	ended    chan struct{} // closes when jobs end
}

func (a *jobsAPI) Close() error      { return nil }
func (a *jobsAPI) AllowInteraction() {}

func (a *jobsAPI) Jobs(_ context.Context, f units.JobFilter) ([]units.Job, error) {
	a.asked = f
	return slices.DeleteFunc(slices.Clone(a.jobs), func(j units.Job) bool { return !f.Selects(j) }), a.err
}

func (a *jobsAPI) Job(_ context.Context, id int64) (units.Job, error) {
	i := slices.IndexFunc(a.jobs, func(j units.Job) bool { return j.ID == id })
	if i < 0 {
		return units.Job{}, units.Errorf(units.CodeNoSuchJob, "there is no job %d", id)
	}
	return a.jobs[i], nil
}

func (a *jobsAPI) Wait(ctx context.Context, id int64) (units.Job, error) {
	select {
	case <-a.ended:
		return a.Job(ctx, id)
	case <-ctx.Done():
		return units.Job{}, ctx.Err()
	}
}

func (a *jobsAPI) Cancel(ctx context.Context, id int64) error {
	if _, err := a.Job(ctx, id); err != nil {
		return err
	}
	a.canceled = append(a.canceled, id)
	return nil
}

func (a *jobsAPI) PruneLogs(_ context.Context, f units.LogFilter, everything bool) (int64, error) {
	a.filter, a.all = f, everything
	return 12, a.err
}

func (a *jobsAPI) Contexts(context.Context) ([]units.ContextStatus, error) { return a.contexts, a.err }
func (a *jobsAPI) Metrics(context.Context) (string, error) {
	return "hero_proc_ready 1\n# EOF\n", a.err
}

var jobsNow = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func newJobsAPI() *jobsAPI {
	id := func(context, name string) units.ID { return units.ID{Context: context, Name: name} }
	return &jobsAPI{
		jobs: []units.Job{
			{ID: 41, Run: 7, Service: id("core", "hero_db"), Action: "main", Unit: "hero-core-hero_db.service", Attempt: 2, Phase: units.PhaseRunning,
				InvocationID: strings.Repeat("ab", 16), MainPID: 812, Created: jobsNow.Add(-2 * time.Hour), Started: jobsNow.Add(-time.Hour),
				Used: units.Usage{CPU: units.Counted(1_234_567_890), IORead: units.Counted(0), IOWritten: units.Counted(5 << 19)}},
			{ID: 42, Run: 8, Service: id("lab", "web"), Action: "main", Unit: "hero-lab-web.service", Attempt: 1, Phase: units.PhasePending, Created: jobsNow.Add(-3 * time.Second)},
			{ID: 43, Run: 8, Service: id("lab", "once"), Action: "main", Unit: "hero-lab-once.service", Attempt: 1, Phase: units.PhaseFailed,
				Created: jobsNow.Add(-time.Minute), Ended: jobsNow.Add(-30 * time.Second), Result: "exit-code", ExitCode: 1, ExitStatus: 3},
		},
		contexts: []units.ContextStatus{
			{Name: "core", Slice: "hero-core.slice", Services: map[units.State]int{units.StateRunning: 2, units.StateFailed: 1}},
			{Name: "lab", Slice: "hero-lab.slice", Services: map[units.State]int{units.StateInactive: 1}},
		},
	}
}

// call runs one command line, and tells which host was dialled.
func (a *jobsAPI) call(args ...string) (stdout, stderr string, exit int, host string) {
	var out, errs bytes.Buffer
	exit = Run(context.Background(), args, Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Version: "1.2.3", Now: func() time.Time { return jobsNow },
		Dial: func(context.Context) (API, error) { return a, nil },
		Exec: a.exec, JournalDenied: func() bool { return a.denied },
		DialHost: func(_ context.Context, h string) (API, error) {
			host = h
			return a, nil
		},
	})
	return out.String(), errs.String(), exit, host
}

func TestJobsContextsAndMetrics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		args   string
		stdout string
		stderr string // is in it
		exit   int
	}{
		{name: "list", args: "job list", stdout: `JOB  RUN  SERVICE       ACTION  PHASE    ASKED FOR            TOOK     RESULT
41   7    core/hero_db  main    running  2026-01-02 13:04:05  2h 0min
42   8    lab/web       main    pending  2026-01-02 15:04:02  3s
43   8    lab/once      main    failed   2026-01-02 15:03:05  30s      exit-code (exited with status 3)
`},
		{name: "list of a context", args: "job list --context core", stdout: `JOB  RUN  SERVICE       ACTION  PHASE    ASKED FOR            TOOK     RESULT
41   7    core/hero_db  main    running  2026-01-02 13:04:05  2h 0min
`},
		{name: "list that is cut", args: "job list --service once -n 1", stdout: `JOB  RUN  SERVICE   ACTION  PHASE   ASKED FOR            TOOK  RESULT
43   8    lab/once  main    failed  2026-01-02 15:03:05  30s   exit-code (exited with status 3)
`, stderr: "There may be more: --before 43"},
		{name: "list of an empty context", args: "job list --context none", stderr: "There is no such job."},
		{name: "list of a phase that is none", args: "job list --phase tired", stderr: "want pending, running, succeeded, failed, canceled or lost", exit: units.ExitUsage},
		{name: "list of an origin that is none", args: "job list --origin me", stderr: "want boot, api or systemd", exit: units.ExitUsage},
		{name: "list of too many", args: "job list -n 1001", stderr: "want 1 to 1000", exit: units.ExitUsage},
		{name: "list before nothing", args: "job list --before 0", stderr: "want 1 or more", exit: units.ExitUsage},
		{name: "list of an unset variable", args: "job list --service=", stderr: "--service is empty", exit: units.ExitUsage},
		{name: "list since some time", args: "job list --since soon", stderr: "how long ago", exit: units.ExitUsage},
		{name: "show one that runs", args: "job show 41", stdout: `         Job: 41 of run 7, attempt 2
     Service: core/hero_db
      Action: main
        Unit: hero-core-hero_db.service
       Phase: running
   Asked for: 2026-01-02 13:04:05; 2h 0min ago
       Ready: 2026-01-02 14:04:05; 1h 0min ago
         CPU: 1.235s
 Memory peak: not counted
     IO read: 0B
  IO written: 2.5M
    Main PID: 812
  Invocation: abababababababababababababababab
        Logs: hero_proc job logs 41
`},
		{name: "show one that failed", args: "job show 43", stdout: `         Job: 43 of run 8, attempt 1
     Service: lab/once
      Action: main
        Unit: hero-lab-once.service
       Phase: failed: exit-code (exited with status 3)
   Asked for: 2026-01-02 15:03:05; 1min 0s ago
       Ended: 2026-01-02 15:03:35; 30s ago
    Same run: job 42: main, attempt 1, pending
`},
		{name: "show none", args: "job show 99", stderr: "there is no job 99", exit: units.ExitFailed},
		{name: "show without a number", args: "job show", stderr: "number of one job", exit: units.ExitUsage},
		{name: "show of two", args: "job show 1 2", stderr: "number of one job", exit: units.ExitUsage},
		{name: "show of a name", args: "job show web", stderr: `"web" is not the number of a job`, exit: units.ExitUsage},
		{name: "show of job 0", args: "job show 0", stderr: "not the number of a job", exit: units.ExitUsage},
		{name: "cancel", args: "job cancel 41 42", stdout: "asked to cancel job 41\nasked to cancel job 42\n"},
		{name: "cancel one that is not there", args: "job cancel 41 99", stdout: "asked to cancel job 41\n", stderr: "cannot cancel job 99: there is no job 99", exit: units.ExitFailed},
		{name: "cancel what is over", args: "job cancel 43", stdout: "job 43 is over already (failed); nothing was stopped\n"},
		{name: "cancel nothing", args: "job cancel", stderr: "at least one job", exit: units.ExitUsage},
		{name: "contexts", args: "context list", stdout: `CONTEXT  SLICE            SERVICES
core     hero-core.slice  2 running, 1 failed
lab      hero-lab.slice   1 inactive
`},
		{name: "contexts of something", args: "context list core", stderr: "unexpected argument", exit: units.ExitUsage},
		{name: "metrics", args: "metrics", stdout: "hero_proc_ready 1\n# EOF\n"},
	} {
		stdout, stderr, exit, _ := newJobsAPI().call(strings.Fields(tt.args)...)
		if stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" || exit != tt.exit {
			t.Errorf("%s: status %d\n%s%s\nwant %d\n%s%s", tt.name, exit, stdout, stderr, tt.exit, tt.stdout, tt.stderr)
		}
	}
}

func TestJobFilter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want units.JobFilter
	}{
		{"", units.JobFilter{Limit: defaultJobs}},
		{"--live", units.JobFilter{Live: true}},
		{"--live -n 3", units.JobFilter{Live: true, Limit: 3}},
		{"--service lab/web --action main --phase lost --origin boot --run 3 --before 9 -n 5",
			units.JobFilter{Context: "lab", Service: "web", Action: "main", Phase: units.PhaseLost, Origin: units.OriginBoot, Run: 3, Before: 9, Limit: 5}},
		{"--service web --context lab --since 1h --until 2026-01-02",
			units.JobFilter{Context: "lab", Service: "web", Since: jobsNow.Add(-time.Hour), Until: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Limit: defaultJobs}},
	} {
		a := newJobsAPI()
		if _, stderr, exit, _ := a.call(append([]string{"job", "list"}, strings.Fields(tt.args)...)...); exit != 0 || a.asked != tt.want {
			t.Errorf("job list %s: status %d, asked for %+v; want %+v\n%s", tt.args, exit, a.asked, tt.want, stderr)
		}
	}
}

func TestJobsAsJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, key, has string }{
		{"job list", "jobs", `"phase":"pending"`},
		{"job show 41", "job", `"invocation_id":"abab`},
		{"job show 42", "run", `"id":43`},
		{"job cancel 41 43", "canceled", `[41]`},
		{"job cancel 41 43", "over", `[43]`},
		{"context list", "contexts", `"slice":"hero-lab.slice"`},
		{"metrics", "metrics", `hero_proc_ready 1\n`},
		{"log prune --all", "pruned", `12`},
	} {
		stdout, _, exit, _ := newJobsAPI().call(append([]string{"--json"}, strings.Fields(tt.args)...)...)
		var answer map[string]json.RawMessage
		if err := json.Unmarshal([]byte(stdout), &answer); err != nil || exit != units.ExitDone {
			t.Fatalf("%s: %v, status %d in %s", tt.args, err, exit, stdout)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, answer[tt.key]); err != nil || !strings.Contains(compact.String(), tt.has) || string(answer["schema_version"]) != "1" {
			t.Errorf("%s: %q is %s, %v; want %s in it", tt.args, tt.key, compact.String(), err, tt.has)
		}
	}
}

func TestLogPrune(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, args string
		filter     units.LogFilter
		all        bool
		exit       int
	}{
		{name: "everything", args: "--all", all: true},
		{name: "by age", args: "--older-than 30d", filter: units.LogFilter{Until: jobsNow.Add(-30*24*time.Hour - time.Microsecond)}},
		{name: "by date", args: "--older-than 2026-01-01", filter: units.LogFilter{Until: time.Date(2025, 12, 31, 23, 59, 59, 999999000, time.UTC)}},
		{name: "of a kind", args: "--all --level info --source hero_proc.bus --context lab",
			filter: units.LogFilter{Source: "hero_proc.bus", Level: units.LevelInfo, Context: "lab"}},
		{name: "of a service", args: "--older-than 1d --service lab/web", filter: units.LogFilter{Context: "lab", Service: "web", Until: jobsNow.Add(-24*time.Hour - time.Microsecond)}},
		{name: "of every age", args: "--older-than 0s", all: true},
		{name: "of every age, and of a kind", args: "--older-than 0 --source hero_proc", filter: units.LogFilter{Source: "hero_proc"}},
		{name: "of an unset variable", args: "--all --source=", exit: units.ExitUsage},
		{name: "exactly", args: "--all --exact", exit: units.ExitUsage},
		{name: "nothing said", args: "", exit: units.ExitUsage},
		{name: "a kind of no age", args: "--level info", exit: units.ExitUsage},
		{name: "both said", args: "--all --older-than 1d", exit: units.ExitUsage},
		{name: "no time", args: "--older-than soon", exit: units.ExitUsage},
		{name: "more days than there are", args: "--older-than 200000d", exit: units.ExitUsage},
		{name: "no age", args: "--older-than=", exit: units.ExitUsage},
		{name: "no level", args: "--all --level loud", exit: units.ExitUsage},
		{name: "an argument", args: "--all now", exit: units.ExitUsage},
	} {
		a := newJobsAPI()
		stdout, stderr, exit, _ := a.call(append([]string{"log", "prune"}, strings.Fields(tt.args)...)...)
		if exit != tt.exit || !reflect.DeepEqual(a.filter, tt.filter) || a.all != tt.all {
			t.Errorf("%s: status %d, asked for %+v, everything %v; want %d, %+v, %v\n%s", tt.name, exit, a.filter, a.all, tt.exit, tt.filter, tt.all, stderr)
		}
		if want := map[bool]string{true: "deleted 12 reports\n"}[exit == 0]; stdout != want {
			t.Errorf("%s: it printed %q; want %q", tt.name, stdout, want)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, args, host string
		exit             int
		stderr           string
	}{
		{name: "this machine", args: "job list"},
		{name: "before the command", args: "-H root@hero job list", host: "root@hero"},
		{name: "behind it", args: "job list --host=hero:22", host: "hero:22"},
		{name: "an unset variable is not this machine", args: "--host= job list", exit: units.ExitUsage, stderr: "--host is empty"},
		{name: "nor behind the command", args: "job list --host=", exit: units.ExitUsage, stderr: "--host is empty"},
	} {
		_, stderr, exit, host := newJobsAPI().call(strings.Fields(tt.args)...)
		if host != tt.host || exit != tt.exit || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: dialled %q, status %d, %s; want %q, %d, %s", tt.name, host, exit, stderr, tt.host, tt.exit, tt.stderr)
		}
	}
	// A Tab asks nobody over ssh. (API has no Services here, so asking would panic.)
	if stdout, _, _, host := newJobsAPI().call("__complete", "-H", "hero", "service", "status", ""); stdout != "" || host != "" {
		t.Errorf("completion with a host printed %q and dialled %q", stdout, host)
	}
	if stdout, _, _, _ := newJobsAPI().call("job", "--help"); !strings.Contains(stdout, "cancel") {
		t.Errorf("help of job is %q", stdout)
	}
	if stdout, _, _, _ := newJobsAPI().call("metrics", "--help"); !strings.Contains(stdout, "-H") {
		t.Errorf("help has no -H: %q", stdout)
	}
}
