package plan

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestObserve(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	up := now.Add(-time.Minute)
	died := now.Add(-time.Second)
	job := func(phase units.Phase, invocation string) *units.Job {
		return &units.Job{ID: 5, Run: 2, Unit: "u", Attempt: 1, Phase: phase, InvocationID: invocation}
	}
	unit := func(active, sub, invocation string) units.Unit {
		return units.Unit{Name: "u", Load: "loaded", Active: active, Sub: sub, InvocationID: invocation, Result: "success", ActiveSince: up, MainPID: 9}
	}
	ended := func(active, sub, invocation, result string, code, status int32) units.Unit {
		return units.Unit{Name: "u", Load: "loaded", Active: active, Sub: sub, InvocationID: invocation, Result: result,
			ExitCode: code, ExitStatus: status, ActiveSince: up, ExitedAt: died}
	}
	type brief struct {
		phase      units.Phase
		invocation string
		run        int64
		attempt    int
	}
	of := func(j *units.Job) brief {
		if j == nil {
			return brief{}
		}
		return brief{j.Phase, j.InvocationID, j.Run, j.Attempt}
	}
	for _, c := range []struct {
		name     string
		last     *units.Job
		unit     units.Unit
		recorded bool
		stopping bool
		update   brief
		begin    brief
	}{
		{name: "never started", unit: unit("inactive", "dead", "")},
		{name: "started by systemctl", unit: unit("active", "running", "a"), begin: brief{units.PhaseRunning, "a", 0, 1}},
		{name: "on its way up", unit: unit("activating", "start", "a"), begin: brief{units.PhasePending, "a", 0, 1}},
		{name: "ran and ended unseen, still loaded", unit: ended("failed", "failed", "a", "exit-code", 1, 1), begin: brief{units.PhaseFailed, "a", 0, 1}},
		{name: "asked for, not begun", last: job("pending", ""), unit: unit("inactive", "dead", "")},
		{name: "asked for, still the invocation before", last: job("pending", ""), unit: ended("inactive", "dead", "old", "success", 1, 0), recorded: true},
		{name: "asked for and begun", last: job("pending", ""), unit: unit("activating", "start", "a"), update: brief{units.PhasePending, "a", 2, 1}},
		{name: "asked for and ready", last: job("pending", ""), unit: unit("active", "running", "a"), update: brief{units.PhaseRunning, "a", 2, 1}},
		{name: "asked for and failed at once", last: job("pending", ""), unit: ended("failed", "failed", "a", "exit-code", 1, 203), update: brief{units.PhaseFailed, "a", 2, 1}},
		{name: "got ready", last: job("pending", "a"), unit: unit("active", "running", "a"), update: brief{units.PhaseRunning, "a", 2, 1}},
		{name: "ended by itself", last: job("running", "a"), unit: ended("inactive", "dead", "a", "success", 1, 0), update: brief{units.PhaseSucceeded, "a", 2, 1}},
		{name: "stopped, and ended well", last: job("running", "a"), unit: ended("inactive", "dead", "a", "success", 1, 0), stopping: true, update: brief{units.PhaseCanceled, "a", 2, 1}},
		{name: "ended by SIGTERM", last: job("running", "a"), unit: ended("inactive", "dead", "a", "success", 2, 15), update: brief{units.PhaseCanceled, "a", 2, 1}},
		{name: "crashed", last: job("running", "a"), unit: ended("failed", "failed", "a", "signal", 2, 11), update: brief{units.PhaseFailed, "a", 2, 1}},
		{name: "failed while it was stopped", last: job("running", "a"), unit: ended("failed", "failed", "a", "timeout", 2, 9), stopping: true, update: brief{units.PhaseFailed, "a", 2, 1}},
		{name: "waits for systemd's restart", last: job("running", "a"), unit: ended("activating", "auto-restart", "a", "exit-code", 1, 1), update: brief{units.PhaseFailed, "a", 2, 1}},
		{name: "one-shot finished", last: job("pending", "a"), unit: ended("active", "exited", "a", "success", 1, 0), update: brief{units.PhaseSucceeded, "a", 2, 1}},
		{name: "one-shot stays finished", last: job("succeeded", "a"), unit: ended("active", "exited", "a", "success", 1, 0)},
		{name: "still stopped", last: job("canceled", "a"), unit: ended("inactive", "dead", "a", "success", 2, 15)},
		{name: "systemd's restart is a further attempt", last: job("failed", "a"),
			unit:  func() units.Unit { u := unit("active", "running", "b"); u.Restarts = 1; return u }(),
			begin: brief{units.PhaseRunning, "b", 2, 2}},
		{name: "systemctl start is a run of its own", last: job("failed", "a"), unit: unit("active", "running", "b"), begin: brief{units.PhaseRunning, "b", 0, 1}},
		{name: "an end that was missed is lost", last: job("running", "a"), unit: unit("active", "running", "b"),
			update: brief{units.PhaseLost, "a", 2, 1}, begin: brief{units.PhaseRunning, "b", 0, 1}},
		{name: "the unit went with the machine", last: job("running", "a"), unit: units.Unit{Name: "u", Load: "not-found", Active: "inactive"},
			update: brief{units.PhaseLost, "a", 2, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Observe(c.last, c.unit, c.recorded, c.stopping, now)
			if of(got.Update) != c.update || of(got.Begin) != c.begin {
				t.Fatalf("update %+v, begin %+v; want %+v, %+v", of(got.Update), of(got.Begin), c.update, c.begin)
			}
			for _, j := range []*units.Job{got.Update, got.Begin} {
				if j == nil {
					continue
				}
				if j.Phase.Terminal() == j.Ended.IsZero() {
					t.Errorf("job %+v: the end and the phase don't agree", j)
				}
				if j.Phase == units.PhaseRunning && (j.Started != up || j.MainPID != 9) {
					t.Errorf("job %+v runs without start or process", j)
				}
				if j.Phase.Terminal() && j.Phase != units.PhaseLost && (j.Ended != died || j.MainPID != 0) {
					t.Errorf("job %+v ended at another time than its process", j)
				}
			}
			// What was seen once says nothing new the second time.
			next := got.Begin
			if next == nil {
				next = got.Update
			}
			if next == nil {
				next = c.last
			}
			if again := Observe(next, c.unit, c.recorded, c.stopping, now); again.Update != nil || again.Begin != nil {
				t.Errorf("seen again: update %+v, begin %+v", of(again.Update), of(again.Begin))
			}
		})
	}
}

