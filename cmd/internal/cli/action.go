package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) actionCommand() *cli.Command {
	return &cli.Command{
		Name:  "action",
		Usage: "look at the actions of a service",
		Description: `An action is one thing that a service executes: a process that has to stay alive,
or a one-shot that runs to its end. Each has a unit of its own, which systemctl
starts, stops and restarts alone.

Example:
   hero_proc action list web
   systemctl restart hero-core-web@worker.service`,
		Subcommands: []*cli.Command{c.actionListCommand(), c.actionShowCommand()},
	}
}

func (c *call) actionListCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the actions of a service, with their units",
		ArgsUsage: "NAME",
		Description: `STATE is that of the unit, in systemd's words. AFTER are the actions that come
first.

Example:
   hero_proc action list web`,
		Flags:  []cli.Flag{contextFlag("the service's `CONTEXT`")},
		Action: quick(c.actionList),
	}
}

func (c *call) actionList(ctx context.Context, cc *cli.Context) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	actions, err := c.actions(ctx, id)
	if err != nil {
		return err
	}
	views := []any{}
	var rows [][]cell
	for _, a := range actions {
		views = append(views, a.view())
		rows = append(rows, []cell{
			{a.name, plain}, {a.kind(), plain}, {unitState(a.unit), unitColor(a.unit)}, {strings.Join(a.after(), ", "), plain}, {a.unit.Name, plain},
		})
	}
	c.result["actions"] = views
	switch {
	case c.json:
	case len(rows) > 0:
		c.table([]string{"ACTION", "KIND", "STATE", "AFTER", "UNIT"}, rows)
	default:
		c.hint("%s has no actions.", id)
	}
	return nil
}

func (c *call) actionShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show one action of a service",
		ArgsUsage: "NAME ACTION",
		Description: `It shows the unit and the definition. Environments and credentials are shown to
root only.

Example:
   hero_proc action show web migrate`,
		Flags:  []cli.Flag{contextFlag("the service's `CONTEXT`")},
		Action: quick(c.actionShow),
	}
}

func (c *call) actionShow(ctx context.Context, cc *cli.Context) error {
	if cc.NArg() != 2 {
		return usagef(cc, "want the name of a service and that of one of its actions, got %d names", cc.NArg())
	}
	id, err := serviceID(cc, cc.Args().First())
	if err != nil {
		return err
	}
	actions, err := c.actions(ctx, id)
	if err != nil {
		return err
	}
	name := cc.Args().Get(1)
	i := slices.IndexFunc(actions, func(a action) bool { return a.name == name })
	if i < 0 {
		names := make([]string, len(actions))
		for i, a := range actions {
			names[i] = a.name
		}
		return units.Errorf(units.CodeInvalidArgument, "%q has no action %q; it has %s", id.String(), name, strings.Join(names, ", ")).
			WithRemedy("hero_proc action list " + short(id))
	}
	a := actions[i]
	c.result["action"] = a.view()
	if c.json {
		return nil
	}
	fmt.Fprintf(c.Stdout, "%s %s\n", c.paint(bold, id.String()), c.paint(bold, a.name))
	c.prose("Unit", unitLine(a.unit))
	if a.unit.MainPID != 0 {
		c.field("Main PID", fmt.Sprint(a.unit.MainPID))
	}
	if a.unit.InvocationID != "" {
		c.field("Invocation", a.unit.InvocationID)
	}
	c.field("Logs", fmt.Sprintf("hero_proc service logs %s --action %s", short(id), a.name))
	c.showKeys("  ", actionKeys, a.definition, "name")
	return nil
}

// action is an action's definition and its unit.
type action struct {
	name       string
	definition map[string]any
	unit       units.Unit
}

// actions are those of a service, in their order.
func (c *call) actions(ctx context.Context, id units.ID) ([]action, error) {
	api, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	def, err := api.Definition(ctx, id)
	if err != nil {
		return nil, err
	}
	status, err := api.Status(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []action
	for _, d := range actionsOf(def) {
		a := action{name: fmt.Sprint(d["name"]), definition: d}
		for _, s := range status.Actions {
			if s.Name == a.name {
				a.unit = s.Unit
			}
		}
		all = append(all, a)
	}
	return all, nil
}

func (a action) kind() string {
	if process, said := a.definition["is_process"].(bool); said && !process {
		return "one-shot"
	}
	return "process"
}

func (a action) after() (names []string) {
	list, _ := a.definition["depends_on"].([]any)
	for _, name := range list {
		names = append(names, fmt.Sprint(name))
	}
	return names
}

func (a action) view() any {
	return struct {
		Name       string         `json:"name"`
		Kind       string         `json:"kind"`
		Unit       unitView       `json:"unit"`
		Definition map[string]any `json:"definition"`
	}{a.name, a.kind(), viewUnit(a.unit), a.definition}
}

// unitState is a unit's state in systemctl's words.
func unitState(u units.Unit) string {
	switch {
	case !u.Loaded():
		return "not loaded"
	case u.Sub == "":
		return u.Active
	default:
		return fmt.Sprintf("%s (%s)", u.Active, u.Sub)
	}
}

func unitColor(u units.Unit) color {
	switch u.Active {
	case "active", "reloading":
		return green
	case "failed":
		return red
	case "activating", "deactivating":
		return yellow
	default:
		return plain
	}
}
