package supervisor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// history keeps the jobs in the store true to what systemd says of the units.
type history struct {
	store  Store
	logger *slog.Logger
	now    func() time.Time
	saved  func(jobs []int64)

	mu sync.Mutex
	// last has the newest job of each unit that was looked at.
	last map[string]units.Job
	// ending has the job before the last one, where a restart that was asked
	// for is still ending it.
	ending map[string]units.Job
	// stopping has the units that somebody asked to stop.
	stopping map[string]bool
	// booting has the units that the boot starts.
	booting map[string]bool
	// changed is closed, and replaced, when any job changes.
	changed chan struct{}
}

func newHistory(store Store, logger *slog.Logger, now func() time.Time, saved func(jobs []int64)) *history {
	return &history{
		store: store, logger: logger, now: now, saved: saved,
		last: map[string]units.Job{}, ending: map[string]units.Job{}, stopping: map[string]bool{}, booting: map[string]bool{},
		changed: make(chan struct{}),
	}
}

// observe writes down what the units, read in full, mean for their jobs: all
// of it in one transaction.
func (h *history) observe(ctx context.Context, us ...units.Unit) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	var records []units.Record
	for _, u := range us {
		ref, ok := units.ParseUnit(u.Name)
		if !ok {
			continue
		}
		last, err := h.lastOf(ctx, u.Name)
		if err != nil {
			return err
		}
		recorded := false
		if u.InvocationID != "" && (last == nil || last.InvocationID != u.InvocationID) {
			if _, recorded, err = h.store.JobByInvocation(ctx, u.InvocationID); err != nil {
				return err
			}
		}
		if before, ok := h.ending[u.Name]; ok {
			if j := plan.ObserveEnding(before, u, now); j != nil {
				records = append(records, units.Record{Job: j})
				h.ending[u.Name] = *j
				if j.Phase.Terminal() {
					delete(h.ending, u.Name)
				}
			}
		}
		if u.Active == "deactivating" && u.JobID != 0 {
			h.stopping[u.Name] = true
		}
		change := plan.Observe(last, u, recorded, h.stopping[u.Name], now)
		if change.Update != nil {
			records = append(records, units.Record{Job: change.Update})
		}
		if begin := change.Begin; begin != nil {
			begin.Service, begin.Action = ref.ID, ref.Action
			origin := units.OriginSystemd
			if h.booting[u.Name] {
				origin = units.OriginBoot
				delete(h.booting, u.Name)
			}
			records = append(records, units.Record{Job: begin, Origin: origin})
		}
		if u.Alive() && change.Begin != nil || u.Active == "inactive" || u.Active == "failed" {
			delete(h.stopping, u.Name)
		}
	}
	return h.save(ctx, records)
}

// lastOf is the newest job of a unit, nil when it never had one.
func (h *history) lastOf(ctx context.Context, unit string) (*units.Job, error) {
	if j, ok := h.last[unit]; ok {
		return &j, nil
	}
	j, ok, err := h.store.LastJob(ctx, unit)
	if err != nil || !ok {
		return nil, err
	}
	h.last[unit] = j
	return &j, nil
}

// save writes records and wakes those who wait for a job.
func (h *history) save(ctx context.Context, records []units.Record) error {
	if len(records) == 0 {
		return nil
	}
	if err := h.store.SaveJobs(ctx, records); err != nil {
		return err
	}
	ids := make([]int64, len(records))
	for i, r := range records {
		ids[i] = r.Job.ID
		if last, ok := h.last[r.Job.Unit]; !ok || last.ID <= r.Job.ID {
			h.last[r.Job.Unit] = *r.Job
		}
	}
	close(h.changed)
	h.changed = make(chan struct{})
	h.saved(ids)
	return nil
}

// begin records that a start of the unit was asked for, before systemd is.
func (h *history) begin(ctx context.Context, s units.Service, origin units.Origin) (units.Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	job := units.Job{
		Service: s.ID, Action: s.Actions[s.Primary()].Name, Unit: s.Unit(),
		Attempt: 1, Phase: units.PhasePending, Created: h.now(),
	}
	last, err := h.lastOf(ctx, job.Unit)
	if err != nil {
		return units.Job{}, err
	}
	if last != nil && !last.Phase.Terminal() && last.InvocationID != "" {
		h.ending[job.Unit] = *last
	}
	delete(h.stopping, job.Unit)
	if err := h.save(ctx, []units.Record{{Job: &job, Origin: origin}}); err != nil {
		return units.Job{}, err
	}
	return job, nil
}

// lastJob is the newest job of a unit.
func (h *history) lastJob(ctx context.Context, unit string) (units.Job, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, err := h.lastOf(ctx, unit)
	if err != nil || last == nil {
		return units.Job{}, false, err
	}
	return *last, true, nil
}

// end finishes a job that never came to an activation.
func (h *history) end(ctx context.Context, id int64, phase units.Phase, result string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	job, err := h.store.Job(ctx, id)
	if err != nil || job.Phase.Terminal() || job.InvocationID != "" {
		return err
	}
	job.Phase, job.Result, job.Ended = phase, result, h.now()
	return h.save(ctx, []units.Record{{Job: &job}})
}

func (h *history) setStopping(unit string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping[unit] = true
}

func (h *history) setBooting(names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		h.booting[name] = true
	}
}

// wait answers with the job once done says so of it.
func (h *history) wait(ctx context.Context, id int64, done func(units.Job) bool) (units.Job, error) {
	for {
		h.mu.Lock()
		changed := h.changed
		h.mu.Unlock()
		job, err := h.store.Job(ctx, id)
		if err != nil || done(job) {
			return job, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return job, units.Errorf(units.CodeTimeout, "job %d is still %s: %w", id, job.Phase, context.Cause(ctx))
		}
	}
}
