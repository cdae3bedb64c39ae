package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// schemaVersion is that of everything that --json prints. It changes when a
// field goes or changes its meaning; a new field does not change it.
const schemaVersion = 1

// finish prints what is left to print and decides the exit status.
//
// Errors are for people and go to Stderr. With --json the one object on
// Stdout has them too, so a script needs to read nothing else.
func (c *call) finish(err error) int {
	exit := c.exit
	if err != nil {
		e := explain(err)
		exit = e.Code.Info().Exit
		c.result["error"] = errorView{string(e.Code), e.Message, e.Remedy}
		c.printError(e)
	}
	if c.json && len(c.result) > 0 {
		c.result["schema_version"] = schemaVersion
		enc := json.NewEncoder(c.Stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(c.result); err != nil {
			fmt.Fprintf(c.Stderr, "hero_proc: cannot write the answer: %v\n", err)
			return units.ExitFailed
		}
	}
	return exit
}

// printError says what is wrong, and below it the commands that mend it.
func (c *call) printError(e *units.Error) {
	fmt.Fprintf(c.Stderr, "hero_proc: %s\n", printable(e.Message))
	if e.Remedy == "" {
		return
	}
	fmt.Fprintln(c.Stderr, "Try:")
	for line := range strings.Lines(e.Remedy) {
		fmt.Fprintf(c.Stderr, "  %s\n", printable(strings.TrimRight(line, "\n")))
	}
}

type errorView struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// explain makes an error of the table from any error, and adds what to do
// where the daemon, which can't know how it was called, said nothing.
func explain(err error) *units.Error {
	var e *units.Error
	switch {
	case errors.As(err, &e):
		// Keep what was said around the error of the table.
		e = &units.Error{Code: e.Code, Message: err.Error(), Remedy: e.Remedy}
	case errors.Is(err, context.DeadlineExceeded):
		e = units.Errorf(units.CodeTimeout, "hero_proc did not answer in time")
	case errors.Is(err, context.Canceled):
		e = units.Errorf(units.CodeCanceled, "interrupted")
	default:
		e = units.Errorf(units.CodeInternal, "%w", err)
	}
	if e.Remedy != "" {
		return e
	}
	switch e.Code {
	case units.CodeNotRunning:
		e.Remedy = "sudo systemctl start hero_proc\njournalctl -u hero_proc"
	case units.CodeAccessDenied:
		// Not the arguments: they may hold an environment.
		e.Remedy = "sudo hero_proc …"
	case units.CodeInternal, units.CodeTimeout:
		e.Remedy = "journalctl -u hero_proc"
	}
	return e
}

// usagef is an error in how a command was called.
func usagef(cc *cli.Context, format string, args ...any) error {
	return units.Errorf(units.CodeInvalidArgument, format, args...).WithRemedy(cc.Command.HelpName + " --help")
}

// usageError turns what the flag parser says into an error of the table.
func usageError(cc *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return usagef(cc, "%s needs a value", dashed(strings.TrimPrefix(name, "-")))
	}
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		return usagef(cc, "%s is %s; want %s", dashed(m[2]), m[1], wanted(findFlag(cc.Command.Flags, m[2])))
	}
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return usagef(cc, "%w", err)
	}
	name = strings.TrimPrefix(name, "-")
	return usagef(cc, "unknown flag %s%s", dashed(name), meant(name, cli.SuggestFlag(cc.Command.Flags, name, true)))
}

// badValue is what package flag says of a value: it, and the flag.
var badValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value (".*") for (?:flag )?-+(\S+): `)

// wanted is what the values of a flag look like.
func wanted(f cli.Flag) string {
	switch f.(type) {
	case *cli.DurationFlag:
		return "a time such as 30s, 1.5s or 2m"
	case *cli.IntFlag, *cli.Int64Flag:
		return "a whole number"
	case *cli.BoolFlag:
		return "true, false, or no value at all"
	default:
		return "something else"
	}
}

// meant is the suggestion, when it is near enough to be one.
func meant(given, suggestion string) string {
	word := strings.TrimLeft(suggestion, "-")
	if given == "" || word == "" || given[0] != word[0] {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", suggestion)
}

// group is the action of a command that only has subcommands.
func group(cc *cli.Context) error {
	if cc.NArg() == 0 {
		if cc.Command.HelpName == cc.App.HelpName {
			return cli.ShowAppHelp(cc)
		}
		return cli.ShowSubcommandHelp(cc)
	}
	name := cc.Args().First()
	commands := visible(cc.Command.Subcommands)
	names := make([]string, len(commands))
	for i, cmd := range commands {
		names[i] = cmd.Name
	}
	// It answers with a sentence, in which the name is quoted.
	suggestion := strings.Split(cli.SuggestCommand(commands, name)+`""`, `"`)[1]
	hint := meant(name, suggestion)
	if hint == "" || !slices.Contains(names, suggestion) {
		hint = "; want one of " + strings.Join(names, ", ")
	}
	return usagef(cc, "unknown command %q%s", name, hint)
}

// dashed is a flag as people write it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
