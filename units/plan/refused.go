package plan

import (
	"fmt"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Behind is the problem of a service that requires, itself or by way of others,
// one that systemd can't use: nil when there is none. systemd refuses to start
// it when it is asked to, but starts it all the same when something else wants
// it, as the boot does.
func (g *Graph) Behind(id units.ID, refused map[units.ID]Problem) *Problem {
	if len(refused) == 0 {
		return nil
	}
	queue, seen := []units.ID{id}, map[units.ID]bool{id: true}
	for i := 0; i < len(queue); i++ {
		for _, dep := range g.Requires(queue[i]) {
			if seen[dep] {
				continue
			}
			seen[dep] = true
			queue = append(queue, dep)
			p, bad := refused[dep]
			if !bad {
				continue
			}
			way := "requires"
			if i > 0 { // directly, or not
				way = fmt.Sprintf("needs %q, which requires", queue[i])
			}
			_, why, _ := strings.Cut(p.Message, ": ")
			return &Problem{
				Code:    units.EventDependencyFailed,
				Message: fmt.Sprintf("service %q can't start: it %s %q, which can't start: %s", id, way, dep, why),
				Remedy:  p.Remedy,
			}
		}
	}
	return nil
}
