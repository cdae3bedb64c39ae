package cli

import (
	"context"
	"strconv"

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

func (c *call) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "show what a service has printed",
		ArgsUsage: "NAME [-f] [-n LINES]",
		Description: `It is in the journal: this runs journalctl for the service's units.

Example:
   hero_proc service logs hero_db -n 50
   hero_proc service logs hero_db -f`,
		Flags: []cli.Flag{
			contextFlag("the service's `CONTEXT`"),
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on printing what comes"},
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Usage: "only the last `LINES`"},
		},
		Action: c.logs,
	}
}

// logs works without the daemon too: what was printed is systemd's to keep.
func (c *call) logs(cc *cli.Context) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	argv := []string{"journalctl", "-u", id.Unit(), "-u", id.ActionUnit("*")}
	if c.host != "" {
		return units.Errorf(units.CodeInvalidArgument, "--host does not reach the journal; ask over there").
			WithRemedy("hero_proc service logs " + short(id) + "    # on " + c.host)
	}
	if c.json {
		return usagef(cc, "--json prints one object, and logs are many; use: journalctl -o json -u %s", id.Unit())
	}
	if cc.Bool("follow") {
		argv = append(argv, "-f")
	}
	if n := cc.Int("lines"); cc.IsSet("lines") {
		if n < 0 {
			return usagef(cc, "-n is %d; want 0 or more", n)
		}
		argv = append(argv, "-n", strconv.Itoa(n))
	}
	return c.Exec(cc.Context, argv)
}
