package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var states = []units.State{
	units.StateRunning, units.StateActivating, units.StateDegraded, units.StateFailed,
	units.StateExited, units.StateInactive, units.StateBlocked, units.StateUnknown,
}

func stateNames() []string {
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	return names
}

func (c *call) listCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the registered services",
		ArgsUsage: "[--context CONTEXT] [--state STATE]...",
		Description: `WANTED is what the operator wants at boot, STATE is what is now, and NOTE says
why where that is not plain.

Example:
   hero_proc service list
   hero_proc service list --state failed --state blocked`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "context", Usage: "only services of this `CONTEXT`"},
			&cli.StringSliceFlag{Name: "state", Usage: "only services in this `STATE`: " + strings.Join(stateNames(), ", ")},
		},
		Action: quick(c.list),
	}
}

func (c *call) list(ctx context.Context, cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	wanted := cc.StringSlice("state")
	for _, s := range wanted {
		if !slices.Contains(states, units.State(s)) {
			return usagef(cc, "--state is %q; want one of %s", s, strings.Join(stateNames(), ", "))
		}
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	all, err := api.Services(ctx)
	if err != nil {
		return err
	}
	services := slices.DeleteFunc(all, func(s units.Status) bool {
		return cc.IsSet("context") && s.Context != cc.String("context") ||
			len(wanted) > 0 && !slices.Contains(wanted, string(s.State))
	})
	slices.SortFunc(services, func(a, b units.Status) int {
		return cmp.Or(cmp.Compare(a.Context, b.Context), cmp.Compare(a.Name, b.Name))
	})
	views := make([]statusView, len(services))
	rows := make([][]cell, len(services))
	for i, s := range services {
		views[i] = viewStatus(s)
		rows[i] = []cell{
			{s.ID.String(), plain},
			{string(s.Wanted), plain},
			{string(s.State), stateColor(s.State)},
			{note(s), plain},
		}
	}
	c.result["services"] = views
	switch {
	case c.json:
	case len(rows) > 0:
		c.table([]string{"SERVICE", "WANTED", "STATE", "NOTE"}, rows)
	case cc.IsSet("context") || len(wanted) > 0:
		c.hint("No registered service is like that. To see all: hero_proc service list")
	default:
		c.hint("No service is registered. To register one: hero_proc service set NAME --exec 'COMMAND'")
	}
	return nil
}

// note is the one thing that is most worth saying about a service.
func note(s units.Status) string {
	switch {
	case s.Reason != "":
		return printable(s.Reason)
	case s.Stale:
		return stale(s)
	default:
		return printable(s.Description)
	}
}
