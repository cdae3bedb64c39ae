package plan

import (
	"fmt"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// HeroDBAction is what is to be done about hero_db at boot.
type HeroDBAction string

const (
	HeroDBOptedOut       HeroDBAction = "opted-out"
	HeroDBNotRegistered  HeroDBAction = "not-registered"
	HeroDBNotStartIntent HeroDBAction = "not-start-intent"
	HeroDBAlreadyActive  HeroDBAction = "already-active"
	HeroDBNeedsStart     HeroDBAction = "needs-start"
)

// HeroDBInput is all that the decision about hero_db depends on.
type HeroDBInput struct {
	OptOut     bool // HERO_PROC_NO_AUTOSTART_DB=1
	ID         units.ID
	Registered bool
	Wanted     units.Wanted
	Unit       units.Unit // of its primary action, as it is now
	// Tried says that this boot has asked systemd to start it already.
	Tried bool
}

// HeroDBDecision is what is to be done, why, and what is to be reported.
type HeroDBDecision struct {
	Action HeroDBAction
	Reason string
	Event  *units.Event // nil when there is nothing to report
}

// DecideHeroDB decides what is to be done about hero_db. It never asks for a
// definition to be made: a hero_db that isn't registered is the operator's to
// register.
func DecideHeroDB(in HeroDBInput) HeroDBDecision {
	event := func(code units.EventCode, message, remedy string) *units.Event {
		return heroDBEvent(in.ID, code, units.Unit{}, message, remedy)
	}
	switch {
	case in.OptOut:
		return HeroDBDecision{Action: HeroDBOptedOut, Reason: "HERO_PROC_NO_AUTOSTART_DB=1 is set"}
	case !in.Registered:
		message := fmt.Sprintf("service %q is not registered, so it was not started; services that need it will fail", in.ID)
		remedy := fmt.Sprintf("hero_proc service set %s --context %s --status start --exec 'COMMAND' --ready redis://127.0.0.1:6379\nhero_proc service start %s --context %s",
			in.ID.Name, in.ID.Context, in.ID.Name, in.ID.Context)
		return HeroDBDecision{HeroDBNotRegistered, "no service of that name", event(units.EventNotRegistered, message, remedy)}
	case in.Wanted != units.WantedStart:
		message := fmt.Sprintf("service %q has wanted status %q, not \"start\", so it was left alone", in.ID, in.Wanted)
		remedy := fmt.Sprintf("hero_proc service enable --now %s", in.ID)
		return HeroDBDecision{HeroDBNotStartIntent, fmt.Sprintf("wanted status is %s", in.Wanted), event(units.EventNotStartIntent, message, remedy)}
	case in.Unit.Alive():
		return HeroDBDecision{Action: HeroDBAlreadyActive, Reason: fmt.Sprintf("its unit is %s (%s)", in.Unit.Active, in.Unit.Sub)}
	case in.Unit.Active == "deactivating":
		return HeroDBDecision{Action: HeroDBNeedsStart, Reason: "its unit is stopping"}
	case in.Unit.JobID != 0:
		return HeroDBDecision{Action: HeroDBAlreadyActive, Reason: fmt.Sprintf("its unit is %s and has job %d queued", in.Unit.Active, in.Unit.JobID)}
	case in.Tried:
		// How that start ended is judged; a second one would hide it.
		return HeroDBDecision{Action: HeroDBAlreadyActive, Reason: "this boot has started it, and its unit is " + in.Unit.Active}
	default:
		active := in.Unit.Active
		if active == "" {
			active = "not loaded"
		}
		return HeroDBDecision{Action: HeroDBNeedsStart, Reason: "its unit is " + active}
	}
}

// HeroDBVerdict is how it stands with a hero_db that is, or is being, started.
type HeroDBVerdict string

const (
	HeroDBUp     HeroDBVerdict = "up"
	HeroDBWait   HeroDBVerdict = "wait"
	HeroDBFailed HeroDBVerdict = "failed"
)

// HeroDBProgress is all that the verdict depends on.
type HeroDBProgress struct {
	ID   units.ID
	Unit units.Unit
	// JobResult is systemd's result of the start job; "" while there is none.
	JobResult string
	// Pending says that a start was asked for whose result is still to come.
	Pending bool
	// Proven says that "active" means ready: [units.Action.Proven]. Otherwise
	// active only means executed, and the unit has to stay so for Settle.
	Proven bool
	Settle time.Duration
	// Seen is when this activation was first seen to be active, by a clock
	// that nobody sets; zero before.
	Seen time.Time
	// Down are the units that it requires and that are not up.
	Down []units.Unit
	Said Said

	Now, Deadline time.Time
	Timeout       time.Duration // for the message
}

// HeroDBOutcome is the verdict. When it is [HeroDBWait], Recheck is when to
// judge again if nothing changes before.
type HeroDBOutcome struct {
	Verdict HeroDBVerdict
	Reason  string
	Event   *units.Event
	Recheck time.Time
}

// JudgeHeroDB says how the start of hero_db stands.
func JudgeHeroDB(p HeroDBProgress) HeroDBOutcome {
	u := p.Unit
	failed := func(code units.EventCode, reason string) HeroDBOutcome {
		message := fmt.Sprintf("service %q did not start: %s", p.ID, reason)
		return HeroDBOutcome{Verdict: HeroDBFailed, Reason: reason, Event: heroDBEvent(p.ID, code, u, message, heroDBRemedy(p.ID, p.Down))}
	}
	late := !p.Now.Before(p.Deadline)
	switch {
	case p.JobResult == "dependency":
		return failed(units.EventDependencyFailed, "systemd's result is dependency: "+describeDown(p.Down, p.Said))
	case u.Active == "failed" && (u.Result == "timeout" || p.JobResult == "timeout"):
		return failed(units.EventStartTimeout, fmt.Sprintf("%s is failed, systemd's result is %s", u.Name, p.Said.Outcome(u)))
	case u.Active == "failed":
		return failed(units.EventStartFailed, fmt.Sprintf("%s is failed, systemd's result is %s", u.Name, p.Said.Outcome(u)))
	case u.Active == "active" || u.Active == "reloading":
		// systemd's time stamp is by the clock on the wall, which may have
		// been set back meanwhile.
		settled := p.Seen.Add(p.Settle)
		if s := u.ActiveSince.Add(p.Settle); s.Before(settled) {
			settled = s
		}
		if p.Proven || !p.Now.Before(settled) || late {
			return HeroDBOutcome{Verdict: HeroDBUp, Reason: fmt.Sprintf("%s is %s (%s)", u.Name, u.Active, u.Sub)}
		}
		return HeroDBOutcome{Verdict: HeroDBWait, Reason: "executed; waiting to see that it stays up", Recheck: settled}
	case late:
		state := u.Active
		if u.Sub != "" {
			state += " (" + u.Sub + ")"
		}
		reason := fmt.Sprintf("%s is still %s after %s", u.Name, state, p.Timeout)
		if u.Sub == "auto-restart" {
			reason += ", its last result is " + p.Said.Outcome(u)
		} else {
			reason += p.Said.waiting(u)
		}
		return failed(units.EventStartTimeout, reason)
	case p.JobResult != "" && p.JobResult != "done" && !u.Alive():
		return failed(units.EventStartFailed, "systemd's result of the start job is "+p.JobResult)
	case u.Active == "inactive" && u.JobID == 0 && u.Loaded() && !p.Pending && len(p.Down) > 0:
		return failed(units.EventDependencyFailed, describeDown(p.Down, p.Said))
	case u.Active == "inactive" && u.JobID == 0 && u.Loaded() && !p.Pending:
		return failed(units.EventStartFailed, fmt.Sprintf("%s ended, or was stopped, while it was awaited; systemd's result is %s", u.Name, p.Said.Outcome(u)))
	default:
		return HeroDBOutcome{Verdict: HeroDBWait, Reason: fmt.Sprintf("%s is %s (%s)%s", u.Name, u.Active, u.Sub, p.Said.waiting(u)), Recheck: p.Deadline}
	}
}

// HeroDBRefused is the event for a start that systemd would not even queue.
func HeroDBRefused(id units.ID, err error) *units.Event {
	return heroDBEvent(id, units.EventStartFailed, units.Unit{Name: id.Unit()},
		fmt.Sprintf("service %q could not be started: %v", id, err), heroDBRemedy(id, nil))
}

// HeroDBBlocked is the event for a hero_db whose definition, or whose
// dependencies, can't work.
func HeroDBBlocked(id units.ID, p Problem) *units.Event {
	return heroDBEvent(id, p.Code, units.Unit{Name: id.Unit()}, p.Message, p.Remedy)
}

func heroDBEvent(id units.ID, code units.EventCode, u units.Unit, message, remedy string) *units.Event {
	info, _ := code.Info()
	return &units.Event{
		Source: units.SourceHeroDB, Code: code, Level: info.Level, Service: id,
		Message: message, Remedy: remedy, Unit: u.Name, Result: u.Result,
	}
}

func heroDBRemedy(id units.ID, down []units.Unit) string {
	var lines []string
	for _, d := range down {
		lines = append(lines, "journalctl -b -u "+d.Name)
	}
	return strings.Join(append(lines,
		"journalctl -b -u "+id.Unit(),
		"hero_proc service show "+id.String(),
		"hero_proc service start "+id.String()), "\n")
}

func describeDown(down []units.Unit, said Said) string {
	if len(down) == 0 {
		return "a unit that it requires failed"
	}
	parts := make([]string, len(down))
	for i, d := range down {
		switch {
		case !d.Loaded():
			parts[i] = fmt.Sprintf("it requires %s, which is not loaded", d.Name)
		case d.Active == "failed":
			parts[i] = fmt.Sprintf("it requires %s, which is failed: %s", d.Name, said.Outcome(d))
		default:
			parts[i] = fmt.Sprintf("it requires %s, which is %s", d.Name, d.Active)
		}
	}
	return strings.Join(parts, "; ")
}
