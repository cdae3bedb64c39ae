package units

// GeneratedCredential stands in a definition in the place of a credential's
// path: hero_proc makes the secret, once, and keeps it in a file that root
// alone can read.
const GeneratedCredential = "generate"

// Preset is what is known of a program before anybody says so: the parts of a
// definition that fit every machine.
type Preset struct {
	Name string
	Doc  string
	// Definition is for a service of that name, in the shapes of JSON.
	Definition func(ID) map[string]any
}

// Presets is the table of all presets.
var Presets = []Preset{
	{"hero_db", "the store of the Hero services, with a data directory and a generated admin secret of its own", heroDBPreset},
}

// PresetNamed is a preset; false if there is none of that name.
func PresetNamed(name string) (Preset, bool) {
	for _, p := range Presets {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}

// heroDBCommand starts hero_db. It takes its admin secret as an argument and in
// no other way, so a shell puts it there from the credential: it is in no
// definition and in no property of the unit. What the kernel shows of the
// process, /proc/PID/cmdline, has it, for as long as hero_db leaves it there.
const heroDBCommand = `exec hero_db --port 6379 --dir "$STATE_DIRECTORY" --admin-secret "$(cat "$CREDENTIALS_DIRECTORY/admin_secret")"`

func heroDBPreset(id ID) map[string]any {
	dir := id.Name
	if id.Context != DefaultContext {
		dir += "-" + id.Context
	}
	return map[string]any{
		"description": "The store that the Hero services keep their data in",
		"actions": []map[string]any{{
			"exec":             []string{"/bin/sh", "-c", heroDBCommand},
			"state_dir":        dir,
			"credentials":      map[string]string{"admin_secret": GeneratedCredential},
			"ready":            "redis://127.0.0.1:6379",
			"ready_credential": "admin_secret",
			"ready_timeout":    "2m0s", // it may have much to load
			"ports":            []string{"127.0.0.1:6379"},
			"restart":          string(RestartAlways),
			"restart_delay":    "1s",
			"timeout_stop":     "1m30s", // it may have much to write
			"open_files":       uint64(65536),
			"tasks_max":        uint64(4096),
		}},
	}
}
