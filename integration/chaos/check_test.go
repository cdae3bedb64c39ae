package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)
)

// a is a service that crashed and was restarted, b one that was stopped, c a
// one-shot whose unit stays active.
func truth() ([]Job, []Invocation, []Unit) {
	jobs := []Job{
		{ID: 1, Run: 1, Unit: "hero-core-a.service", Attempt: 1, Phase: "failed", Invocation: "a1", Ended: noon, Result: "signal", ExitCode: 2, ExitStatus: 11},
		{ID: 2, Run: 1, Unit: "hero-core-a.service", Attempt: 2, Phase: "running", Invocation: "a2"},
		{ID: 3, Run: 2, Unit: "hero-core-b.service", Attempt: 1, Phase: "canceled", Invocation: "b1", Ended: noon, Result: "success", ExitCode: 2, ExitStatus: 15},
		{ID: 4, Run: 3, Unit: "hero-core-c.service", Attempt: 1, Phase: "succeeded", Invocation: "c1", Ended: noon, Result: "success", ExitCode: 1},
		{ID: 5, Run: 4, Unit: "hero-core-b.service", Attempt: 1, Phase: "failed", Ended: noon, Result: "dependency"},
	}
	journal := []Invocation{
		{ID: "a1", Unit: "hero-core-a.service", Code: 2, Status: 11, Over: noon, Result: "signal"},
		{ID: "a2", Unit: "hero-core-a.service"},
		{ID: "b1", Unit: "hero-core-b.service", Over: noon, Result: "success"},
		{ID: "c1", Unit: "hero-core-c.service"},
	}
	now := []Unit{
		{Name: "hero-core-a.service", Invocation: "a2", Active: "active", Sub: "running"},
		{Name: "hero-core-b.service", Invocation: "b1", Active: "inactive", Sub: "dead"},
		{Name: "hero-core-c.service", Invocation: "c1", Active: "active", Sub: "exited"},
	}
	return jobs, journal, now
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		spoil func(jobs *[]Job, journal *[]Invocation, now *[]Unit)
		want  string // "" is the truth
	}{
		{"the truth", func(*[]Job, *[]Invocation, *[]Unit) {}, ""},
		{"a one-shot's unit stopped long after", func(_ *[]Job, i *[]Invocation, now *[]Unit) {
			(*i)[3].Over, (*i)[3].Result = later, "success"
			(*now)[2].Active, (*now)[2].Sub = "inactive", "dead"
		}, ""},
		{"no job for what runs", func(j *[]Job, i *[]Invocation, _ *[]Unit) {
			*j, *i = slices.Delete(*j, 1, 2), slices.Delete(*i, 1, 2)
		}, "lost: there is no job for what hero-core-a.service runs"},
		{"no job for what the journal has", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { *j = slices.Delete(*j, 0, 1) },
			"lost: the journal has an invocation of hero-core-a.service"},
		{"a job twice", func(j *[]Job, _ *[]Invocation, _ *[]Unit) {
			again := (*j)[0]
			again.ID, again.Run = 9, 9
			*j = append(*j, again)
		}, "doubled"},
		{"an attempt twice", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[1].Attempt = 1 }, "same attempt"},
		{"attempt 0", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[3].Attempt = 0 }, "count from 1"},
		{"phase lost", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].Phase = "lost" }, "could be read"},
		{"running with an end", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[1].Ended = noon }, "don't agree"},
		{"over without an end", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[2].Ended = time.Time{} }, "don't agree"},
		{"waits for ever", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[4].Phase, (*j)[4].Ended = "pending", time.Time{} }, "waits for a start"},
		{"running in the history alone", func(_ *[]Job, _ *[]Invocation, now *[]Unit) { (*now)[0].Active, (*now)[0].Sub = "failed", "failed" }, "is failed"},
		{"running, and its unit has another activation", func(j *[]Job, i *[]Invocation, now *[]Unit) {
			*j = append(*j, Job{ID: 9, Run: 9, Unit: "hero-core-a.service", Attempt: 1, Phase: "running", Invocation: "a3"})
			*i = append(*i, Invocation{ID: "a3", Unit: "hero-core-a.service"})
			(*now)[0].Invocation = "a3"
		}, "nothing runs it any more"},
		{"over in the history alone", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[1].Phase, (*j)[1].Ended = "succeeded", noon }, "hero-core-a.service runs"},
		{"another unit's invocation", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[1].Unit = "hero-core-x.service" }, "the invocation is of"},
		{"succeeded, and it failed", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].Phase = "succeeded" }, `result is "signal"`},
		{"another result", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].Result = "exit-code" }, `result is "signal"`},
		{"failed, and it did not", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[2].Phase = "failed" }, "ended with success"},
		{"another exit status", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].ExitStatus = 9 }, "ended with 2/11"},
		{"another exit code", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].ExitCode = 3 }, "ended with 2/11"},
		{"ended too late", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].Ended = later }, "it ended at"},
		{"ended too early", func(j *[]Job, _ *[]Invocation, _ *[]Unit) { (*j)[0].Ended = noon.Add(-time.Hour) }, "it ended at"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			jobs, journal, now := truth()
			tc.spoil(&jobs, &journal, &now)
			faults := strings.Join(Check(jobs, journal, now, 0), "\n")
			if tc.want == "" && faults != "" || !strings.Contains(faults, tc.want) {
				t.Errorf("want %q, got %q", tc.want, faults)
			}
		})
	}
}

