package cli

import "github.com/urfave/cli/v2"

func (c *call) serviceCommand() *cli.Command {
	return &cli.Command{
		Name:  "service",
		Usage: "register, start, stop and look at services",
		Description: `A NAME is that of a service in context core, or of the context that --context
names, or CONTEXT/NAME. Flags may stand before or after it.

Example:
   hero_proc service set web --exec '/usr/bin/caddy run' --requires hero_db --now`,
		Subcommands: []*cli.Command{
			c.listCommand(),
			c.statusCommand(),
			c.showCommand(),
			c.setCommand(),
			c.removeCommand(),
			c.startCommand(),
			c.stopCommand(),
			c.restartCommand(),
			c.enableCommand(),
			c.disableCommand(),
			c.logsCommand(),
			c.whyCommand(),
			c.treeCommand(),
		},
	}
}
