package supervisor

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// hush has systemd tell less where many services are started. The next look at what
// has changed ends that, and looks at all of them. It is the loop's, as listen is.
func (s *Supervisor) hush(ctx context.Context, steps []plan.BootStep) {
	if len(started(steps)) < manyUnits {
		return
	}
	s.hushed = true // also where nobody can tell
	if err := s.Systemd.Hush(ctx); err != nil {
		s.Logger.Debug("cannot have systemd tell less, ignoring: the boot takes longer", "error", err)
	}
	s.backlog.brace(s.Now())
}

// listen ends hush. untold are the units that may have changed untold.
func (s *Supervisor) listen(ctx context.Context) (untold []string, err error) {
	if !s.hushed {
		return nil, nil
	}
	if err := s.Systemd.Listen(ctx); err != nil {
		return nil, err
	}
	s.hushed = false
	for _, id := range s.graph.Load().Order() {
		untold = append(untold, id.Unit())
	}
	for _, r := range s.runs.all() {
		untold = append(untold, r.Unit())
	}
	return untold, nil
}
