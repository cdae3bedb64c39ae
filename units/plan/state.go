package plan

import (
	"fmt"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Reading is what a service reads as, and why where that is not plain.
type Reading struct {
	State  units.State
	Reason string
	Remedy string
}

// Said is what units, by their names, have said last of themselves, where
// that may explain something: sd_notify(3), STATUS=.
type Said map[string]string

// MayExplain says that what the unit says of itself may explain its state.
func MayExplain(u units.Unit) bool { return u.Active == "activating" || u.Active == "failed" }

// waiting is what a unit on its way up waits for, with a comma before it.
func (s Said) waiting(u units.Unit) string {
	if text := s[u.Name]; text != "" {
		return ", " + text
	}
	return ""
}

// Outcome is the unit's, with what its prober says of it.
func (s Said) Outcome(u units.Unit) string {
	if text := s[u.Name]; strings.HasPrefix(text, units.NotReady) || strings.HasPrefix(text, units.NotStarted) {
		return u.Outcome() + ", " + text
	}
	return u.Outcome() // what a program says while it is well explains no failure
}

// Read says what a service reads as from its units as systemd has them, one
// for each action in their order. down are the units that it requires and
// that have failed; problem is why it can't be started, if that is known.
func Read(s units.Service, actions []units.Unit, down []units.Unit, problem *Problem, said Said) Reading {
	if s.Wanted == units.WantedSpec && !anyAlive(actions) {
		return Reading{State: units.StateInactive, Reason: "a definition only (wanted status spec); it has no unit"}
	}
	primary := actions[s.Primary()]
	logs := "journalctl -u " + primary.Name
	switch {
	case primary.Active == "active" || primary.Active == "reloading":
		if reason := firstDown(s, actions, said); reason != "" {
			return Reading{units.StateDegraded, reason, "hero_proc service restart " + s.ID.String()}
		}
		if primary.Sub == "exited" {
			return Reading{State: units.StateExited}
		}
		return Reading{State: units.StateRunning}
	case primary.Active == "activating" && primary.Sub == "auto-restart":
		return Reading{units.StateActivating, "waits to be restarted; its last result is " + said.Outcome(primary), logs}
	case primary.Active == "activating":
		return Reading{State: units.StateActivating, Reason: "not ready yet (" + primary.Sub + ")" + said.waiting(primary)}
	case primary.Active == "deactivating":
		return Reading{State: units.StateInactive, Reason: "is stopping (" + primary.Sub + ")"}
	case primary.Broken():
		p := Unusable(s.ID, primary)
		return Reading{units.StateBlocked, p.Message, p.Remedy}
	case problem != nil:
		return Reading{units.StateBlocked, problem.Message, problem.Remedy}
	case primary.Active == "failed":
		return Reading{units.StateFailed, "systemd's result is " + said.Outcome(primary), logs}
	case keptBack(s, actions) >= 0:
		i := keptBack(s, actions)
		return Reading{units.StateFailed, fmt.Sprintf("action %q is failed: %s", s.Actions[i].Name, said.Outcome(actions[i])), "journalctl -u " + actions[i].Name}
	case !primary.Loaded():
		return Reading{units.StateInactive, "systemd has not loaded " + primary.Name, "systemctl restart hero_proc"}
	case s.Wanted == units.WantedStart && len(down) > 0:
		return Reading{units.StateBlocked, describeDown(down, said), "journalctl -u " + down[0].Name}
	default:
		return Reading{State: units.StateInactive}
	}
}

// Unusable is the problem of a service with a unit that systemd has and can't use.
func Unusable(id units.ID, u units.Unit) Problem {
	p := Problem{
		Code:    units.EventDefinitionRefused,
		Message: fmt.Sprintf("service %q can't start: systemd can't use %s, whose load state is %s", id, u.Name, u.Load),
		Remedy:  "systemctl status " + u.Name + "\nsystemctl cat " + u.Name,
	}
	if u.Load == "masked" {
		p.Message = fmt.Sprintf("service %q can't start: an administrator has masked %s", id, u.Name)
		p.Remedy = "systemctl unmask " + u.Name + "\nsystemctl restart hero_proc"
	}
	return p
}

// keptBack is the action that has failed and that the primary one, which is
// down, depends on, so that it was not started; -1 is none.
func keptBack(s units.Service, actions []units.Unit) int {
	needed := map[string]bool{}
	need := []string{s.Actions[s.Primary()].Name}
	for len(need) > 0 {
		name := need[0]
		need = need[1:]
		i := slices.IndexFunc(s.Actions, func(a units.Action) bool { return a.Name == name })
		if i < 0 || needed[name] {
			continue
		}
		if i != s.Primary() && actions[i].Active == "failed" {
			return i
		}
		needed[name] = true
		need = append(need, s.Actions[i].DependsOn...)
	}
	return -1
}

func anyAlive(us []units.Unit) bool {
	for _, u := range us {
		if u.Alive() {
			return true
		}
	}
	return false
}

// firstDown names the first further action that is down while the primary one
// is up. A one-shot is up once it has finished.
func firstDown(s units.Service, actions []units.Unit, said Said) string {
	for i, a := range s.Actions {
		u := actions[i]
		if i == s.Primary() || u.Active == "active" || u.Active == "reloading" {
			continue
		}
		state := u.Active
		if !u.Loaded() {
			state = "not loaded"
		} else if u.Active == "failed" {
			state = "failed: " + said.Outcome(u)
		} else if u.Active == "activating" {
			state = "not ready yet" + said.waiting(u)
		}
		return fmt.Sprintf("action %q is %s", a.Name, state)
	}
	return ""
}
