package cli

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) pruneCommand() *cli.Command {
	return &cli.Command{
		Name:      "prune",
		Usage:     "delete reports for good",
		ArgsUsage: "{--older-than TIME | --all} [OPTION]...",
		Description: `It deletes what log query would show. The journal keeps its own copy. A TIME is
as for log query: 30d, 12h, 2026-01-02.

Example:
   hero_proc log prune --older-than 30d
   hero_proc log prune --all --level info`,
		Flags: append(selectFlags(),
			&cli.StringFlag{Name: "older-than", Usage: "those from before this `TIME`"},
			&cli.BoolFlag{Name: "all", Usage: "those of every time"},
		),
		Action: quick(c.prune),
	}
}

func (c *call) prune(ctx context.Context, cc *cli.Context) error {
	filter, err := selected(cc)
	if err != nil {
		return err
	}
	if cc.IsSet("older-than") == cc.Bool("all") {
		return usagef(cc, "want either --older-than TIME or --all")
	}
	if filter.Until, err = c.timeFlag(cc, "older-than"); err != nil {
		return err
	}
	if !filter.Until.IsZero() {
		filter.Until = filter.Until.Add(-time.Microsecond) // "until" counts that moment in
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	pruned, err := api.PruneLogs(ctx, filter, filter == units.LogFilter{})
	if err != nil {
		return err
	}
	c.result["pruned"] = pruned
	c.say("deleted %d reports", pruned)
	return nil
}
