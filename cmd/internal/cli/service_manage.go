package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) removeCommand() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "forget a service",
		ArgsUsage: "NAME [--stop]",
		Description: `Its definition goes; its history and its logs in the journal stay. One that
runs, or that another service requires, is not removed.

Example:
   hero_proc service remove web --stop`,
		Flags: []cli.Flag{
			contextFlag("the service's `CONTEXT`"),
			&cli.BoolFlag{Name: "stop", Usage: "stop it first, if it runs"},
		},
		Action: waiting(func(ctx context.Context, cc *cli.Context) error {
			id, err := oneID(cc)
			if err != nil {
				return err
			}
			api, err := c.connect(ctx)
			if err != nil {
				return err
			}
			if err := api.Remove(ctx, id, cc.Bool("stop")); err != nil {
				return err
			}
			c.result["removed"] = id.String()
			c.say("removed %s", id)
			return nil
		}),
	}
}

func (c *call) enableCommand() *cli.Command {
	return c.wantCommand("enable", units.WantedStart, starting, "want services to be started at boot",
		`It sets the wanted status to start.

Example:
   hero_proc service enable web
   hero_proc service enable web --now`)
}

func (c *call) disableCommand() *cli.Command {
	return c.wantCommand("disable", units.WantedStop, stopping, "want services not to be started at boot",
		`It sets the wanted status to stop. What runs runs on, unless --now is given.

Example:
   hero_proc service disable web --now`)
}

func (c *call) wantCommand(name string, wanted units.Wanted, v verb, usage, description string) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		ArgsUsage:   "NAME... [--now]",
		Description: description,
		Flags: []cli.Flag{
			contextFlag("the services' `CONTEXT`"),
			&cli.BoolFlag{Name: "now", Usage: v.name + " them as well"},
		},
		Action: waiting(func(ctx context.Context, cc *cli.Context) error {
			ids, err := someIDs(cc)
			if err != nil {
				return err
			}
			api, err := c.connect(ctx)
			if err != nil {
				return err
			}
			// All or none, as far as it can be: a slip in the last name changes nothing.
			for _, id := range ids {
				if _, err := api.Status(ctx, id); err != nil {
					return err
				}
			}
			names := make([]string, len(ids))
			for i, id := range ids {
				patch := map[string]any{"context": id.Context, "name": id.Name, "status": string(wanted)}
				if err := api.Set(ctx, patch, true); err != nil {
					return err
				}
				names[i] = id.String()
				c.say("%sd %s", name, id)
			}
			c.result[name+"d"] = names
			if !cc.Bool("now") {
				return nil
			}
			return c.control(ctx, api, ids, v, 0)
		}),
	}
}
