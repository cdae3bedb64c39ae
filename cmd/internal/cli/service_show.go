package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) showCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show the definition of a service",
		ArgsUsage: "NAME",
		Description: `With --json it is what "service set --file" takes. Environments and credentials
are shown to root only.

Example:
   hero_proc service show hero_db
   sudo hero_proc service show hero_db --json > hero_db.json`,
		Flags:  []cli.Flag{contextFlag("the service's `CONTEXT`")},
		Action: quick(c.show),
	}
}

// envWithheld is the key that a definition has in place of its environments
// and credentials, for a caller who may not see them.
const envWithheld = "env_withheld"

func (c *call) show(ctx context.Context, cc *cli.Context) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	def, err := api.Definition(ctx, id)
	if err != nil {
		return err
	}
	c.result["definition"] = def
	if c.json {
		return nil
	}
	c.printDefinition(id, def)
	if def[envWithheld] == true {
		c.hint("Environments and credentials are for root to see: sudo hero_proc service show %s", short(id))
	}
	return nil
}

func (c *call) printDefinition(id units.ID, def map[string]any) {
	fmt.Fprintln(c.Stdout, c.paint(bold, id.String()))
	c.showKeys("", serviceKeys, def, "context", "name", "actions", envWithheld)
	for _, action := range actionsOf(def) {
		fmt.Fprintf(c.Stdout, "\n  %s %v\n", c.paint(bold, "action"), action["name"])
		c.showKeys("  ", actionKeys, action, "name")
	}
}

// showKeys prints the keys of a definition, a line each part of a value.
func (c *call) showKeys(indent string, order []string, def map[string]any, without ...string) {
	for _, key := range shownKeys(def, order, without...) {
		name := key
		for _, value := range showValue(def[key]) {
			fmt.Fprintf(c.Stdout, "%s  %-18s  %s\n", indent, name, printable(value))
			name = ""
		}
	}
}

// The order in which a definition is shown; other keys follow by name.
var (
	serviceKeys = keysOf(serviceFields)
	actionKeys  = keysOf(actionFields)
)

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// shownKeys are the keys of a definition in the order to show them, without
// those that have a place of their own.
func shownKeys(def map[string]any, order []string, without ...string) []string {
	keys := slices.Sorted(maps.Keys(def))
	keys = slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(without, k) })
	slices.SortStableFunc(keys, func(a, b string) int { return rank(order, a) - rank(order, b) })
	return keys
}

func rank(order []string, key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}

// showValue is a value of a definition, in one line for each of its parts.
func showValue(v any) []string {
	switch v := v.(type) {
	case map[string]any:
		var lines []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			lines = append(lines, fmt.Sprintf("%s=%v", k, v[k]))
		}
		return lines
	case []any:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = fmt.Sprint(w)
		}
		return []string{quoteWords(words)}
	default:
		return []string{fmt.Sprint(v)}
	}
}

// quoteWords joins words so that a shell, and --exec, take them apart again.
func quoteWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\$`&|;<>()*?[]#~!{}") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
