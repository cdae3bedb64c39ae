package plan

import "forge.ourworld.tf/lhumina_code/hero_proc/units"

// Awaiting is the reading of a service that reads as down, and that is started
// as soon as what it requires is up: it is not there, so it blocks the service,
// however far down the chain the cause is. requires are the units that it
// requires directly; awaits says that hero_proc starts it with them.
func Awaiting(r Reading, s units.Service, requires []units.Unit, awaits bool, said Said) Reading {
	if !awaits || r.State != units.StateInactive || r.Reason != "" || s.Wanted != units.WantedStart {
		return r
	}
	var down []units.Unit
	for _, u := range requires {
		if !u.Alive() {
			down = append(down, u)
		}
	}
	if len(down) == 0 {
		return r // its turn comes
	}
	return Reading{units.StateBlocked, describeDown(down, said), "hero_proc service why " + s.ID.String()}
}
