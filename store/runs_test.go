package store

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func adHoc(name string) units.AdHoc {
	a := units.NewAction(units.DefaultAction)
	a.Process, a.Exec, a.Env, a.MemoryMax = false, []string{"/bin/echo", "a b"}, map[string]string{"K": "v"}, 1<<20
	return units.AdHoc{ID: units.ID{Context: "lab", Name: name}, Action: a}
}

func TestRunsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	begin := func(name string) units.Job {
		t.Helper()
		j, err := s.BeginRun(t.Context(), adHoc(name), "boot1", at)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	one, two, three := begin("one"), begin("two"), begin("three")
	if one.ID == 0 || one.Unit != "hero-lab-one-r1.service" || one.Attempt != 1 || two.Run == one.Run {
		t.Errorf("the jobs are %+v and %+v", one, two)
	}
	if err := s.CancelRun(t.Context(), two.Run); err != nil {
		t.Fatal(err)
	}
	if err := s.EndRuns(t.Context(), three.Run); err != nil {
		t.Fatal(err)
	}
	if err := s.CancelRun(t.Context(), three.Run); err != nil { // over is over
		t.Fatal(err)
	}
	again := one
	again.ID, again.Attempt = 0, 2
	if err := s.BeginRunAgain(t.Context(), &again, "boot2"); err != nil || again.ID == 0 {
		t.Fatalf("again: %+v, %v", again, err)
	}
	// A run that is none of ours has no state to change.
	save(t, s, job("u", "x", units.PhaseRunning))
	if err := s.EndRuns(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if _, err := s.w.Exec(`INSERT INTO runs (context_name, service_name, origin, created_at, definition, state) VALUES ('lab', 'bad', 'run', 0, 'nonsense', 'open')`); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t, dir)
	runs, err := s.OpenRuns(t.Context())
	if err != nil || len(runs) != 3 {
		t.Fatalf("the open runs are %+v, %v", runs, err)
	}
	if want := (units.OpenRun{Run: one.Run, What: adHoc("one"), Boot: "boot2"}); !reflect.DeepEqual(runs[0], want) {
		t.Errorf("the run is %+v, want %+v", runs[0], want)
	}
	if want := (units.OpenRun{Run: two.Run, What: adHoc("two"), Boot: "boot1", Canceled: true}); !reflect.DeepEqual(runs[1], want) {
		t.Errorf("the canceled run is %+v, want %+v", runs[1], want)
	}
	wantCode(t, runs[2].Err, units.CodeInvalidDefinition)
	if last, ok, err := s.LastJob(t.Context(), one.Unit); err != nil || !ok || last.ID != again.ID || last.Run != one.Run {
		t.Errorf("the last job is %+v, %v", last, err)
	}
}

// On a full disk no run is begun; jobs that wait for room keep their numbers.
func TestNoRunOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	before, err := s.BeginRun(t.Context(), adHoc("before"), "b", at)
	if err != nil {
		t.Fatal(err)
	}
	undo := fillDisk(t, s)
	stuff(t, s)
	refused := adHoc("refused") // which needs pages of its own
	refused.Action.Exec = append(refused.Action.Exec, strings.Repeat("x", 9000))
	_, err = s.BeginRun(t.Context(), refused, "b", at)
	wantCode(t, err, units.CodeStoreFull)
	waits := large("new", "b", units.PhasePending)
	save(t, s, waits)
	_, err = s.BeginRun(t.Context(), refused, "b", at)
	wantCode(t, err, units.CodeStoreFull)
	undo()
	after, err := s.BeginRun(t.Context(), adHoc("after"), "b", at)
	if err != nil {
		t.Fatal(err)
	}
	if waits.Run != before.Run+1 || after.Run != waits.Run+1 || after.ID != waits.ID+1 {
		t.Errorf("the runs are %d, %d and %d; the jobs %d, %d and %d", before.Run, waits.Run, after.Run, before.ID, waits.ID, after.ID)
	}
	if j, err := s.Job(t.Context(), waits.ID); err != nil || j.Unit != "new" {
		t.Errorf("the job that waited is %+v, %v", j, err)
	}
}
