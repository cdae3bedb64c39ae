package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// completeCommand is what the completion scripts call: the words so far
// follow, the last one being the one to complete. It prints one candidate a
// line, with what it means after a tab. So the scripts know nothing of the
// commands, and the answer is never older than the program.
const completeCommand = "__complete"

// completeTimeout is how long somebody who pressed Tab is let wait for the
// names of services.
const completeTimeout = 2 * time.Second

var completionScripts = map[string]string{
	"bash": `# bash completion for hero_proc
_hero_proc() {
    local IFS=$'\n'
    COMPREPLY=($(hero_proc __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]%%$'\t'*}")
}
complete -o default -F _hero_proc hero_proc
`,
	"zsh": `#compdef hero_proc
_hero_proc() {
    local -a candidates
    candidates=("${(@f)$(hero_proc __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    candidates=("${(@)${(@)candidates//:/\\:}/$'\t'/:}")
    if (( ${#candidates[1]} )); then
        _describe hero_proc candidates
    else
        _files
    fi
}
if [[ $funcstack[1] == _hero_proc ]]; then
    _hero_proc "$@"
else
    compdef _hero_proc hero_proc
fi
`,
	"fish": `# fish completion for hero_proc
function __hero_proc_complete
    set -l words (commandline -opc)
    set -e words[1]
    hero_proc __complete $words (commandline -ct) 2>/dev/null
end
complete -c hero_proc -f -a '(__hero_proc_complete)'
complete -c hero_proc -n 'contains -- --file (commandline -opc)' -F
`,
}

var shells = []string{"bash", "zsh", "fish"}

func (c *call) completionCommand() *cli.Command {
	cmd := &cli.Command{
		Name:  "completion",
		Usage: "print the completion script for a shell",
		Description: `The packages install these scripts. To use one without them:

Example:
   source <(hero_proc completion bash)
   source <(hero_proc completion zsh)
   hero_proc completion fish | source`,
	}
	for _, shell := range shells {
		cmd.Subcommands = append(cmd.Subcommands, &cli.Command{
			Name:  shell,
			Usage: "print the completion script for " + shell,
			Description: `Example:
   hero_proc completion ` + shell,
			Action: func(cc *cli.Context) error {
				if err := noArgs(cc); err != nil {
					return err
				}
				c.result["script"] = completionScripts[shell]
				if !c.json {
					fmt.Fprint(c.Stdout, completionScripts[shell])
				}
				return nil
			},
		})
	}
	return cmd
}

// complete prints what the last of words can become. It never fails: a Tab
// that finds nothing says nothing.
func (c *call) complete(ctx context.Context, app *cli.App, words []string) {
	if len(words) == 0 {
		return
	}
	last := words[len(words)-1]
	for _, candidate := range c.candidates(ctx, app, parse(app, words[:len(words)-1]), last) {
		if strings.HasPrefix(candidate, last) {
			fmt.Fprintln(c.Stdout, candidate)
		}
	}
}

func (c *call) candidates(ctx context.Context, app *cli.App, p parsed, last string) []string {
	for _, arg := range p.globals {
		if name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "="); name == "host" || name == "H" {
			c.host = arg
		}
	}
	switch {
	case p.pending != nil:
		return c.flagValues(ctx, p.pending.Names()[0])
	case strings.HasPrefix(last, "-"):
		flags := app.Flags
		if p.command != nil {
			flags = slices.Concat(p.command.Flags, app.Flags[:2]) // --json and --host hold for all
		}
		var out []string
		for _, f := range flags {
			if d, ok := f.(cli.DocGenerationFlag); ok {
				out = append(out, dashed(f.Names()[0])+"\t"+strings.ReplaceAll(d.GetUsage(), "`", ""))
			}
		}
		return out
	case len(p.commands) > 0:
		var out []string
		for _, cmd := range p.commands {
			if !cmd.Hidden {
				out = append(out, cmd.Name+"\t"+cmd.Usage)
			}
		}
		return out
	case p.command != nil && strings.HasPrefix(strings.TrimPrefix(p.command.ArgsUsage, "["), "NAME"):
		if strings.HasPrefix(p.command.ArgsUsage, "NAME...") || len(p.names) == 0 {
			return c.serviceNames(ctx)
		}
	case p.command != nil && p.command.Name == "run" && len(p.names) == 0 && strings.HasPrefix(last, "@"):
		var out []string
		for _, name := range c.serviceNames(ctx) {
			out = append(out, "@"+name)
		}
		return out
	}
	return nil
}

// flagValues are the words that the value of a flag can be, where they are few.
func (c *call) flagValues(ctx context.Context, flag string) []string {
	switch flag {
	case "level":
		return wordsOf(units.Levels)
	case "state":
		return stateNames()
	case "phase":
		return wordsOf(units.Phases)
	case "origin":
		return wordsOf(units.Origins)
	case "status":
		return []string{string(units.WantedStart), string(units.WantedStop), string(units.WantedIgnore), string(units.WantedSpec)}
	case "ready":
		return []string{string(units.ReadyExec), string(units.ReadyNotify), "redis://"}
	case "preset":
		return presetNames()
	case "property":
		return runProperties()
	case "restart":
		return []string{string(units.RestartNo), string(units.RestartOnFailure), string(units.RestartAlways)}
	case "requires", "after", "wants", "conflicts", "service":
		return c.serviceNames(ctx)
	default:
		return nil
	}
}

// serviceNames are the registered services, when the daemon says so in time.
// Those of another machine are not asked for: ssh could want a password.
func (c *call) serviceNames(ctx context.Context) []string {
	if c.host != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	api, err := c.Dial(ctx)
	if err != nil {
		return nil
	}
	defer api.Close()
	services, err := api.Services(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range services {
		names = append(names, short(s.ID)+"\t"+string(s.State))
	}
	slices.Sort(names)
	return names
}
