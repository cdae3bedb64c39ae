package plan

import (
	"errors"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestDecideRun(t *testing.T) {
	t.Parallel()
	gone := units.Unit{Name: "u", Load: "not-found", Active: "inactive", Sub: "dead"}
	state := func(active string) units.Unit { return units.Unit{Name: "u", Load: "loaded", Active: active} }
	queued := state("inactive")
	queued.JobID = 7
	unreadable := errors.New("no JSON")
	for _, c := range []struct {
		name     string
		process  bool
		canceled bool
		err      error
		before   string // the boot in which it was started
		now      string
		unit     units.Unit
		last     units.Phase // of its newest job
		attempt  int
		ran      bool // the newest job has come to an activation
		restart  units.Restart
		want     RunTreatment
	}{
		{name: "a process that died with the machine", process: true, before: "a", now: "b", unit: gone, want: QueueRun},
		{name: "a process that the machine's shutdown stopped", process: true, before: "a", now: "b", unit: gone, last: units.PhaseCanceled, want: QueueRun},
		{name: "a process that went with the power", process: true, before: "a", now: "b", unit: gone, last: units.PhaseLost, want: QueueRun},
		{name: "a process that had ended well when the machine went down", process: true, before: "a", now: "b", unit: gone, last: units.PhaseSucceeded, want: CloseRun},
		{name: "a process that had failed when the machine went down", process: true, before: "a", now: "b", unit: gone, last: units.PhaseFailed, restart: units.RestartNo, want: CloseRun},
		{name: "a process that waited for its restart", process: true, before: "a", now: "b", unit: gone, last: units.PhaseFailed, restart: units.RestartOnFailure, want: QueueRun},
		{name: "a process that ended well and waited for its restart", process: true, before: "a", now: "b", unit: gone, last: units.PhaseSucceeded, restart: units.RestartAlways, want: QueueRun},
		{name: "what is meant to end, and died with the machine", before: "a", now: "b", unit: gone, want: CloseRun},
		{name: "a process that was to end, and died with the machine", process: true, canceled: true, before: "a", now: "b", unit: gone, want: CloseRun},
		{name: "a process that ended while the daemon was down", process: true, before: "a", now: "a", unit: gone, want: CloseRun},
		{name: "a process that failed while the daemon was down", process: true, before: "a", now: "a", unit: state("failed"), want: CloseRun},
		{name: "a process that runs", process: true, before: "a", now: "a", unit: state("active"), want: FollowRun},
		{name: "a process that is started, or waits for its restart", process: true, before: "a", now: "a", unit: state("activating"), want: FollowRun},
		{name: "a process that is being stopped", process: true, canceled: true, before: "a", now: "a", unit: state("deactivating"), want: FollowRun},
		{name: "a process whose start is queued", process: true, before: "a", now: "a", unit: queued, want: FollowRun},
		{name: "a process that came through a boot", process: true, before: "a", now: "b", unit: state("active"), want: FollowRun},
		{name: "one that runs and can't be read", err: unreadable, before: "a", now: "a", unit: state("active"), want: FollowRun},
		{name: "one that can't be read, and died with the machine", err: unreadable, before: "a", now: "b", unit: gone, want: DropRun},
		{name: "one that can't be read, and ended", err: unreadable, before: "a", now: "a", unit: gone, want: CloseRun},
		{name: "one that can't be read, and was to end", err: unreadable, canceled: true, before: "a", now: "b", unit: gone, want: CloseRun},
		{name: "a process that was about to be started again", process: true, before: "b", now: "b", unit: gone, last: units.PhaseLost, attempt: 2, want: QueueRun},
		{name: "one that was, and was to end", process: true, canceled: true, before: "b", now: "b", unit: gone, last: units.PhaseLost, attempt: 2, want: CloseRun},
		{name: "one that was, and can't be read", err: unreadable, before: "b", now: "b", unit: gone, last: units.PhaseLost, attempt: 2, want: DropRun},
		{name: "one that was, and is no process", before: "b", now: "b", unit: gone, last: units.PhaseLost, attempt: 2, want: CloseRun},
		{name: "one that was, and has come to it", process: true, before: "b", now: "b", unit: state("activating"), last: units.PhaseLost, attempt: 2, want: FollowRun},
		{name: "a process that was started again, and whose end nobody saw", process: true, before: "b", now: "b", unit: gone, last: units.PhaseLost, attempt: 2, ran: true, want: CloseRun},
		{name: "a process that was refused when it was to be started again", process: true, before: "b", now: "b", unit: gone, last: units.PhaseFailed, attempt: 2, want: CloseRun},
		{name: "a process that somebody asked for, and got no answer", process: true, before: "b", now: "b", unit: gone, last: units.PhaseLost, attempt: 1, want: CloseRun},
		{name: "the boot is not known", process: true, before: "a", now: "", unit: gone, want: CloseRun},
		{name: "the boot was not known", process: true, before: "", now: "b", unit: gone, want: CloseRun},
		{name: "neither is", process: true, before: "", now: "", unit: gone, want: CloseRun},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := units.OpenRun{Run: 1, Boot: c.before, Canceled: c.canceled, Err: c.err}
			r.What.Action.Process, r.What.Action.Restart = c.process, c.restart
			last := units.Job{Phase: c.last, Attempt: max(c.attempt, 1)}
			if c.ran {
				last.InvocationID = "i"
			}
			got, reason := DecideRun(r, c.now, c.unit, last)
			if got != c.want || reason == "" {
				t.Errorf("it is %s (%q), want %s", got, reason, c.want)
			}
		})
	}
}
