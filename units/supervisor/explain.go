package supervisor

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// eventsRead bounds the events that are read of one service.
const eventsRead = 50

// Explain says why a service is in its state: it reads the service, and what
// may be to blame for it, as far as that goes. As with Services, those who ask
// at the same time share one reading.
func (s *Supervisor) Explain(ctx context.Context, id units.ID) (units.Explanation, error) {
	if err := id.Check(); err != nil {
		return units.Explanation{}, err
	}
	shared := s.reading.DoChan("explain "+id.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(s.life, readTimeout)
		defer cancel()
		return s.explain(ctx, id)
	})
	select {
	case r := <-shared:
		explanation, _ := r.Val.(units.Explanation)
		return explanation, r.Err
	case <-ctx.Done():
		return units.Explanation{}, units.Errorf(units.CodeTimeout, "systemd has not answered: %w", context.Cause(ctx))
	}
}

func (s *Supervisor) explain(ctx context.Context, id units.ID) (units.Explanation, error) {
	in := plan.WhyInput{
		ID: id, Graph: s.graph.Load(),
		Statuses: map[units.ID]units.Status{}, Problems: map[units.ID]plan.Problem{}, Jobs: map[string]units.Job{},
	}
	// What is missed is looked for in the journal once in a while only.
	patience, cancel := context.WithTimeout(ctx, 2*catchUpPause)
	defer cancel()
	queue, seen := []units.ID{id}, map[units.ID]bool{id: true}
	for i := 0; i < len(queue) && i < plan.MaxLinks; i++ {
		next := queue[i]
		s.history.awaitCaughtUp(patience, next.Unit())
		in.Events = append(in.Events, s.eventsOf(ctx, next)...)
		st, err := s.readStatus(ctx, next)
		if units.CodeOf(err) == units.CodeNoSuchService && err != nil {
			continue
		} else if err != nil {
			return units.Explanation{}, err
		}
		in.Statuses[next] = st
		if p := s.problem(next); p != nil {
			in.Problems[next] = *p
		}
		if job, err := s.history.lastJob(ctx, st.Unit.Name); err != nil {
			s.Logger.Error("cannot read the history, ignoring: what is explained has less in it", "unit", st.Unit.Name, "error", err)
		} else {
			in.Jobs[st.Unit.Name] = job
		}
		for _, suspect := range plan.Suspects(in.Graph, st) {
			if !seen[suspect.ID] {
				seen[suspect.ID] = true
				queue = append(queue, suspect.ID)
			}
		}
	}
	return plan.Explain(in), nil
}

func (s *Supervisor) eventsOf(ctx context.Context, id units.ID) []units.LogEntry {
	events, err := s.Store.Logs(ctx, units.LogFilter{Context: id.Context, Service: id.Name, Limit: eventsRead})
	if err != nil {
		s.Logger.Error("cannot read the events of a service, ignoring: what is explained has less in it", "service", id, "error", err)
	}
	return events
}

// Dependencies are what all services say of each other.
func (s *Supervisor) Dependencies(context.Context) ([]units.Dependency, error) {
	return s.graph.Load().Dependencies(), nil
}

// AnalyzeBoot says what the last boot of the machine waited for.
func (s *Supervisor) AnalyzeBoot(ctx context.Context) (units.BootAnalysis, error) {
	booted := s.Systemd.Booted()
	jobs, err := s.Store.BootJobs(ctx, booted)
	if err != nil {
		return units.BootAnalysis{}, err
	}
	return plan.AnalyzeBoot(s.graph.Load(), jobs, booted), nil
}
