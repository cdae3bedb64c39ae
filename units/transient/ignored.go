package transient

import (
	"fmt"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// growsDelay is the first systemd whose restarts can come ever more slowly:
// systemd.service(5), RestartSteps=.
const growsDelay = 254

// Ignored says what of a definition this version of systemd can't do, and what
// happens instead, in one sentence each.
func Ignored(s units.Service, systemd int) []string {
	var ignored []string
	for _, a := range s.Actions {
		if a.DelayMax != 0 && systemd < growsDelay {
			ignored = append(ignored, fmt.Sprintf("restart_delay_max of action %q has no effect: systemd %d has no RestartMaxDelaySec=, which is there from %d on; each restart waits %s",
				a.Name, systemd, growsDelay, a.RestartDelay))
		}
	}
	return ignored
}
