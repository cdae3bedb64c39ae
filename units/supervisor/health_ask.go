package supervisor

import (
	"context"
	"errors"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// unitPatience is how much longer than its time a unit that asks may take, as
// systemd has other things to do.
const unitPatience = 15 * time.Second

// watchHealth asks each probe when it is due, until ctx ends. While there is
// none it sleeps.
func (s *Supervisor) watchHealth(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		one, wait := s.checks.next(s.Now())
		if one != nil {
			s.tasks.Go(func() { s.examine(ctx, one) })
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-s.checks.wake:
		case <-due:
		}
	}
}

// examine asks one probe, and does what its answer calls for.
func (s *Supervisor) examine(ctx context.Context, one *check) {
	asked := s.lastAsked(one.id)
	answer, says := s.askHealth(ctx, one)
	if ctx.Err() != nil {
		return
	}
	before, after, current := s.checks.answered(one, answer, says, s.Now())
	if current {
		s.judged(ctx, one, before, after, asked)
	}
	s.checks.again(one, s.Now())
}

// lastAsked is the number of what was last asked of a service.
func (s *Supervisor) lastAsked(id units.ID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[id]
}

func (s *Supervisor) askHealth(ctx context.Context, one *check) (plan.Answer, string) {
	if !one.ByNetwork() {
		return s.askAsUnit(ctx, one)
	}
	ctx, cancel := context.WithTimeout(ctx, one.Timeout)
	defer cancel()
	if well, says := s.Ask(ctx, one.HealthCheck); !well {
		return plan.Unwell, says
	}
	return plan.Well, ""
}

// askAsUnit has systemd run the prober as the service's user.
func (s *Supervisor) askAsUnit(ctx context.Context, one *check) (plan.Answer, string) {
	service, ok := s.graph.Load().Service(one.id)
	if !ok || one.index >= len(service.Actions) {
		return plan.Unasked, "the service was removed"
	}
	ctx, cancel := context.WithTimeout(ctx, one.Timeout+unitPatience)
	defer cancel()
	asks := s.withGenerated(one.id, transient.Health(service, one.index, s.Systemd.Version()))
	u, said, err := s.Systemd.Run(ctx, asks[0])
	switch {
	case err != nil:
		var known *units.Error
		if errors.As(err, &known) {
			err = known
		}
		return plan.Unasked, "the probe can't be run: " + err.Error()
	case u.Result == "timeout":
		return plan.Unwell, "no answer in time"
	case u.Result != "success":
		return plan.Unasked, "the probe can't be run: systemd's result is " + u.Outcome()
	case u.ExitStatus == units.ExitDone:
		return plan.Well, ""
	default:
		return plan.Unwell, units.Line(strings.TrimPrefix(said, units.NotReady), maxSaid)
	}
}
