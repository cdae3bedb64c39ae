package transient

import (
	"slices"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// WithGenerated gives the credentials that hero_proc has generated the files
// that they are in. A definition says of one only that it is generated.
func WithGenerated(us []Unit, file func(name string) string) []Unit {
	for _, u := range us {
		for i, p := range u.Properties {
			credentials, ok := p.Value.([]Credential)
			if !ok {
				continue
			}
			credentials = slices.Clone(credentials)
			for k, c := range credentials {
				if c.Path == units.GeneratedCredential {
					credentials[k].Path = file(c.Name)
				}
			}
			u.Properties[i].Value = credentials
		}
	}
	return us
}
