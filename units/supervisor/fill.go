package supervisor

import (
	"context"
	"maps"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// filling is what the journal tells, beside what systemd has.
type filling struct {
	live   []units.Job
	acts   []plan.Activation
	loaded map[string]units.Unit // as read after at; what isn't there is gone
	at     time.Time
	seen   []units.Unit    // those of them that were read in full: they are observed
	only   map[string]bool // the units that it is about; nil is all
	// starting says that the boot has started units since at: what has become of
	// them is for those who watch them.
	starting bool
}

// current says that it is the unit's own invocation: that one is observed.
func (f filling) current(unit, invocation string) bool {
	u := f.loaded[unit]
	return u.Loaded() && u.InvocationID == invocation
}

// gone is when what nothing tells the end of has ended at the latest: before the
// boot started it again.
func (f filling) gone(now time.Time) time.Time {
	if f.starting {
		return f.at
	}
	return now
}

func (f filling) about(unit string) bool { return f.only == nil || f.only[unit] }

// fill ends the live jobs whose activation is over, and adds the activations
// that the history has never seen; then it observes the units. It gives the
// jobs of which nothing tells how they ended.
func (h *history) fill(ctx context.Context, f filling) (lost []units.Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	acts := map[string]plan.Activation{}
	for _, a := range f.acts {
		acts[a.InvocationID] = a
	}
	var changes []units.Record
	known := map[string]*units.Job{} // by invocation
	change := func(j units.Job) *units.Job {
		changes = append(changes, units.Record{Job: &j})
		known[j.InvocationID] = &j
		if last, ok := h.last[j.Unit]; ok && last.ID == j.ID {
			h.last[j.Unit] = j
		}
		return &j
	}
	for _, j := range f.live {
		if newer, ok := h.unsaved[j.ID]; ok {
			j = newer
		}
		if j.InvocationID == "" || j.Phase.Terminal() || !f.about(j.Unit) || f.current(j.Unit, j.InvocationID) {
			continue
		}
		// It may not be the newest: that of a restart waits for its activation.
		if _, err := h.lastOf(ctx, j.Unit); err != nil {
			h.logger.Error("cannot read the history, ignoring", "unit", j.Unit, "error", err)
		}
		ended, ok := plan.Recover(j, acts[j.InvocationID], h.oneshot(j.Unit))
		if u := f.loaded[j.Unit]; !ok && u.Reading != 0 && u.Reading < h.seen[j.Unit] {
			continue // it may have begun since the unit was read
		}
		if before, asked := h.ending[j.Unit]; asked && before.ID == j.ID {
			delete(h.ending, j.Unit)
			if !ok { // it was to be restarted, and has been
				ended, ok = *plan.ObserveEnding(j, units.Unit{}, h.now()), true
			}
		}
		ended.InvocationID = j.InvocationID
		if !ok {
			ended = plan.Lose(ended, f.gone(h.now()))
			lost = append(lost, ended)
		}
		change(ended)
	}
	begins, missing := h.fresh(ctx, f, known, change)
	h.group(ctx, changes, begins, func(j units.Job, at time.Time) bool {
		restarted := acts[j.InvocationID].Restarted
		return !restarted.IsZero() && restarted.Before(at)
	})
	for _, b := range begins {
		if last, err := h.lastOf(ctx, b.Job.Unit); err == nil && (last == nil || !b.Job.Created.Before(last.Created)) {
			h.last[b.Job.Unit] = *b.Job
		}
	}
	h.save(ctx, append(changes, begins...))
	maps.DeleteFunc(h.missed, func(name string, _ bool) bool { return f.about(name) })
	_ = h.observeAll(ctx, true, f.seen)
	h.wake()
	return append(lost, missing...)
}

// fresh are new jobs for the activations that the history has none for. One
// that is what a pending job has waited for is that job's. mu is held.
func (h *history) fresh(ctx context.Context, f filling, known map[string]*units.Job, change func(units.Job) *units.Job) (begins []units.Record, lost []units.Job) {
	unknown := h.unrecorded(ctx, f)
	if over := len(unknown) - maxFilled; over > 0 {
		h.logger.Warn("more activations were missed than are written down at once, leaving out the oldest", "left_out", over)
		unknown = unknown[over:]
	}
	for _, a := range unknown {
		ref, _ := units.ParseUnit(a.Unit)
		last, err := h.lastOf(ctx, a.Unit)
		if err != nil {
			h.logger.Error("cannot read the history, ignoring", "unit", a.Unit, "error", err)
			continue
		}
		if last != nil && last.InvocationID == "" && !last.Phase.Terminal() && a.Before == "" && !a.Begun.Before(last.Created) {
			j, ok := plan.Recover(*last, a, h.oneshot(a.Unit))
			if !ok {
				j = plan.Lose(j, f.gone(h.now()))
				lost = append(lost, j)
			}
			change(j)
			continue
		}
		j := units.Job{Service: ref.ID, Action: h.action(ref), Unit: a.Unit, Attempt: 1, Created: a.Begun}
		record := units.Record{Origin: h.origin(a.Unit, ref, a.Begun)}
		if before := h.byInvocation(ctx, a.Before, known); before != nil {
			// systemd's own restart: a further attempt of the same run.
			j.Run, j.Attempt, record.With = before.Run, before.Attempt+1, before
		}
		if ref.Run != 0 {
			continueRun(&j, *last)
			record.With = nil
		}
		j, ok := plan.Recover(j, a, h.oneshot(a.Unit))
		if !ok {
			j = plan.Lose(j, f.gone(h.now()))
			lost = append(lost, j)
		}
		known[a.InvocationID], record.Job = &j, &j
		begins = append(begins, record)
	}
	return begins, lost
}

// unrecorded are the activations without a job, that have ended: those that
// the units have now are observed, and those that came after them are for the
// next look, which has what they are attempts after. mu is held.
func (h *history) unrecorded(ctx context.Context, f filling) (acts []plan.Activation) {
	later := map[string]bool{} // the units whose current activation came before
	for _, a := range f.acts {
		if f.current(a.Unit, a.InvocationID) {
			later[a.Unit] = true
			continue
		}
		ref, ok := units.ParseUnit(a.Unit)
		if !ok || a.Begun.IsZero() || !f.about(a.Unit) || later[a.Unit] || (a.Over.IsZero() || f.starting) && a.Begun.After(f.at) {
			continue
		}
		// What goes on since this boot, of a unit that was not there at f.at, was
		// started after it, whatever the clock says.
		if f.starting && a.Over.IsZero() && a.Boot == f.acts[len(f.acts)-1].Boot {
			continue
		}
		if h.ours(ctx, a.Unit, ref) && !h.recorded(ctx, a) {
			acts = append(acts, a)
		}
	}
	return acts
}

// unknown are the units of which there is an activation without a job.
func (h *history) unknown(ctx context.Context, acts []plan.Activation) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	recorded := map[string]bool{}
	for _, a := range acts {
		recorded[a.InvocationID] = h.recorded(ctx, a)
	}
	return plan.Unknown(acts, recorded)
}

