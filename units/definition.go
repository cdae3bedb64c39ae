package units

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// DefaultAction is the name of a sole action that has been given none.
const DefaultAction = "main"

// DecodeService reads a definition as it comes from the bus (a{sv}), or from
// JSON: the keys are [ServiceFields] and [ActionFields]. It is strict, and the
// error names every field that is unknown or wrong: it has
// [CodeInvalidDefinition], and a [*DefinitionError] as its cause.
func DecodeService(def map[string]any) (Service, error) {
	var p problems
	s := decodeService(&p, def)
	return p.result(s)
}

func decodeService(p *problems, def map[string]any) Service {
	s := Service{ID: ID{Context: DefaultContext}, Wanted: WantedStart}
	decodeFields(p, serviceFields, &s, def)
	s.check(p)
	return s
}

// Encode is the definition in its canonical form, which leaves out what is as
// if nothing had been said. [DecodeService] makes the same service of it. The
// values are those that a{sv} and JSON can carry.
func (s Service) Encode() map[string]any {
	return encodeFields(serviceFields, &s, &Service{})
}

// Digest is a hash of all that its units are made of. It tells a unit that was
// made of an older definition; the wanted status, the description and what only
// hero_proc itself goes by are left out, since a change of them needs no restart.
func (s Service) Digest() string {
	def := s.Encode()
	delete(def, "status")
	delete(def, "description")
	withoutPolicy(def)
	text, err := json.Marshal(def) // which sorts the keys
	if err != nil {
		panic(err) // text, numbers and booleans can't fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// MergeService changes a definition. Keys that patch has replace those of
// base whole, lists and env too. Actions are merged by their names: of one
// that base has, the keys given are replaced; a new one is appended; one with
// remove = true is taken out. A sole action without a name means the sole
// action of base. The service itself can't be renamed.
func MergeService(base Service, patch map[string]any) (Service, error) {
	var p problems
	merged := base.Encode()
	maps.Copy(merged, patch)
	if v, ok := patch["actions"]; ok {
		merged["actions"] = mergeActions(&p, base.Actions, v)
	}
	s := decodeService(&p, merged)
	if s.Context != base.Context {
		p.add("context", "is %q; want %q, or nothing: a service can't be moved", clip(s.Context), base.Context)
	}
	if s.Name != base.Name {
		p.add("name", "is %q; want %q, or nothing: a service can't be renamed", clip(s.Name), base.Name)
	}
	return p.result(s)
}

// mergeActions answers a definition's list of actions. What is wrong with it
// is left for its decoding to find, as far as that can.
func mergeActions(p *problems, base []Action, v any) any {
	list, err := decodeMaps(v)
	if err != nil || len(list) > MaxActions {
		return v
	}
	merged, _ := encodeActions(base).([]map[string]any)
	seen := map[string]bool{}
	for i, given := range list {
		path := fmt.Sprintf("actions[%d].", i)
		patch := map[string]any{}
		maps.Copy(patch, given)
		if _, named := patch["name"]; !named && len(list) == 1 {
			switch len(base) {
			case 0:
				patch["name"] = DefaultAction
			case 1:
				patch["name"] = base[0].Name
			}
		}
		remove := false
		if v, ok := patch["remove"]; ok {
			if remove, ok = v.(bool); !ok {
				p.add(path+"remove", "is %s; want %s", typeName(v), boolKind.want)
			}
			delete(patch, "remove")
		}
		name, ok := patch["name"].(string)
		if ok && seen[name] {
			p.add(path+"name", "is %q, which was given before; want each action once", clip(name))
			continue
		}
		seen[name] = ok
		at := slices.IndexFunc(merged, func(a map[string]any) bool { return ok && a["name"] == name })
		switch {
		case remove && at < 0:
			p.add(path+"name", "is %q; want the name of an action that is there to be removed", clip(name))
		case remove && len(patch) > 1:
			p.add(path+"remove", "is true; want nothing but the name beside it")
		case remove:
			merged = slices.Delete(merged, at, at+1)
		case at >= 0:
			maps.Copy(merged[at], patch)
		default:
			merged = append(merged, patch)
		}
	}
	return merged
}

func decodeActions(p *problems, path string, v any) []Action {
	list, err := decodeMaps(v)
	if err != nil {
		p.add(path, "%v; want a list of actions", err)
		return nil
	}
	if len(list) > MaxActions {
		p.add(path, "has %d entries; want at most %d", len(list), MaxActions)
		return nil
	}
	if len(list) == 0 {
		return nil
	}
	// The names first: the paths of all other fields have them.
	actions := make([]Action, len(list))
	for i, def := range list {
		name, _ := def["name"].(string)
		if _, named := def["name"]; !named && len(list) == 1 {
			name = DefaultAction
		}
		actions[i] = NewAction(name)
	}
	for i, prefix := range actionPrefixes(path, actions) {
		p.in(prefix, func() { decodeFields(p, actionFields, &actions[i], list[i]) })
	}
	return actions
}

// silentAction is an action of which nothing is given. It is not to be changed.
var silentAction = NewAction("")

func encodeActions(actions []Action) any {
	if len(actions) == 0 {
		return nil
	}
	defs := make([]map[string]any, len(actions))
	for i := range actions {
		defs[i] = encodeFields(actionFields, &actions[i], &silentAction)
	}
	return defs
}

// actionPrefixes is how the paths of the actions' fields begin:
// "actions[web].", or "actions[1]." for one that no valid name tells apart.
func actionPrefixes(path string, actions []Action) []string {
	seen := map[string]bool{}
	prefixes := make([]string, len(actions))
	for i, a := range actions {
		label := a.Name
		if CheckActionName(label) != nil || seen[label] {
			label = fmt.Sprint(i)
		}
		seen[a.Name] = true
		prefixes[i] = path + "[" + label + "]."
	}
	return prefixes
}
