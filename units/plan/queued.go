package plan

import (
	"fmt"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// startQueued is the reason of a start that waits for nothing that is known.
const startQueued = "its start is queued"

// Queued says whether the service's start is queued in systemd, and what it
// waits for there: another action, or one of the units that it requires. A
// unit that is down and has a job is one that is to be started.
func Queued(s units.Service, actions, requires []units.Unit, said Said) (r Reading, queued bool) {
	if len(actions) == 0 {
		return r, false // a definition only
	}
	primary := actions[s.Primary()]
	if primary.JobID == 0 || primary.Active != "inactive" && primary.Active != "failed" {
		return r, false
	}
	r = Reading{State: units.StateActivating, Reason: startQueued}
	for i, a := range s.Actions {
		if i != s.Primary() && actions[i].Active == "activating" {
			r.Reason = fmt.Sprintf("waits for action %q%s", a.Name, said.waiting(actions[i]))
			return r, true
		}
	}
	// One that is under way says more than one that waits itself.
	for _, u := range requires {
		if ref, ok := units.ParseUnit(u.Name); ok && u.Active == "activating" {
			r.Reason = fmt.Sprintf("waits for %s%s", ref.ID, said.waiting(u))
			return r, true
		}
	}
	for _, u := range requires {
		if ref, ok := units.ParseUnit(u.Name); ok && u.JobID != 0 {
			r.Reason = fmt.Sprintf("waits for %s, whose start is queued too", ref.ID)
			return r, true
		}
	}
	return r, true
}
