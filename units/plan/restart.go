package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Results of a job, as JobRemoved gives them: org.freedesktop.systemd1(5).
const (
	JobFailed     = "failed"
	JobDependency = "dependency"
)

// RetryAction is what becomes of a unit that systemd may have given up.
type RetryAction string

const (
	// RetryNone: systemd has not given it up, or it is nobody's to start.
	RetryNone RetryAction = "none"
	// RetryNever: systemd has given it up, and it stays so until somebody starts it.
	RetryNever RetryAction = "never"
	// RetryLater: hero_proc starts it again after a while.
	RetryLater RetryAction = "later"
	// RetryNow: that while is over.
	RetryNow RetryAction = "now"
)

// RetryInput is all that the decision about a unit depends on.
type RetryInput struct {
	Wanted units.Wanted
	Action units.Action
	Unit   units.Unit
	// Job is the result of the last job that systemd had for the unit; ""
	// when none was seen, as while the bus was away.
	Job string
	// Noted says that it was found before that systemd has given it up, and
	// Overruled that something was asked of the service since.
	Noted, Overruled bool
	// Blocked is why the service can't be started at all, if it can't.
	Blocked *Problem
	// Primary is the unit of the service's primary action, without which no
	// other is started.
	Primary units.Unit
	// Tries is how often hero_proc has started it since it was last well.
	Tries int
	// Due is when the next such start is; the zero time is not known yet.
	Due, Now time.Time
}

// RetryDecision is what is to be done, and why. Wait is how long [RetryLater] is.
type RetryDecision struct {
	Action RetryAction
	Reason string
	Wait   time.Duration
}

// DecideRetry decides whether a unit is started again that systemd has given
// up, because it failed as often as its start limit allows. systemd says so by
// a job that failed while Restart= is set: the unit's result is that of its last
// failure (start-limit-hit is only there when it had none), and a unit that
// fails as it is stopped has a job that is done.
func DecideRetry(in RetryInput) RetryDecision {
	u := in.Unit
	none := func(reason string) RetryDecision { return RetryDecision{Action: RetryNone, Reason: reason} }
	never := func(reason string) RetryDecision { return RetryDecision{Action: RetryNever, Reason: reason} }
	switch {
	case in.Overruled:
		return none("something else was asked of the service since")
	case u.Alive() || u.Active == "deactivating":
		return none("it is " + u.Active)
	case u.JobID != 0:
		return none("systemd has a job for it")
	case u.Active != "failed" && !in.Noted:
		return none("it has not failed")
	case in.Job == "" && !in.Noted:
		return none("how it came to fail was not seen")
	case in.Job == "done" || in.Job == "canceled":
		return none("somebody has stopped it")
	case in.Job != JobFailed && in.Job != "":
		return none("systemd's result of its last job is " + in.Job)
	case in.Action.RestartPolicy() == units.RestartNo:
		return none("its restart is no")
	case in.Wanted != units.WantedStart:
		return never("its wanted status is " + string(in.Wanted))
	case in.Action.NoRetry:
		return never("its restart_retry is false")
	case in.Blocked != nil:
		return never(in.Blocked.Message)
	case u.Broken():
		return never("systemd can't use its unit, whose load state is " + u.Load)
	case in.Primary.Name != u.Name && !in.Primary.Alive():
		return never("the service itself is " + in.Primary.Active)
	case in.Due.IsZero():
		wait := in.Action.RetryWait(in.Tries)
		tries := " (its first try)"
		if in.Tries > 0 {
			tries = fmt.Sprintf(", after %s of its own", countOf(in.Tries, "start"))
		}
		return RetryDecision{RetryLater, "hero_proc starts it again in " + wait.String() + tries, wait}
	case in.Now.Before(in.Due):
		wait := in.Due.Sub(in.Now)
		return RetryDecision{RetryLater, fmt.Sprintf("hero_proc starts it again in %s", wait.Round(time.Second)), wait}
	default:
		return RetryDecision{Action: RetryNow, Reason: fmt.Sprintf("systemd has given it up, it is wanted, nobody has stopped it since, and %s is over", in.Action.RetryWait(in.Tries))}
	}
}

