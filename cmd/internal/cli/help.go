package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// helpWidth is how wide the help is where no terminal says how wide it is.
const helpWidth = 80

// appHelp is the help of the program. Help says what a command is, how to
// call it, an example, and the options. urfave/cli's own has neither room for
// an example nor respect for the width of a terminal; given the whole text, it
// only prints it.
func (c *call) appHelp(app *cli.App) string {
	var b strings.Builder
	fill(&b, app.Name+" - ", app.Usage, "", c.helpWidth())
	fmt.Fprintf(&b, "\nUsage: %s [--json] [-H HOST] COMMAND\n\n", app.Name)
	fill(&b, "", app.Description, "", c.helpWidth())
	b.WriteString("\nCommands:\n")
	for _, cmd := range visible(app.Commands) {
		c.entry(&b, "  "+cmd.Name, cmd.Usage)
		for _, sub := range visible(cmd.Subcommands) {
			c.entry(&b, "    "+sub.Name, sub.Usage)
		}
	}
	b.WriteString("\nOptions:\n")
	c.options(&b, app.Flags)
	b.WriteString("\n")
	fill(&b, "", fmt.Sprintf("Exit status: %d done, %d failed, %d wrong usage, %d not active (service status), %d no such service.",
		units.ExitDone, units.ExitFailed, units.ExitUsage, units.ExitNotActive, units.ExitNoSuchService), "", c.helpWidth())
	b.WriteString("\nExample:\n   hero_proc service set web --exec '/usr/bin/caddy run' --requires hero_db --now\n   hero_proc service list\n")
	return b.String()
}

// commandHelp is the help of a command or a group of them, named by its path.
func (c *call) commandHelp(app *cli.App, cmd *cli.Command, path string) string {
	var b strings.Builder
	fill(&b, path+" - ", cmd.Usage, "", c.helpWidth())
	b.WriteString("\n")
	if len(cmd.Subcommands) > 0 {
		fmt.Fprintf(&b, "Usage: %s COMMAND\n\nCommands:\n", path)
		for _, sub := range visible(cmd.Subcommands) {
			c.entry(&b, "  "+sub.Name, sub.Usage)
		}
		fmt.Fprintf(&b, "\n%s\n", cmd.Description)
		return b.String()
	}
	fmt.Fprintf(&b, "Usage: %s\n\n%s\n\nOptions:\n", strings.TrimSpace(path+" "+cmd.ArgsUsage), cmd.Description)
	c.options(&b, cmd.Flags)
	c.options(&b, app.Flags[:2])
	return b.String()
}

func visible(commands []*cli.Command) []*cli.Command {
	var out []*cli.Command
	for _, cmd := range commands {
		if !cmd.Hidden {
			out = append(out, cmd)
		}
	}
	return out
}

func (c *call) options(b *strings.Builder, flags []cli.Flag) {
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		var names []string
		for _, n := range f.Names() {
			names = append(names, dashed(n))
		}
		left := "  " + strings.Join(names, ", ")
		value, usage := metavar(d.GetUsage())
		if d.TakesValue() {
			left += " " + value
		}
		c.entry(b, left, usage)
	}
}

// metavar takes the word in backquotes, which stands for the value, out
// of a flag's usage.
func metavar(usage string) (value, text string) {
	before, rest, _ := strings.Cut(usage, "`")
	value, after, _ := strings.Cut(rest, "`")
	return value, before + value + after
}

// entryColumn is where the explanations begin.
const entryColumn = 31

// entry is a word and its explanation.
func (c *call) entry(b *strings.Builder, word, explanation string) {
	fill(b, fmt.Sprintf("%-*s ", entryColumn-1, word), explanation, strings.Repeat(" ", entryColumn), c.helpWidth())
}

func (c *call) helpWidth() int {
	if c.Width > 0 {
		return c.Width
	}
	return helpWidth
}
