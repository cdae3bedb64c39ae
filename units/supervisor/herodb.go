package supervisor

import (
	"context"
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// ensureHeroDB sees to it that hero_db is started, or says why it is not. What
// is to be done, and how it ended, plan decides.
func (s *Supervisor) ensureHeroDB(ctx context.Context) {
	id := s.Policy.HeroDB
	service, registered := s.graph.Load().Service(id)
	problem := s.problem(id)
	if problem != nil && !s.Policy.NoAutostartDB && (!registered || service.Wanted == units.WantedStart) {
		s.heroDBFailed(plan.HeroDBBlocked(id, *problem))
		return
	}
	u, err := s.Systemd.Unit(ctx, id.Unit())
	if err != nil {
		s.heroDBFailed(plan.HeroDBRefused(id, err))
		return
	}
	d := plan.DecideHeroDB(plan.HeroDBInput{
		OptOut: s.Policy.NoAutostartDB, ID: id, Registered: registered, Wanted: service.Wanted, Unit: u,
	})
	s.Logger.Info("ensuring hero_db", "service", id, "decision", d.Action, "reason", d.Reason)
	var result <-chan string
	switch d.Action {
	case plan.HeroDBNeedsStart:
		if _, result, err = s.start(ctx, service, u, units.OriginBoot); err != nil {
			s.heroDBFailed(plan.HeroDBRefused(id, err))
			return
		}
	case plan.HeroDBAlreadyActive:
	case plan.HeroDBOptedOut, plan.HeroDBNotRegistered, plan.HeroDBNotStartIntent:
		s.setHeroDB(string(d.Action), d.Reason)
		if d.Event != nil {
			s.report(*d.Event)
		}
		return
	}
	s.awaitHeroDB(ctx, service, result)
}

// awaitHeroDB waits, for a bounded time, until hero_db is up or has failed.
func (s *Supervisor) awaitHeroDB(ctx context.Context, service units.Service, result <-chan string) {
	began := s.Now()
	primary := service.Actions[service.Primary()]
	p := plan.HeroDBProgress{
		ID: service.ID, Settle: settle, Timeout: s.Policy.StartTimeout, Deadline: began.Add(s.Policy.StartTimeout),
		Proven: primary.Ready == units.ReadyNotify || !primary.Process,
	}
	for {
		u, err := s.Systemd.Unit(ctx, service.Unit())
		if err == nil {
			p.Unit = u
			if err := s.history.observe(ctx, u); err != nil {
				s.Logger.Warn("cannot write the history, ignoring", "unit", u.Name, "error", err)
			}
		}
		p.Now, p.Pending = s.Now(), result != nil
		if p.JobResult == "dependency" {
			p.Down = s.down(ctx, service)
		}
		out := plan.JudgeHeroDB(p)
		switch out.Verdict {
		case plan.HeroDBUp:
			s.setHeroDB("active", out.Reason)
			s.Logger.Info("hero_db is up", "service", service.ID, "reason", out.Reason, "waited", p.Now.Sub(began).Round(time.Millisecond))
			return
		case plan.HeroDBFailed:
			s.heroDBFailed(out.Event)
			return
		case plan.HeroDBWait:
		}
		s.setHeroDB("starting", out.Reason)
		s.Notify(fmt.Sprintf("STATUS=Waiting for %s: %s\nEXTEND_TIMEOUT_USEC=%d",
			service.ID, out.Reason, (p.Deadline.Sub(p.Now) + 30*time.Second).Microseconds()))
		recheck := time.NewTimer(out.Recheck.Sub(p.Now))
		select {
		case <-s.Systemd.Wake():
			s.changes(ctx)
		case r, ok := <-result:
			if ok {
				p.JobResult = r
			}
			result = nil
		case <-recheck.C:
		case <-ctx.Done():
			recheck.Stop()
			return
		}
		recheck.Stop()
	}
}

func (s *Supervisor) heroDBFailed(e *units.Event) {
	s.setHeroDB(string(e.Code), e.Message)
	s.report(*e)
}

func (s *Supervisor) setHeroDB(state, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heroDB, s.heroDBReason = state, reason
	s.touched.mark(nil, nil, false)
}

// down are the units that the service requires and that are not up.
func (s *Supervisor) down(ctx context.Context, service units.Service) []units.Unit {
	var down []units.Unit
	for _, id := range s.graph.Load().Requires(service.ID) {
		if u, err := s.Systemd.Unit(ctx, id.Unit()); err == nil && !u.Alive() {
			down = append(down, u)
		}
	}
	return down
}
