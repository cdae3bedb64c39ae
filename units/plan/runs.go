package plan

import (
	"fmt"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// RunTreatment is what the boot does with an ad-hoc run.
type RunTreatment string

const (
	// FollowRun leaves it as it is: it is going.
	FollowRun RunTreatment = "follow"
	// CloseRun takes it for over.
	CloseRun RunTreatment = "close"
	// QueueRun starts it again.
	QueueRun RunTreatment = "queue-again"
	// DropRun takes it for over too, and has to be reported: it should have
	// been started again, and can't be.
	DropRun RunTreatment = "drop"
)

// DecideRun says what becomes of an ad-hoc run that was not known to be over
// when the supervisor, or the machine, went down: a process that died with the
// machine is queued again, and so is one that was about to be; nothing else is. boot is the machine's
// boot, "" if it is not known; u is the run's unit, and last its newest job, with
// what the journal has told of its end.
func DecideRun(r units.OpenRun, boot string, u units.Unit, last units.Job) (RunTreatment, string) {
	switch {
	case u.Alive(), u.Active == "deactivating", u.JobID != 0:
		return FollowRun, fmt.Sprintf("%s is %s", u.Name, u.Active)
	case r.Canceled:
		return CloseRun, "it was canceled"
	case boot == "" || r.Boot == "":
		return CloseRun, "it is not known whether the machine was restarted"
	case r.Boot == boot && !neverAgain(last):
		return CloseRun, "it ended while the machine was up"
	case overFor(r.What.Action, last):
		return CloseRun, fmt.Sprintf("it had %s before the machine was restarted", last.Phase)
	case r.Err != nil:
		return DropRun, r.Err.Error()
	case !r.What.Action.Process:
		return CloseRun, "the machine was restarted, and it is no process"
	case r.Boot == boot:
		return QueueRun, "it is a process that died with the machine, and was to be started again when hero_proc went down"
	default:
		return QueueRun, "it is a process, and died with the machine"
	}
}

// overFor says that the job was a run's last one: it had ended by itself, and
// systemd was not to start it again. What the machine's end stops is canceled,
// and what it cuts off is lost.
func overFor(a units.Action, last units.Job) bool {
	switch last.Phase {
	case units.PhaseSucceeded:
		return a.RestartPolicy() != units.RestartAlways
	case units.PhaseFailed:
		return a.RestartPolicy() == units.RestartNo
	}
	return false
}

// neverAgain says that the job was to start a run again in this boot of the
// machine, and came to no activation: hero_proc went down between writing that
// down and asking systemd for it. That it is lost is what the journal and
// systemd were asked about before.
func neverAgain(last units.Job) bool {
	return last.Attempt > 1 && last.Phase == units.PhaseLost && last.InvocationID == ""
}
