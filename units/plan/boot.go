package plan

import (
	"fmt"
	"slices"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Treatment is what the boot does with a service's units.
type Treatment string

const (
	// Adopt leaves the units as they are: something of the service is alive.
	Adopt Treatment = "adopt"
	// Pin keeps loaded units that are not alive and have the right definition.
	// How they have failed, if they have, is kept with them.
	Pin Treatment = "pin"
	// Load makes the units, after taking away what is left of older ones.
	Load Treatment = "load"
)

// BootStep is what the boot does with one service, and why.
type BootStep struct {
	Service units.Service
	Treatment
	// Make are the units to be made: all of them to load a service, and of
	// one that is adopted those that are missing.
	Make []string
	// Start says that the primary unit is to be started.
	Start bool
	// Alone says that its unit is one, which needs no other, and that no other is in
	// its way.
	Alone bool
	// Reset are the units whose failure, and start limit, is in the way of that.
	Reset  []string
	Reason string
	// Problem is what has to be reported of the step, nil for nothing.
	Problem *Problem
}

// Boot plans the start of the supervisor: for each service that has units,
// in the order of dependencies, whether they are adopted or loaded, and
// whether they are started. A service with a problem is loaded all the same,
// so that systemctl knows it.
//
// loaded has every unit of hero_proc's that systemd has. may says of a service
// whether the boot may start it at all: nothing is started after a loss of the
// bus, nor what the operator has opted out of.
func Boot(g *Graph, loaded map[string]units.Unit, may func(units.ID) bool) []BootStep {
	steps := make([]BootStep, 0, len(g.Order()))
	up := make(map[units.ID]bool, len(g.Order())) // what runs, or is started
	for _, id := range g.Order() {
		up[id] = loaded[id.Unit()].Alive()
	}
	for _, id := range g.Order() {
		s, _ := g.Service(id)
		if s.Wanted == units.WantedSpec {
			continue
		}
		step := BootStep{Service: s}
		step.Treatment, step.Make, step.Reason = treat(s, g.Digest(id), loaded, may(id))
		primary := loaded[s.Unit()]
		_, broken := g.Problem(id)
		rival, conflicts := g.rival(id, up)
		switch {
		case !may(id):
			step.Reason += "; not started: that is not for this boot to do"
		case s.Wanted != units.WantedStart:
			step.Reason += "; not started: wanted status is " + string(s.Wanted)
		case broken:
			step.Reason += "; not started: it has a problem"
		case primary.Alive():
			step.Reason += "; it is " + primary.Active
		case primary.JobID != 0:
			step.Reason += "; not started: systemd has a job for it"
		case conflicts:
			step.Reason += "; not started: it conflicts with " + rival.String()
			step.Problem = &Problem{
				Code:    units.EventConflict,
				Message: fmt.Sprintf("service %q was not started: it conflicts with %q, which is wanted or running too", id, rival),
				Remedy:  fmt.Sprintf("hero_proc service disable %s\nhero_proc service disable %s", rival, id),
			}
		default:
			up[id] = true
			step.Start = true
			step.Alone = len(s.Actions) == 1 && len(s.Requires)+len(s.Wants)+len(s.After)+len(g.conflicts[id]) == 0
			step.Reason += "; started: wanted status is start"
			if step.Treatment == Pin {
				step.Reset = failedUnits(s, loaded)
			}
		}
		steps = append(steps, step)
	}
	return steps
}

// AtOnce says whether what the steps start may be started before it is known which
// units systemd can't use: all of it is made by them, and nothing of it needs another.
func AtOnce(steps []BootStep) bool {
	return !slices.ContainsFunc(steps, func(step BootStep) bool { return step.Start && (!step.Alone || len(step.Make) == 0) })
}

// treat decides for all units of a service at once: they were made together
// and have one definition. One that systemd can't use is made anew by a boot alone:
// systemd itself reads it again with each reload, and making it anew can be one.
func treat(s units.Service, digest string, loaded map[string]units.Unit, boot bool) (Treatment, []string, string) {
	var alive units.Unit
	var all, missing []string
	right := true // what is loaded has this definition
	for i := range s.Actions {
		name := s.UnitOf(i)
		u := loaded[name]
		all = append(all, name)
		switch {
		case !u.Loaded():
			missing = append(missing, name)
			continue
		case u.Digest != digest || u.Broken() && boot:
			right = false
		}
		if u.Alive() || u.Active == "deactivating" {
			alive = u
		}
	}
	switch {
	case alive.Name != "" && loaded[alive.Name].Digest != digest:
		// Old and new actions don't mix: it stays as it is until a restart.
		return Adopt, nil, alive.Name + " is " + alive.Active + ", with an older definition"
	case alive.Name != "":
		return Adopt, missing, alive.Name + " is " + alive.Active
	case right && len(missing) == 0:
		return Pin, nil, "loaded with the same definition"
	default:
		return Load, all, "not loaded with this definition"
	}
}

func failedUnits(s units.Service, loaded map[string]units.Unit) (failed []string) {
	for i := range s.Actions {
		if name := s.UnitOf(i); loaded[name].Active == "failed" {
			failed = append(failed, name)
		}
	}
	return failed
}
