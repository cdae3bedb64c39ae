package units

import (
	"strings"
	"testing"
)

// A preset is a definition that is taken as it is, in any context, and has no
// secret in it.
func TestPresets(t *testing.T) {
	t.Parallel()
	for _, p := range Presets {
		if p.Doc == "" || strings.ContainsAny(p.Name, " ?") {
			t.Errorf("preset %q is described as %q", p.Name, p.Doc)
		}
		if got, ok := PresetNamed(p.Name); !ok || got.Name != p.Name {
			t.Errorf("preset %q is not found", p.Name)
		}
		dirs := map[string]bool{}
		for _, id := range []ID{{DefaultContext, p.Name}, {"lab", p.Name}, {DefaultContext, "other"}} {
			def := p.Definition(id)
			def["context"], def["name"] = id.Context, id.Name
			s, err := DecodeService(def)
			if err != nil || s.Wanted != WantedStart {
				t.Errorf("preset %q for %s: %+v, %v", p.Name, id, s, err)
				continue
			}
			a := s.Actions[0]
			if dirs[a.StateDir] {
				t.Errorf("preset %q gives two services the directory %q", p.Name, a.StateDir)
			}
			dirs[a.StateDir] = true
			for name, path := range a.Credentials {
				if path != GeneratedCredential {
					t.Errorf("preset %q takes credential %s from %s", p.Name, name, path)
				}
			}
		}
	}
	if _, ok := PresetNamed("nothing"); ok {
		t.Error("there is a preset that is none")
	}
	// What the machine's users can see of the shell is no secret.
	hero, _ := PresetNamed(HeroDB)
	s, err := DecodeService(map[string]any{"name": HeroDB, "actions": hero.Definition(ID{DefaultContext, HeroDB})["actions"]})
	if err != nil || len(s.Actions[0].Exec) != 3 || !strings.Contains(s.Actions[0].Exec[2], "$CREDENTIALS_DIRECTORY") {
		t.Errorf("hero_db is executed as %q, %v", s.Actions[0].Exec, err)
	}
	// Its health can be asked without a word about its secret.
	s.Actions[0].Health = string(s.Actions[0].Ready)
	if c, ok := s.Actions[0].HealthCheck(); !ok || c.Credential != "admin_secret" {
		t.Errorf("hero_db's health is asked with the credential %q", c.Credential)
	}
}