// A start that was written down and not passed on is lost, and no other is.
func TestCheckOfAStartThatWasCutOff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		lost, cutOff int
		invocation   string
		want         bool
	}{
		{"nobody was cut off", 1, 0, "", false},
		{"it was", 1, 1, "", true},
		{"more than were", 2, 1, "", false},
		{"as many as were", 2, 2, "", true},
		{"it was passed on", 1, 1, "b2", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			jobs, journal, now := truth()
			for i := range tc.lost {
				jobs = append(jobs, Job{ID: int64(9 + i), Run: int64(9 + i), Unit: "hero-core-b.service", Attempt: 1, Phase: "lost", Ended: noon, Invocation: tc.invocation})
			}
			if faults := Check(jobs, journal, now, tc.cutOff); (len(faults) == 0) != tc.want {
				t.Errorf("there are faults %q; want none: %v", faults, tc.want)
			}
		})
	}
}

func TestUntouched(t *testing.T) {
	t.Parallel()
	up := Unit{Name: "hero-core-a.service", Invocation: "1", Active: "active"}
	down := Unit{Name: "hero-core-a.service", Invocation: "1", Active: "inactive"}
	failed := Unit{Name: "hero-core-a.service", Invocation: "1", Active: "failed"}
	again := Unit{Name: "hero-core-a.service", Invocation: "2", Active: "active"}
	for _, tc := range []struct {
		name             string
		before           Unit
		after            []Unit
		touched, ensured bool
		faults           int
	}{
		{"up stays up", up, []Unit{up}, false, false, 0},
		{"down stays down", down, []Unit{down}, false, false, 0},
		{"restarted by somebody", up, []Unit{again}, true, false, 0},
		{"restarted by nobody", up, []Unit{again}, false, false, 1},
		{"restarted when hero_proc came back", up, []Unit{again}, false, true, 1},
		{"stopped by nobody", up, []Unit{down}, false, false, 1},
		{"started by nobody", down, []Unit{again}, false, false, 1},
		{"started because it is wanted", down, []Unit{again}, false, true, 0},
		{"loaded anew", down, []Unit{{Name: down.Name, Active: "inactive"}}, false, false, 0},
		{"failed stays failed", failed, []Unit{failed}, false, true, 0},
		{"reset by nobody", failed, []Unit{down}, false, false, 1},
		{"reset by somebody", failed, []Unit{down}, true, false, 0},
		{"reset and started because it is wanted", failed, []Unit{again}, false, true, 0},
		{"unloaded", down, nil, false, true, 1},
		{"unloaded while up", up, nil, false, true, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			faults := Untouched([]Unit{tc.before}, tc.after, func(string) bool { return tc.touched }, tc.ensured)
			if len(faults) != tc.faults {
				t.Errorf("want %d faults, got %q", tc.faults, faults)
			}
		})
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	unit := "hero-core-a.service"
	got, err := Read([]Entry{
		{MessageID: messageStarting, Unit: unit, Invocation: "1"},
		{MessageID: messageStarted, Unit: unit, Invocation: "1"},
		{MessageID: messageExited, Unit: unit, Invocation: "1", ExitCode: "dumped", ExitStatus: "11"},
		{MessageID: messageFailed, Unit: unit, Invocation: "1", UnitResult: "core-dump", Realtime: "7"},
		{MessageID: messageStarting, Unit: unit, Invocation: "2"},
		{MessageID: messageDeactivated, Unit: unit, Invocation: "2", Realtime: "9"},
		{MessageID: messageStarted, Unit: "ssh.service", Invocation: "3"},
		{MessageID: messageStarted, Unit: unit}, // about the unit, not an activation
		{MessageID: "something else", Unit: unit, Invocation: "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Invocation{
		{ID: "1", Unit: unit, Code: 3, Status: 11, Over: time.UnixMicro(7), Result: "core-dump"},
		{ID: "2", Unit: unit, Over: time.UnixMicro(9), Result: "success"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range [][]Entry{
		{{MessageID: messageExited, Unit: unit, Invocation: "1", ExitCode: "gone", ExitStatus: "1"}},
		{{MessageID: messageExited, Unit: unit, Invocation: "1", ExitCode: "exited"}},
		{{MessageID: messageFailed, Unit: unit, Invocation: "1", UnitResult: "signal"}},
		{{MessageID: messageStarted, Unit: unit, Invocation: "1"}, {MessageID: messageStarted, Unit: "hero-core-b.service", Invocation: "1"}},
	} {
		if all, err := Read(bad); err == nil {
			t.Errorf("%+v is read as %+v, and should be refused", bad, all)
		}
	}
}
