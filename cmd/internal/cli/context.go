package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) contextCommand() *cli.Command {
	return &cli.Command{
		Name:  "context",
		Usage: "look at the namespaces of services",
		Description: `A context is a namespace of services, and the slice of systemd's that they are
all in. There is one as soon as a service is registered in it.

Example:
   hero_proc context list`,
		Subcommands: []*cli.Command{c.contextListCommand()},
	}
}

func (c *call) contextListCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the contexts that have services",
		ArgsUsage: "",
		Description: `SLICE is the unit to limit a whole context by, as with
systemctl set-property hero-core.slice MemoryMax=4G.

Example:
   hero_proc context list`,
		Action: quick(c.contextList),
	}
}

func (c *call) contextList(ctx context.Context, cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	contexts, err := api.Contexts(ctx)
	if err != nil {
		return err
	}
	views := make([]contextView, len(contexts))
	rows := make([][]cell, len(contexts))
	for i, x := range contexts {
		views[i] = viewContext(x)
		rows[i] = []cell{{x.Name, plain}, {x.Slice, plain}, {counts(x.Services), plain}}
	}
	c.result["contexts"] = views
	switch {
	case c.json:
	case len(rows) > 0:
		c.table([]string{"CONTEXT", "SLICE", "SERVICES"}, rows)
	default:
		c.hint("No service is registered. To register one: hero_proc service set NAME --exec 'COMMAND'")
	}
	return nil
}

// counts is how many services are in each state that there is.
func counts(in map[units.State]int) string {
	var parts []string
	for _, s := range states {
		if n := in[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

type contextView struct {
	Name     string         `json:"name"`
	Slice    string         `json:"slice"`
	Services map[string]int `json:"services"`
}

func viewContext(x units.ContextStatus) contextView {
	v := contextView{Name: x.Name, Slice: x.Slice, Services: map[string]int{}}
	for s, n := range x.Services {
		v.Services[string(s)] = n
	}
	return v
}
