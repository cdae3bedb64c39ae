package supervisor

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// began takes up a job that was recorded already, of an ad-hoc run.
func (h *history) began(job units.Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.stopping, job.Unit)
	h.last[job.Unit] = job
	h.wake()
	h.saved([]int64{job.ID})
}

// settled says that the newest job of the unit is over, and that the store has
// it so.
func (h *history) settled(ctx context.Context, unit string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, err := h.lastOf(ctx, unit)
	if err != nil || last != nil && !last.Phase.Terminal() {
		return false
	}
	if last == nil {
		return true // it is so long over that its job is gone
	}
	_, unsaved := h.unsaved[last.ID]
	return !unsaved
}

// forget drops what is kept in memory of a unit that will not come again.
func (h *history) forget(unit string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(unit)
}

// forgetGone drops what is kept of units that are of no registered action any
// more. One that has a job that is not over is still to be followed.
func (h *history) forgetGone(registered func(unit string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := map[string]bool{}
	for unit, last := range h.last {
		gone[unit] = last.Phase.Terminal()
	}
	for unit := range h.seen {
		if _, known := h.last[unit]; !known {
			gone[unit] = true
		}
	}
	for unit, over := range gone {
		if ref, ok := units.ParseUnit(unit); over && ok && ref.Run == 0 && !registered(unit) {
			h.drop(unit)
		}
	}
}

// drop is forget with mu held.
func (h *history) drop(unit string) {
	delete(h.last, unit)
	delete(h.seen, unit)
	delete(h.missed, unit)
	delete(h.ending, unit)
	delete(h.stopping, unit)
	delete(h.booting, unit)
	delete(h.restarts, unit)
}

// continueRun makes a new job of an ad-hoc run's unit the next attempt after
// the last one, whoever started it: the unit's name has the run's number.
func continueRun(j *units.Job, last units.Job) {
	j.Run, j.Action, j.Attempt = last.Run, last.Action, last.Attempt+1
}

// ours says that the unit is that of a registered service, or of an ad-hoc run
// that the history knows. mu is held.
func (h *history) ours(ctx context.Context, unit string, ref units.UnitRef) bool {
	if ref.Run == 0 {
		_, registered := h.service(ref.ID)
		return registered
	}
	last, err := h.lastOf(ctx, unit)
	return err == nil && last != nil
}
