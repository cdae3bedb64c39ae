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
		Description: `It deletes what every option given selects: what log query would show, but of a
--level no more severe ones. The journal keeps its own copy. A TIME is as for
log query: 30d, 12h, 2026-01-02; 0s is everything, as --all is.

Example:
   hero_proc log prune --older-than 30d
   hero_proc log prune --all --level info`,
		Flags: append(selectFlags(),
			&cli.StringFlag{Name: "level", Usage: "only of exactly this `LEVEL`: error, warning or info"},
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
	now := c.Now()
	if filter.Until, err = timeFlagAt(cc, "older-than", now); err != nil {
		return err
	}
	switch {
	case filter.Until.Equal(now):
		// Of age 0 is everything, also what has a time to come: clocks are set.
		filter.Until = time.Time{}
	case !filter.Until.IsZero():
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
