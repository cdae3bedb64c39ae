package cli

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"
)

func (c *call) metricsCommand() *cli.Command {
	return &cli.Command{
		Name:      "metrics",
		Usage:     "print what there is to measure, as OpenMetrics text",
		ArgsUsage: "",
		Description: `For the textfile collector of Prometheus's node exporter, by a timer:

Example:
   hero_proc metrics >/var/lib/prometheus/node-exporter/hero_proc.prom`,
		Action: quick(c.metrics),
	}
}

func (c *call) metrics(ctx context.Context, cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	text, err := api.Metrics(ctx)
	if err != nil {
		return err
	}
	c.result["metrics"] = text
	if !c.json {
		fmt.Fprint(c.Stdout, text)
	}
	return nil
}