func countOf(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}

// ResetInput is all that the decision about a unit's restarts depends on.
type ResetInput struct {
	Action units.Action
	Unit   units.Unit
	Tries  int // as in [RetryInput]
	// Seen is when this activation was first seen to be up, by a clock that
	// nobody sets; zero when that is now.
	Seen, Now time.Time
}

// ResetDecision says whether the restarts of a unit are to be forgotten now.
// Otherwise At is when to decide again; the zero time is not at all.
type ResetDecision struct {
	Reset  bool
	Reason string
	At     time.Time
}

// DecideReset decides whether a unit has been up for long enough that its
// restarts, and the delays that have grown with them, no longer count.
func DecideReset(in ResetInput) ResetDecision {
	u := in.Unit
	stable := in.Action.Stable()
	switch {
	case u.Active != "active" && u.Active != "reloading":
		return ResetDecision{Reason: "it is " + u.Active}
	case u.Sub == "exited":
		return ResetDecision{Reason: "it has ended"}
	case u.Restarts == 0 && in.Tries == 0:
		return ResetDecision{Reason: "it was not restarted"}
	}
	// The clock on the wall, by which systemd counts, may have been set.
	up := in.Now
	if !in.Seen.IsZero() {
		up = in.Seen
	}
	if !u.ActiveSince.IsZero() && u.ActiveSince.Before(up) {
		up = u.ActiveSince
	}
	if at := up.Add(stable); in.Now.Before(at) {
		return ResetDecision{Reason: "it has not been up for " + stable.String(), At: at}
	}
	return ResetDecision{Reset: true, Reason: fmt.Sprintf("it has been up for %s", stable)}
}

// ReturnInput is all that the decision about a unit depends on that could not
// start because of what it requires.
type ReturnInput struct {
	Service units.Service
	Unit    units.Unit
	Job     string // as in [RetryInput]
	// Overruled says that something was asked of the service since.
	Overruled bool
	Blocked   *Problem
	// Requires are the units that the unit requires.
	Requires []units.Unit
}

// ReturnDecision says whether the unit is to be started, and why. Waits says
// that it may be later, when what it requires has changed.
type ReturnDecision struct {
	Start, Waits bool
	Reason       string
}

// DecideReturn decides whether a unit is started that was down only because of
// what it requires, now that this has changed.
func DecideReturn(in ReturnInput) ReturnDecision {
	u := in.Unit
	over := func(reason string) ReturnDecision { return ReturnDecision{Reason: reason} }
	var down []string
	for _, r := range in.Requires {
		if r.Active != "active" && r.Active != "reloading" {
			down = append(down, fmt.Sprintf("%s is %s", r.Name, r.Active))
		}
	}
	slices.Sort(down)
	switch {
	case in.Job != JobDependency:
		return over("it is not down because of what it requires")
	case in.Overruled:
		return over("something else was asked of the service since")
	case u.JobID != 0:
		return ReturnDecision{Waits: true, Reason: "systemd has a job for it"}
	case u.Alive() && u.Sub != "auto-restart":
		return over("it is " + u.Active)
	case in.Service.Wanted != units.WantedStart:
		return over("its wanted status is " + string(in.Service.Wanted))
	case in.Service.StayDown:
		return over("its restart_with_requires is false")
	case in.Blocked != nil:
		return over(in.Blocked.Message)
	case len(down) > 0:
		return ReturnDecision{Waits: true, Reason: strings.Join(down, ", ")}
	default:
		var up []string
		for _, r := range in.Requires {
			up = append(up, r.Name)
		}
		slices.Sort(up)
		return ReturnDecision{Start: true, Reason: "it was down because of what it requires, and that is up again: " + strings.Join(up, ", ")}
	}
}
