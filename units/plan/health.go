package plan

import (
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Answer is what one asking of a probe came to.
type Answer int

const (
	Well    Answer = iota // as it is to be
	Unwell                // not so, or none in time
	Unasked               // it could not be asked
)

// Pulse is what the answers of a probe have come to. The zero value is that of
// one that was never asked.
type Pulse struct {
	State units.HealthState // "" is unknown
	Since time.Time         // of the state; zero while nothing is known
	// How often, in a row, it was not well, well, and not asked.
	Failures, Successes, Missed uint32
	// Says is the last answer that was not well.
	Says string
}

// Feel is the pulse after one more answer. settling says that the grace after
// the start is not over: then what is not well counts for nothing.
//
// The first good answer is enough to be healthy; after a bad spell it takes
// more. What can't be asked as often as would make it unhealthy is not known to
// be anything.
func Feel(p Pulse, c units.HealthCheck, answer Answer, says string, settling bool, now time.Time) Pulse {
	become := func(state units.HealthState) {
		if p.State != state {
			p.State, p.Since = state, now
		}
	}
	switch answer {
	case Well:
		p.Failures, p.Missed, p.Successes = 0, 0, p.Successes+1
		if p.State != units.HealthUnhealthy || p.Successes >= c.Successes {
			become(units.HealthHealthy)
			p.Says = ""
		}
	case Unwell:
		p.Successes, p.Missed, p.Says = 0, 0, says
		if settling {
			break
		}
		if p.Failures++; p.Failures >= c.Failures {
			become(units.HealthUnhealthy)
		}
	case Unasked:
		p.Successes, p.Missed = 0, p.Missed+1
		if p.Missed >= c.Failures {
			p.Failures, p.Says = 0, says
			p.State, p.Since = units.HealthUnknown, time.Time{}
		}
	}
	if p.State == "" {
		p.State = units.HealthUnknown
	}
	return p
}

// HealthAction is what is done about an action that is unhealthy.
type HealthAction string

const (
	HealthLeave   HealthAction = "leave"   // nothing, for now
	HealthWarn    HealthAction = "warn"    // it is reported
	HealthRestart HealthAction = "restart" // and restarted
	HealthGiveUp  HealthAction = "give-up" // it is reported as an error: the budget is spent
)

// UnhealthyInput is what [DecideUnhealthy] goes by.
type UnhealthyInput struct {
	State  units.HealthState
	On     units.OnUnhealthy
	Wanted units.Wanted
	// Stopped says that somebody has asked for something else meanwhile: what
	// they want goes first.
	Stopped bool
	// Busy says that its unit is not up, or that systemd has a job for it.
	Busy bool
	// Settling says that it got ready so lately that it is not judged yet.
	Settling bool
	// Restarts is how often it was restarted within Window, Budget how often
	// that may be.
	Restarts, Budget uint32
	Window           time.Duration
	// GaveUp says that the budget was spent before, on the same activation: it
	// is left to people, also when the time is over.
	GaveUp bool
}

// HealthDecision is what is done, and why.
type HealthDecision struct {
	Action HealthAction
	Reason string
}

// DecideUnhealthy says what is done about an action after an answer of its probe.
func DecideUnhealthy(in UnhealthyInput) HealthDecision {
	switch {
	case in.State != units.HealthUnhealthy:
		return HealthDecision{HealthLeave, "it is not unhealthy"}
	case in.Stopped:
		return HealthDecision{HealthLeave, "something else was asked of it meanwhile"}
	case in.Busy:
		return HealthDecision{HealthLeave, "it is starting or stopping"}
	case in.Settling:
		return HealthDecision{HealthLeave, "it got ready a short while ago"}
	case in.On == units.UnhealthyWarn:
		return HealthDecision{HealthWarn, "not restarted, since on_unhealthy is warn"}
	case in.Wanted != units.WantedStart:
		return HealthDecision{HealthWarn, fmt.Sprintf("not restarted, since its wanted status is %s", in.Wanted)}
	case in.GaveUp || in.Restarts >= in.Budget:
		return HealthDecision{HealthGiveUp, fmt.Sprintf("not restarted any more, since %s within %s did not help", countOf(int(in.Budget), "restart"), in.Window)}
	default:
		return HealthDecision{HealthRestart, fmt.Sprintf("is restarted, %d of at most %d times within %s", in.Restarts+1, in.Budget, in.Window)}
	}
}

// Reported is the event that says what was decided; nil when there is nothing
// to say.
func (d HealthDecision) Reported(id units.ID, unit string, h units.ActionHealth) *units.Event {
	e := units.Event{
		Source: units.SourceHealth, Service: id, Unit: unit,
		Remedy: fmt.Sprintf("hero_proc service status %s\njournalctl -u %s", id, unit),
	}
	switch d.Action {
	case HealthWarn:
		e.Code = units.EventUnhealthy
	case HealthRestart:
		e.Code = units.EventUnhealthyRestart
	case HealthGiveUp:
		e.Code = units.EventUnhealthySpent
		e.Remedy += "\nhero_proc service restart " + id.String()
	case HealthLeave:
		return nil
	}
	info, _ := e.Code.Info()
	e.Level = info.Level
	e.Message = fmt.Sprintf("action %q of service %q is unhealthy, and %s: %s", h.Action, id, d.Reason, failing(h))
	return &e
}

// Recovered is the event that says that what was reported as unhealthy is well.
func Recovered(id units.ID, unit string, h units.ActionHealth) *units.Event {
	return &units.Event{
		Source: units.SourceHealth, Code: units.EventHealthy, Level: units.LevelInfo, Service: id, Unit: unit,
		Message: fmt.Sprintf("action %q of service %q is healthy again: %s answers", h.Action, id, h.Probe),
	}
}

func failing(h units.ActionHealth) string { return h.Probe + " fails with: " + h.Says }

// WithHealth is the reading of a service whose probes say this. Only what runs
// is made worse by it: what doesn't has a reason of its own.
func WithHealth(r Reading, s units.Service, health []units.ActionHealth) Reading {
	if r.State != units.StateRunning {
		return r
	}
	for _, h := range health {
		if h.State != units.HealthUnhealthy {
			continue
		}
		reason := fmt.Sprintf("action %q is unhealthy since %s: %s", h.Action, h.Since.UTC().Format("2006-01-02 15:04:05 MST"), failing(h))
		if h.Note != "" {
			reason += "; " + h.Note
		}
		return Reading{units.StateDegraded, reason, fmt.Sprintf("hero_proc service restart %s\njournalctl -u %s", s.ID, unitOfAction(s, h.Action))}
	}
	return r
}

func unitOfAction(s units.Service, name string) string {
	for i, a := range s.Actions {
		if a.Name == name {
			return s.UnitOf(i)
		}
	}
	return s.Unit()
}