func TestObserveEnding(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	running := units.Job{ID: 5, Unit: "u", Phase: units.PhaseRunning, InvocationID: "a", MainPID: 9, Started: now.Add(-time.Hour)}
	for _, c := range []struct {
		name string
		unit units.Unit
		want units.Phase // "" is no change
	}{
		{"still running", units.Unit{Active: "active", Sub: "running", InvocationID: "a", MainPID: 9}, ""},
		{"stopping", units.Unit{Active: "deactivating", InvocationID: "a", MainPID: 9}, ""},
		{"stopped", units.Unit{Active: "inactive", InvocationID: "a", Result: "success"}, units.PhaseCanceled},
		{"failed to stop", units.Unit{Active: "failed", InvocationID: "a", Result: "timeout"}, units.PhaseFailed},
		{"replaced before anybody looked", units.Unit{Active: "active", InvocationID: "b", MainPID: 10}, units.PhaseCanceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ObserveEnding(running, c.unit, now)
			if got == nil && c.want == "" {
				return
			}
			if got == nil || got.Phase != c.want || got.Ended.IsZero() || got.MainPID != 0 {
				t.Errorf("job is %+v, want it %s and ended", got, c.want)
			}
		})
	}
}

func TestUnchanged(t *testing.T) {
	t.Parallel()
	running := units.Unit{Load: "loaded", Active: "active", Sub: "running", InvocationID: "a"}
	idle := units.Unit{Load: "loaded", Active: "inactive", Sub: "dead"}
	job := units.Job{Phase: units.PhaseRunning, InvocationID: "a"}
	with := func(u units.Unit, change func(*units.Unit)) units.Unit { change(&u); return u }
	for _, tt := range []struct {
		name string
		live []units.Job
		unit units.Unit
		want bool
	}{
		{"it runs as the job has it", []units.Job{job}, running, true},
		{"it runs with another invocation", []units.Job{job}, with(running, func(u *units.Unit) { u.InvocationID = "b" }), false},
		{"it runs, and no job knows of it", nil, running, false},
		{"the job is not running yet", []units.Job{{Phase: units.PhasePending, InvocationID: "a"}}, running, false},
		{"the job has no activation yet", []units.Job{{Phase: units.PhaseRunning}}, with(running, func(u *units.Unit) { u.InvocationID = "" }), false},
		{"an older job is not closed", []units.Job{{Phase: units.PhaseRunning, InvocationID: "z"}, job}, running, false},
		{"it has a job of systemd's", []units.Job{job}, with(running, func(u *units.Unit) { u.JobID = 1 }), false},
		{"it was never started", nil, idle, true},
		{"it was never started, and somebody wants it", []units.Job{{Phase: units.PhasePending}}, idle, false},
		{"it was never started, and is about to be", nil, with(idle, func(u *units.Unit) { u.JobID = 1 }), false},
		{"it has ended", []units.Job{job}, with(idle, func(u *units.Unit) { u.InvocationID = "a" }), false},
		{"it has ended, and no job knows of it", nil, with(idle, func(u *units.Unit) { u.InvocationID = "a" }), false},
		{"systemd has restarted it", []units.Job{{Phase: units.PhaseRunning, InvocationID: "a", Attempt: 2}}, running, false},
		{"a one-shot is done", []units.Job{job}, with(running, func(u *units.Unit) { u.Sub = "exited" }), false},
		{"it waits to be restarted", []units.Job{job}, with(running, func(u *units.Unit) { u.Active, u.Sub = "activating", "auto-restart" }), false},
		{"it failed without an activation", nil, with(idle, func(u *units.Unit) { u.Active = "failed" }), false},
		{"it can't be loaded", nil, with(idle, func(u *units.Unit) { u.Load = "bad-setting" }), false},
		{"it is not there", nil, units.Unit{Load: "not-found", Active: "inactive"}, false},
	} {
		if got := Unchanged(tt.live, tt.unit); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestStartJoins(t *testing.T) {
	t.Parallel()
	job := func(phase units.Phase, invocation string) *units.Job {
		return &units.Job{Phase: phase, InvocationID: invocation}
	}
	queued := func(active, invocation string) units.Unit {
		return units.Unit{Load: "loaded", Active: active, InvocationID: invocation, JobID: 7}
	}
	down := func(active, invocation string) units.Unit {
		return units.Unit{Load: "loaded", Active: active, InvocationID: invocation}
	}
	for _, c := range []struct {
		name string
		last *units.Job
		unit units.Unit
		want bool // where systemd was asked for the last job
	}{
		{"never started", nil, down("inactive", ""), false},
		{"never started, and queued by something else", nil, queued("inactive", ""), false},
		{"its last start is over", job("failed", "a"), down("failed", "a"), false},
		{"its last start is over, and a further one is queued", job("failed", "a"), queued("failed", "a"), false},
		{"it has been up and down since", job("succeeded", "b"), down("inactive", "a"), false},
		{"it has come up since", job("running", "b"), down("inactive", "a"), true},
		{"it has come up since, for the first time", job("running", "b"), down("inactive", ""), true},
		{"it is on its way up since", job("pending", "b"), down("failed", "a"), true},
		{"its end is not written down yet", job("running", "a"), down("failed", "a"), false},
		{"its start waits for what it requires", job("pending", ""), queued("inactive", ""), true},
		{"its start waits, and it has failed before", job("pending", ""), queued("failed", "a"), true},
		{"its start is not queued any more", job("pending", ""), down("inactive", ""), false},
		{"it is to be started again after what it runs has stopped", job("pending", ""), queued("deactivating", "a"), false},
		{"it was started again since, and is restarted", job("running", "b"), units.Unit{Load: "loaded", Active: "activating", Sub: "auto-restart", InvocationID: "a"}, false},
		{"it waits to be started again, and is restarted", job("pending", ""), units.Unit{Load: "loaded", Active: "activating", Sub: "auto-restart", InvocationID: "a", JobID: 7}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := StartJoins(c.last, c.unit, false); got != c.want {
				t.Errorf("joins: %v, want %v", got, c.want)
			}
			// What has not been asked of systemd yet is no start to wait for.
			c.want = c.want && c.last.InvocationID != ""
			if got := StartJoins(c.last, c.unit, true); got != c.want {
				t.Errorf("joins what is held: %v, want %v", got, c.want)
			}
		})
	}
}
