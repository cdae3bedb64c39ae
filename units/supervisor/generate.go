package supervisor

import (
	"context"
	"maps"
	"slices"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// unitsFor are the units of a service, with its digest, as this systemd gets them.
func (s *Supervisor) unitsFor(service units.Service, digest string) []transient.Unit {
	return s.withGenerated(service.ID, transient.Service(service, digest, s.Systemd.Version())...)
}

// withGenerated gives units of a service the files of its generated credentials.
func (s *Supervisor) withGenerated(id units.ID, us ...transient.Unit) []transient.Unit {
	return transient.WithGenerated(us, func(name string) string {
		return s.Store.CredentialPath(id, name)
	})
}

// generate makes the secrets that a definition asks for. It is done when the
// definition is set, and then only: a secret that is gone at a start is a loss
// to tell of, and not to paper over with another one.
func (s *Supervisor) generate(ctx context.Context, service units.Service) error {
	for _, a := range service.Actions {
		for _, name := range slices.Sorted(maps.Keys(a.Credentials)) {
			if a.Credentials[name] != units.GeneratedCredential {
				continue
			}
			if err := s.Store.MakeCredential(ctx, service.ID, name); err != nil {
				return err
			}
		}
	}
	return nil
}
