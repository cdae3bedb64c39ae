package plan

import (
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Activation is what the journal says of one activation of a unit.
type Activation struct {
	Unit, InvocationID, Boot string
	// Before is the invocation that systemd's Restart= made this one after;
	// "" when somebody, or something else, started it.
	Before string
	Begun  time.Time // zero when its beginning was not read
	Ready  time.Time // of a one-shot: done; zero before
	// Stopped says that a stop was asked for before it ended: by somebody, by
	// a dependency, by the machine's shutdown.
	Stopped bool
	// Exited is when the main process ended, with what. systemd says so only
	// of one that did not end well.
	Exited     time.Time
	ExitCode   int32
	ExitStatus int32
	// Over is when systemd judged the end, and Result its judgement.
	Over   time.Time
	Result string
	// Restarted is when Restart= began to follow it up; zero if it did not.
	Restarted time.Time
	Used      units.Usage
}

// Activations puts the entries together, in the order in which the
// activations are first spoken of.
func Activations(entries []units.Entry) []Activation {
	var all []Activation
	at := map[string]int{} // by invocation, which is unique
	// restarting has, for each unit, the invocation that Restart= follows up.
	restarting := map[string]units.Entry{}
	for _, e := range entries {
		i, known := at[e.InvocationID]
		if !known {
			i = len(all)
			at[e.InvocationID] = i
			all = append(all, Activation{Unit: e.Unit, InvocationID: e.InvocationID, Boot: e.Boot})
		}
		a := &all[i]
		if a.Unit != e.Unit {
			continue
		}
		over := !a.Over.IsZero()
		switch e.Kind {
		case units.EntryStarting:
			a.Begun = e.Time
			if r, ok := restarting[e.Unit]; ok && r.Boot == e.Boot && r.InvocationID != e.InvocationID {
				a.Before = r.InvocationID
			}
			delete(restarting, e.Unit)
		case units.EntryStarted:
			a.Ready = e.Time
		case units.EntryStopping:
			a.Stopped = a.Stopped || !over
		case units.EntryExited:
			if e.Command == "ExecStart" && !over {
				a.Exited, a.ExitCode, a.ExitStatus = e.Time, e.ExitCode, e.ExitStatus
			}
		case units.EntryFailed, units.EntryDeactivated:
			// The first one counts: a start that was refused later, as for
			// the start limit, is told under the same invocation.
			if !over {
				a.Over, a.Result = e.Time, e.Result
				if e.Kind == units.EntryDeactivated {
					a.Result = "success"
				}
			}
		case units.EntryRestart:
			restarting[e.Unit] = e
			a.Restarted = e.Time
		case units.EntryStopped:
			if e.Job == "stop" {
				delete(restarting, e.Unit) // it won over the restart
			}
		case units.EntryUsage:
			a.Used = e.Used
		}
	}
	return all
}

// Recover is the job with how its activation ended, as far as the journal
// tells; false when it does not, and then the job is lost. Nothing is guessed:
// what systemd does not write down, as the exit status of a program that ended
// well, stays unknown (ExitCode 0).
//
// Of a program that ended well and that nobody is known to have stopped, also
// one that a SIGTERM from elsewhere has ended, systemd says "success" alone.
// That is what is written: succeeded.
//
// oneshot says that the unit runs to its end: it is over once it is ready.
func Recover(j units.Job, a Activation, oneshot bool) (units.Job, bool) {
	j.InvocationID, j.MainPID = a.InvocationID, 0
	j.ExitCode, j.ExitStatus = a.ExitCode, a.ExitStatus
	j.Used = a.Used.Or(j.Used)
	if j.Started.IsZero() {
		j.Started = a.Ready
	}
	j.Ended = a.Exited
	if j.Ended.IsZero() {
		j.Ended = a.Over
	}
	switch {
	case oneshot && !a.Ready.IsZero():
		j.Phase, j.Result, j.Ended = units.PhaseSucceeded, "success", a.Ready
	case a.Over.IsZero():
		return j, false
	case a.Result != "success":
		j.Phase, j.Result = units.PhaseFailed, a.Result
	case a.Stopped:
		j.Phase, j.Result = units.PhaseCanceled, a.Result
	default:
		j.Phase, j.Result = units.PhaseSucceeded, a.Result
	}
	return j, true
}

// Lose is the job when it can't be known how it ended; what is known of it
// stays. If it is not known when, it is when that was found out.
func Lose(j units.Job, now time.Time) units.Job {
	j.Phase, j.MainPID = units.PhaseLost, 0
	if j.Ended.IsZero() {
		j.Ended = now
	}
	return j
}

// Missed says that the unit has been through more than the history has seen:
// the activation that it follows is not the unit's any more, or systemd has
// restarted the unit more often than there are attempts, or as often, where
// the last attempt has not even begun. booting says that the boot started the unit,
// and that nothing of it was seen since: its first activation is no restart. It may
// say so of one that was not, as the count is one ahead at times; looking costs
// little.
func Missed(last *units.Job, u units.Unit, recorded, booting bool) bool {
	began := !recorded && u.InvocationID != "" && u.Loaded()
	if booting && began && u.Restarts > 0 {
		return true
	}
	if last == nil || last.InvocationID == u.InvocationID {
		return false
	}
	live := !last.Phase.Terminal()
	if live && last.InvocationID != "" {
		return true
	}
	if live {
		return began && int(u.Restarts) >= last.Attempt
	}
	return began && last.InvocationID != "" && int(u.Restarts) > last.Attempt
}

// turn is how long after the end of one action the next one of the same start
// begins at the latest, when nothing else of it is alive: systemd starts it at
// once.
const turn = 5 * time.Second

// Joins says whether an activation of a unit of the service is a part of the
// start that the jobs are of (the oldest first, some may have ended since), and
// which attempt it is there.
//
// It is not, when that start was over: when somebody had stopped it, when
// nothing of it was alive, and when the unit has had its turn. But when
// systemd's Restart= restarts one action of it, it restarts with it the actions
// that are tied to it, and that is a further attempt of all of them. restarting
// says so of a job: that systemd had begun to restart its unit.
func Joins(start []units.Job, unit string, begun time.Time, restarting func(units.Job) bool) (attempt int, ok bool) {
	newest := map[string]units.Job{}
	for _, j := range start {
		newest[j.Unit] = j
	}
	own, turned := newest[unit]
	alive, stopped, again := false, false, false
	for _, j := range newest {
		over := j.Phase.Terminal() && !j.Ended.After(begun)
		switch {
		case j.Unit == unit:
		case !over:
			alive = true
			again = again || j.Attempt > 1 && turned && !j.Created.Before(own.Ended)
		case restarting(j):
			again = true
		case j.Phase == units.PhaseCanceled, j.Phase == units.PhaseLost:
			stopped = true
		case j.Phase == units.PhaseSucceeded && begun.Sub(j.Ended) < turn:
			alive = true
		}
	}
	if turned {
		return own.Attempt + 1, again && own.Phase.Terminal() && !own.Ended.After(begun)
	}
	return 1, again || alive && !stopped
}

// Unknown are the units of which the journal tells an activation that is not
// among the recorded ones.
func Unknown(all []Activation, recorded map[string]bool) []string {
	var names []string
	for _, a := range all {
		if !a.Begun.IsZero() && !recorded[a.InvocationID] {
			names = append(names, a.Unit)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