func (h *history) recorded(ctx context.Context, a plan.Activation) bool {
	if last, ok := h.last[a.Unit]; ok && last.InvocationID == a.InvocationID {
		return true
	}
	_, ok, err := h.store.JobByInvocation(ctx, a.InvocationID)
	if err != nil {
		h.logger.Error("cannot read the history, ignoring", "invocation", a.InvocationID, "error", err)
	}
	return ok || err != nil
}

func (h *history) byInvocation(ctx context.Context, invocation string, known map[string]*units.Job) *units.Job {
	if invocation == "" {
		return nil
	}
	if j, ok := known[invocation]; ok {
		return j
	}
	j, ok, err := h.store.JobByInvocation(ctx, invocation)
	if err != nil || !ok {
		return nil
	}
	return &j
}

// oneshot says whether the unit is that of an action that runs to its end.
func (h *history) oneshot(unit string) bool {
	ref, _ := units.ParseUnit(unit)
	s, ok := h.service(ref.ID)
	if !ok {
		return false
	}
	for i, a := range s.Actions {
		if s.UnitOf(i) == unit {
			return !a.Process
		}
	}
	return false
}

// miss leaves a unit to those who look into the journal; false when that has
// been done, or can't be. mu is held.
func (h *history) miss(unit string, settled bool) bool {
	if settled || !h.journal {
		return false
	}
	h.missed[unit] = true
	select {
	case h.gap <- struct{}{}:
	default:
	}
	return true
}

// awaitCaughtUp waits until nothing that is known to be missed of a unit is
// left to write down, or until ctx ends.
func (h *history) awaitCaughtUp(ctx context.Context, unit string) {
	for {
		h.mu.Lock()
		missed, changed := h.missed[unit], h.changed
		h.mu.Unlock()
		if !missed {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// complete says that nothing is missed that is known to be.
func (h *history) complete() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.missed) == 0 && len(h.unsaved) == 0
}

// misses says so of one unit.
func (h *history) misses(unit string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.missed[unit]
}

func (h *history) takeMissed() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.missed)
}

// stir notes that a unit was looked at since the last look into the journal.
func (h *history) stir() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stirred = true
}

func (h *history) takeStirred() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	stirred := h.stirred
	h.stirred = false
	return stirred
}
