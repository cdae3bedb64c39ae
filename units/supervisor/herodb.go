package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// ensureHeroDB sees to it that hero_db is started, or says why it is not. What
// is to be done, and how it ended, plan decides. Its error is that systemd could
// not be reached.
func (s *Supervisor) ensureHeroDB(ctx context.Context) error {
	id := s.Policy.HeroDB
	service, registered := s.graph.Load().Service(id)
	problem := s.problem(id)
	if problem != nil && !s.Policy.NoAutostartDB && (!registered || service.Wanted == units.WantedStart) {
		s.heroDBFailed(plan.HeroDBBlocked(id, *problem))
		return nil
	}
	u, err := s.Systemd.Unit(ctx, id.Unit())
	if err != nil {
		return err
	}
	d := plan.DecideHeroDB(plan.HeroDBInput{
		OptOut: s.Policy.NoAutostartDB, ID: id, Registered: registered, Wanted: service.Wanted, Unit: u,
		Tried: s.history.isBooting(u.Name),
	})
	s.Logger.Info("ensuring hero_db", "service", id, "decision", d.Action, "reason", d.Reason)
	var result <-chan string
	switch d.Action {
	case plan.HeroDBNeedsStart:
		if _, result, err = s.start(ctx, service, u, units.OriginBoot); unreachable(err) {
			return err
		} else if err != nil {
			s.heroDBFailed(plan.HeroDBRefused(id, err))
			return nil
		}
	case plan.HeroDBAlreadyActive:
	case plan.HeroDBOptedOut, plan.HeroDBNotRegistered, plan.HeroDBNotStartIntent:
		s.setHeroDB(string(d.Action), d.Reason)
		if d.Event != nil {
			s.report(*d.Event)
		}
		return nil
	}
	s.awaitHeroDB(ctx, service, result)
	return nil
}

// awaitHeroDB waits, for a bounded time, until hero_db is up or has failed.
func (s *Supervisor) awaitHeroDB(ctx context.Context, service units.Service, result <-chan string) {
	began := s.Now()
	primary := service.Actions[service.Primary()]
	p := plan.HeroDBProgress{
		ID: service.ID, Settle: settle, Timeout: s.Policy.StartTimeout, Deadline: began.Add(s.Policy.StartTimeout),
		Proven: primary.Proven(),
	}
	seen := "" // the invocation that p.Seen is of
	for {
		u, err := s.Systemd.Unit(ctx, service.Unit())
		p.Now, p.Pending = s.Now(), result != nil
		if err == nil {
			p.Unit = u
			_ = s.history.observe(ctx, u)
			if u.Active == "active" && seen != u.InvocationID {
				seen, p.Seen = u.InvocationID, p.Now
			}
		}
		if p.JobResult == "dependency" || p.Unit.Active == "inactive" {
			p.Down = s.down(ctx, service)
		}
		p.Said = s.said(ctx, slices.Concat(p.Down, []units.Unit{p.Unit})...)
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
		for again := false; !again; {
			again = true
			select {
			case <-s.Systemd.Wake():
				c := s.Systemd.Take()
				s.backlog.add(c, s.Now())
				// Of the many others that start beside it, each is no news of it.
				again = s.concerned(service.ID, c)
			case <-s.backlog.due():
				s.resyncDue = !s.changes(ctx)
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
		}
		recheck.Stop()
	}
}

// concerned says whether what changed may be news of a service: it is about
// the service itself, about one that it requires, or about everything.
func (s *Supervisor) concerned(id units.ID, c units.Changes) bool {
	of := append([]units.ID{id}, s.graph.Load().Requires(id)...)
	return c.All || c.Lost || c.Back || slices.ContainsFunc(c.Units, func(name string) bool {
		ref, ok := units.ParseUnit(name)
		return ok && slices.Contains(of, ref.ID)
	})
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

// down are the units that the service's primary one requires and that are not
// up: those of other services, and those of its own actions.
func (s *Supervisor) down(ctx context.Context, service units.Service) []units.Unit {
	var names []string
	for _, id := range s.graph.Load().Requires(service.ID) {
		names = append(names, id.Unit())
	}
	for i, a := range service.Actions {
		if slices.Contains(service.Actions[service.Primary()].DependsOn, a.Name) {
			names = append(names, service.UnitOf(i))
		}
	}
	var down []units.Unit
	for _, name := range names {
		if u, err := s.Systemd.Unit(ctx, name); err == nil && !u.Alive() {
			down = append(down, u)
		}
	}
	return down
}
