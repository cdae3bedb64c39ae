package cli

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// listPresets is the name that asks which presets there are.
const listPresets = "?"

func presetNames() []string {
	names := make([]string, len(units.Presets))
	for i, p := range units.Presets {
		names[i] = p.Name
	}
	return names
}

func (c *call) showPresets() {
	type view struct {
		Name string `json:"name"`
		Doc  string `json:"description"`
	}
	var views []view
	var rows [][]cell
	for _, p := range units.Presets {
		views = append(views, view{p.Name, p.Doc})
		rows = append(rows, []cell{{p.Name, plain}, {p.Doc, plain}})
	}
	c.result["presets"] = views
	if !c.json {
		c.table([]string{"PRESET", "WHAT IT IS FOR"}, rows)
	}
}

// presetOf is the definition that --preset gives, and its one action; both are
// empty without one.
func presetOf(cc *cli.Context, id units.ID) (def, action map[string]any, err error) {
	if !cc.IsSet("preset") {
		return map[string]any{}, map[string]any{}, nil
	}
	p, ok := units.PresetNamed(cc.String("preset"))
	if !ok {
		return nil, nil, usagef(cc, "there is no preset %q; want one of %s", cc.String("preset"), strings.Join(presetNames(), ", "))
	}
	def = maps.Clone(p.Definition(id))
	action = def["actions"].([]map[string]any)[0]
	delete(def, "actions")
	return def, action, nil
}

// preview prints the definition that a service would have.
func (c *call) preview(id units.ID, old, def map[string]any, merge bool) error {
	withheld := old[envWithheld] == true
	var s units.Service
	var err error
	if old == nil || !merge {
		s, err = units.DecodeService(def)
	} else {
		old = maps.Clone(old)
		delete(old, envWithheld)
		if s, err = units.DecodeService(old); err == nil {
			s, err = units.MergeService(s, def)
		}
	}
	if err != nil {
		return err
	}
	// The shapes of JSON, as of a definition that the daemon has.
	text, err := json.Marshal(s.Encode())
	if err != nil {
		return err
	}
	next, _, err := decodeObject(text)
	if err != nil {
		return err
	}
	c.result["definition"], c.result["dry_run"] = next, true
	if c.json {
		return nil
	}
	c.printDefinition(id, next)
	c.hint("Nothing was changed. systemd has not been asked about it.")
	if withheld {
		c.hint("Environments and credentials that it has are for root to see, and are not shown.")
	}
	return nil
}
