package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// reorder puts flags before names, as urfave/cli needs them, so that people
// may write "service start hero_db --no-wait" and "service list --json". The
// order among flags and among names stays. What follows "--" is a name
// whatever it looks like. "help" in a command's place, and -h or --help
// anywhere, become the --help of the command that was named.
func reorder(app *cli.App, args []string) []string {
	p := parse(app, args)
	// The parsing ends at a stray: --json must be known by then.
	out := slices.Concat(p.globals, p.strays, p.path)
	// With a name that should have been a command, the error is more helpful.
	if p.help && !(len(p.commands) > 0 && len(p.names) > 0) {
		return append(out, "--help")
	}
	out = append(out, p.flags...)
	// Nothing may stand behind a flag without its value, or it would be that.
	if len(p.names) > 0 && p.pending == nil {
		out = append(append(out, "--"), p.names...)
	}
	return out
}

// parsed is a command line taken apart. Flags keep their values behind them.
type parsed struct {
	globals, path, flags, names []string
	strays                      []string // unknown flags before any command
	help                        bool
	command                     *cli.Command   // the innermost one named; nil for none
	commands                    []*cli.Command // those that may follow it
	pending                     cli.Flag       // the last flag, when its value is not there yet
}

func parse(app *cli.App, args []string) parsed {
	p := parsed{commands: app.Commands}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		p.pending = nil
		switch {
		case arg == "--":
			p.names = append(p.names, args...)
			return p
		case strings.HasPrefix(arg, "-") && arg != "-":
			args = p.takeFlag(app, arg, args)
		case arg == "help" && len(p.commands) > 0 && len(p.names) == 0:
			p.help = true
		default:
			p.takeWord(arg)
		}
	}
	return p
}

// takeFlag takes one flag and returns what is left of the arguments behind it.
func (p *parsed) takeFlag(app *cli.App, arg string, rest []string) []string {
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if name == "help" || name == "h" {
		p.help = true
		return rest
	}
	into, flag := &p.flags, (cli.Flag)(nil)
	if p.command != nil {
		flag = findFlag(p.command.Flags, name)
	}
	// A command's own flag wins: "service set --user" is not about hero_proc.
	if flag == nil {
		if flag = findFlag(app.Flags, name); flag != nil {
			into = &p.globals
		} else if p.command == nil {
			into = &p.strays
		}
	}
	*into = append(*into, arg)
	if flag == nil || hasValue || !takesValue(flag) {
		return rest
	}
	if len(rest) == 0 {
		p.pending = flag
		return nil
	}
	*into = append(*into, rest[0])
	return rest[1:]
}

// takeWord takes a word that is no flag: a command, or else a name.
func (p *parsed) takeWord(word string) {
	if len(p.names) == 0 {
		for _, cmd := range p.commands {
			if cmd.HasName(word) {
				p.path = append(p.path, word)
				p.command, p.commands = cmd, cmd.Subcommands
				return
			}
		}
	}
	p.names = append(p.names, word)
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

// serviceID is the service that an argument names: "name", of the context
// that --context says, or "context/name".
func serviceID(cc *cli.Context, arg string) (units.ID, error) {
	id, err := units.ParseRef(cc.String("context"), arg)
	if err != nil {
		return id, err
	}
	if cc.IsSet("context") && id.Context != cc.String("context") {
		return id, usagef(cc, "%q names context %s and --context says %s", arg, id.Context, cc.String("context"))
	}
	return id, nil
}

// oneID is the service that the command's single argument names.
func oneID(cc *cli.Context) (units.ID, error) {
	if cc.NArg() != 1 {
		return units.ID{}, usagef(cc, "want the name of one service, got %d", cc.NArg())
	}
	return serviceID(cc, cc.Args().First())
}

// someIDs are the services that the command's arguments name, at least one.
func someIDs(cc *cli.Context) ([]units.ID, error) {
	if cc.NArg() == 0 {
		return nil, usagef(cc, "want the name of at least one service")
	}
	var ids []units.ID
	for _, arg := range cc.Args().Slice() {
		id, err := serviceID(cc, arg)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func noArgs(cc *cli.Context) error {
	if cc.NArg() > 0 {
		return usagef(cc, "unexpected argument %q", cc.Args().First())
	}
	return nil
}

// short is a service as people type it: the context only when it is not the default.
func short(id units.ID) string {
	if id.Context == units.DefaultContext {
		return id.Name
	}
	return id.String()
}

func contextFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "context", Value: units.DefaultContext, Usage: usage}
}
