package supervisor

import (
	"context"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// group gives each new job that has no run the run of the start that it is a
// part of, if there is one: a service with several actions has several units,
// and one run. changes are what is to be written before; restarting says that
// systemd had begun to restart a job's unit at a time. mu is held.
func (h *history) group(ctx context.Context, changes, begins []units.Record, restarting func(j units.Job, at time.Time) bool) {
	starts := map[units.ID][]*units.Job{}
	for i := range begins {
		b := &begins[i]
		id := b.Job.Service
		if s, ok := h.service(id); !ok || len(s.Actions) < 2 {
			continue
		}
		start, known := starts[id]
		if !known {
			start = h.lastRun(ctx, id, changes)
		}
		if b.Job.Run != 0 || b.With != nil { // systemd's restart of the unit itself
			if len(start) == 0 || start[0].Run != b.Job.Run && !slices.Contains(start, b.With) {
				continue
			}
		} else {
			var jobs []units.Job
			for _, j := range start {
				jobs = append(jobs, *j)
			}
			attempt, joins := plan.Joins(jobs, b.Job.Unit, b.Job.Created, func(j units.Job) bool { return restarting(j, b.Job.Created) })
			if joins {
				b.Job.Attempt, b.With = attempt, start[0]
			} else {
				start = nil
			}
		}
		starts[id] = append(start, b.Job)
	}
}

// lastRun are the jobs of a service's newest run as they are known, or about
// to be written. mu is held.
func (h *history) lastRun(ctx context.Context, id units.ID, changes []units.Record) []*units.Job {
	stored, err := h.store.LastRun(ctx, id)
	if err != nil {
		h.logger.Error("cannot read the history, ignoring: what starts is a run of its own", "service", id, "error", err)
	}
	start := make([]*units.Job, 0, len(stored))
	for _, j := range stored {
		if newer, ok := h.unsaved[j.ID]; ok {
			j = newer
		}
		for _, r := range changes {
			if r.Job.ID == j.ID {
				j = *r.Job
			}
		}
		start = append(start, &j)
	}
	return start
}

// restarting says, of what was observed, that systemd counts one more restart
// of a unit than there are attempts, and is about to start it. mu is held.
func (h *history) restarting(j units.Job, _ time.Time) bool { return h.restarts[j.Unit] >= j.Attempt }
