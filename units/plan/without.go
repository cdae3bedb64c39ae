package plan

import (
	"fmt"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Without is the command that takes the dependencies on some services out of a
// definition, and leaves it all others: a list is set as a whole.
func (g *Graph) Without(id units.ID, out func(units.ID) bool) string {
	s := g.services[id]
	command := fmt.Sprintf("hero_proc service set %s", id)
	for _, list := range []struct {
		flag  string
		names []string
	}{{"requires", s.Requires}, {"after", s.After}, {"wants", s.Wants}} {
		left := slices.DeleteFunc(slices.Clone(list.names), func(name string) bool {
			dep, err := units.ParseRef(id.Context, name)
			return err == nil && out(dep)
		})
		flag := " --" + list.flag + " "
		switch {
		case len(left) == len(list.names):
		case len(left) == 0:
			command += flag + "''"
		default:
			command += flag + strings.Join(left, flag)
		}
	}
	return command
}
