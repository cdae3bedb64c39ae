package plan

import (
	"syscall"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Change is what an observation of a unit means for its history: Update is a
// known job with its new state, Begin a new job to be recorded (its Run is 0
// when it is the first of a run). Either may be nil.
type Change struct {
	Update *units.Job
	Begin  *units.Job
}

// Observe compares the last job of a unit that the history knows (nil when
// there is none) with the unit as systemd has it.
//
// recorded says that the unit's invocation is that of an earlier job: a unit
// keeps its last one until it is started again. stopping says that somebody is
// known to have asked for a stop: then an end with success is a cancellation,
// and otherwise the program's own.
func Observe(last *units.Job, u units.Unit, recorded, stopping bool, now time.Time) Change {
	var c Change
	live := last != nil && !last.Phase.Terminal()
	invoked := u.InvocationID != "" && !recorded

	if live && last.InvocationID == "" && invoked {
		// A start that was asked for has got its activation.
		c.Update = attach(*last, u, stopping, now)
		return c
	}
	if live && last.InvocationID != "" && last.InvocationID == u.InvocationID {
		if j := follow(*last, u, stopping, now); j != nil {
			c.Update = j
		}
		return c
	}
	if live && last.InvocationID != "" {
		// systemd has another activation, or none: how this one ended was
		// missed, and is not guessed.
		lost := *last
		lost.Phase, lost.Ended, lost.MainPID = units.PhaseLost, now, 0
		c.Update = &lost
	}
	if !invoked || !u.Loaded() || (last != nil && last.InvocationID == u.InvocationID) {
		return c
	}
	begin := units.Job{Unit: u.Name, Attempt: attempt(u), Created: now}
	if !u.BegunAt.IsZero() && u.BegunAt.Before(now) {
		begin.Created = u.BegunAt
	}
	if last != nil && u.Restarts > 0 && last.Phase != units.PhaseCanceled {
		// systemd's own restart: a further attempt of the same run. A job that
		// was stopped is of an earlier one.
		begin.Run, begin.Attempt = last.Run, max(last.Attempt+1, attempt(u))
	}
	c.Begin = attach(begin, u, stopping, now)
	return c
}

// StartJoins says that a start of a unit, which is down as it was read, is that
// of the last job: it has come up since, or that job's start is still queued.
// held says that systemd was not asked for that one yet, and may never be. What
// waits to be started again is restarted, which ends what has come up since.
func StartJoins(last *units.Job, u units.Unit, held bool) bool {
	if last == nil || last.Phase.Terminal() || u.Sub == "auto-restart" {
		return false
	}
	if last.InvocationID != "" {
		return last.InvocationID != u.InvocationID
	}
	return !held && u.JobID != 0 && (u.Active == "inactive" || u.Active == "failed")
}

// attempt is which activation of its run the unit's one is at least, by
// systemd's count. Once it has ended, the count may have the next one already,
// also one that the start limit has refused.
func attempt(u units.Unit) int {
	n := int(u.Restarts)
	if n > 0 && hasEnded(u) {
		n--
	}
	return n + 1
}

func hasEnded(u units.Unit) bool {
	return u.Active == "failed" || u.Active == "inactive" || u.Sub == "auto-restart"
}

// Unchanged says that a unit, of which no more is known than a listing and its
// identity, is as its live jobs have it: it runs with the invocation of the one
// that runs, or was never started and there is none. To observe it would
// change nothing. One that systemd has restarted is not told: its count is not
// known.
func Unchanged(live []units.Job, u units.Unit) bool {
	if u.Load != "loaded" || u.JobID != 0 {
		return false
	}
	if len(live) == 0 {
		return u.Active == "inactive" && u.InvocationID == ""
	}
	return len(live) == 1 && live[0].Phase == units.PhaseRunning && live[0].Attempt <= 1 && live[0].InvocationID == u.InvocationID &&
		u.InvocationID != "" && u.Active == "active" && u.Sub == "running"
}

// ObserveEnding is the job that a restart, which somebody asked for, is
// ending, with what its unit says; nil when nothing changed.
func ObserveEnding(j units.Job, u units.Unit, now time.Time) *units.Job {
	if j.InvocationID == u.InvocationID {
		return follow(j, u, true, now)
	}
	j.Phase, j.Ended, j.MainPID = units.PhaseCanceled, now, 0
	return &j
}

// attach gives a job its activation, and its state in it.
func attach(j units.Job, u units.Unit, stopping bool, now time.Time) *units.Job {
	j.InvocationID, j.Phase = u.InvocationID, units.PhasePending
	if next := follow(j, u, stopping, now); next != nil {
		return next
	}
	return &j
}

// follow is the job with what its unit says now; nil when nothing changed.
func follow(j units.Job, u units.Unit, stopping bool, now time.Time) *units.Job {
	next := j
	next.MainPID = u.MainPID
	ended := hasEnded(u)
	oneshotDone := u.Active == "active" && u.Sub == "exited"
	switch {
	case ended || oneshotDone:
		next.MainPID = 0
		next.Result, next.ExitCode, next.ExitStatus = u.Result, u.ExitCode, u.ExitStatus
		next.Used = u.Used()
		next.Ended = u.ExitedAt
		if next.Ended.IsZero() {
			next.Ended = now
		}
		switch {
		case u.Result != "success" && u.Result != "":
			next.Phase = units.PhaseFailed
		case oneshotDone:
			next.Phase = units.PhaseSucceeded
		case stopping || u.KilledBy(syscall.SIGTERM):
			next.Phase = units.PhaseCanceled
		default:
			next.Phase = units.PhaseSucceeded
		}
		if next.Started.IsZero() && oneshotDone {
			next.Started = next.Ended
		} else if next.Started.IsZero() && !u.BegunAt.IsZero() && !u.ActiveSince.Before(u.BegunAt) {
			next.Started = u.ActiveSince // nobody looked while it ran
		}
	case u.Active == "active" || u.Active == "reloading":
		next.Phase = units.PhaseRunning
		if next.Started.IsZero() {
			next.Started = u.ActiveSince
		}
	}
	if next == j {
		return nil
	}
	return &next
}
