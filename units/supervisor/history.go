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
//
// It never stands in the way of control: what can't be written, as on a full
// disk, is kept in memory, told to those who ask, and written when it can be.
// A job that could not be recorded when it began has no number.
type history struct {
	store  Store
	pid1   *ordered
	logger *slog.Logger
	now    func() time.Time
	saved  func(jobs []int64)
	// service is what is registered.
	service func(units.ID) (units.Service, bool)
	// journal says that there is one that can tell what was missed.
	journal bool

	mu sync.Mutex
	// seen has the moment, as pid1 counts them, at which each unit was last
	// written down.
	seen map[string]uint64
	// last has the newest job of each unit that was looked at.
	last map[string]units.Job
	// ending has the job before the last one, where a restart that was asked
	// for is still ending it.
	ending map[string]units.Job
	// unsaved has the jobs whose newest state is not in the store yet.
	unsaved map[int64]units.Job
	// held has the jobs that systemd is asked for later, if at all.
	held map[int64]bool
	// stopping has the units that somebody asked to stop.
	stopping map[string]bool
	// booting has the units that the boot starts, and since when.
	booting map[string]time.Time
	// missed has the units that have been through more than was seen, and gap
	// gets a value with each. stirred says that any unit was looked at.
	missed  map[string]bool
	gap     chan struct{}
	stirred bool
	// restarts is how often systemd has restarted each unit, when it was last
	// looked at.
	restarts map[string]int
	// changed is closed, and replaced, when any job changes.
	changed chan struct{}
}

func newHistory(store Store, pid1 *ordered, logger *slog.Logger, now func() time.Time, saved func(jobs []int64),
	service func(units.ID) (units.Service, bool), journal bool) *history {
	return &history{
		store: store, pid1: pid1, logger: logger, now: now, saved: saved, service: service, journal: journal,
		seen: map[string]uint64{}, missed: map[string]bool{}, restarts: map[string]int{}, gap: make(chan struct{}, 1),
		last: map[string]units.Job{}, ending: map[string]units.Job{}, unsaved: map[int64]units.Job{}, held: map[int64]bool{},
		stopping: map[string]bool{}, booting: map[string]time.Time{},
		changed: make(chan struct{}),
	}
}

// observe writes down what the units, read in full, mean for their jobs: all
// of it in one transaction. A unit that has been through more than was seen is
// left to those who look into the journal: see missed. An error was logged: it
// says that what a unit means is not written down yet.
func (h *history) observe(ctx context.Context, us ...units.Unit) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.observeAll(ctx, false, us)
}

// observeAll is observe with mu held; settled says that the journal has been
// looked into, and that what is not known by now stays so.
func (h *history) observeAll(ctx context.Context, settled bool, us []units.Unit) (unread error) {
	h.stirred = h.stirred || len(us) > 0
	// Ends come before beginnings: what is a part of a start that is over
	// must not join it.
	var ends, begins []units.Record
	for _, u := range us {
		of, begin, err := h.observeOne(ctx, u, settled)
		if err != nil {
			h.logger.Error("cannot read the history, ignoring: the unit's next change will", "unit", u.Name, "error", err)
			unread = err
		}
		ends = append(ends, of...)
		if begin != nil {
			begins = append(begins, *begin)
		}
	}
	h.group(ctx, ends, begins, h.restarting)
	h.save(ctx, append(ends, begins...))
	return unread
}

// observeOne gives the changes of known jobs, and a new one.
func (h *history) observeOne(ctx context.Context, u units.Unit, settled bool) (changes []units.Record, begin *units.Record, err error) {
	ref, ok := units.ParseUnit(u.Name)
	if !ok {
		return nil, nil, nil
	}
	if ref.Run != 0 {
		// An ad-hoc run's unit that is gone will not come again.
		defer func() {
			if !u.Loaded() {
				delete(h.seen, u.Name)
				delete(h.restarts, u.Name)
			}
		}()
	}
	if u.Reading < h.seen[u.Name] {
		// It was read while somebody else's reading was written down, so it
		// may be the older one of the two.
		fresh, err := h.pid1.Unit(ctx, u.Name)
		if err != nil {
			return nil, nil, err
		}
		// The journal was looked into for the other one.
		u, settled = fresh, false
	}
	h.seen[u.Name] = h.pid1.moment()
	h.restarts[u.Name] = 0
	if u.Alive() || u.JobID != 0 { // or it has come to its start limit
		h.restarts[u.Name] = int(u.Restarts)
	}
	last, err := h.lastOf(ctx, u.Name)
	if err != nil {
		return nil, nil, err
	}
	if ref.Run != 0 && last == nil {
		delete(h.seen, u.Name)
		delete(h.restarts, u.Name)
		return nil, nil, nil // of no run that this store knows
	}
	recorded := false
	if u.InvocationID != "" && (last == nil || last.InvocationID != u.InvocationID) {
		var known units.Job
		if known, recorded, err = h.store.JobByInvocation(ctx, u.InvocationID); err != nil {
			return nil, nil, err
		}
		// Whatever else there is, the job that the unit runs is the one to follow.
		if recorded && !known.Phase.Terminal() && last != nil && last.Phase.Terminal() {
			last, recorded = &known, false
		}
	}
	now := h.now()
	if before, ok := h.ending[u.Name]; ok {
		recorded = recorded || before.InvocationID == u.InvocationID
		if before.InvocationID != u.InvocationID && h.miss(u.Name, settled) {
			// How it ended is in the journal; the new one goes on.
		} else if j := plan.ObserveEnding(before, u, now); j != nil {
			changes = append(changes, units.Record{Job: j})
			h.ending[u.Name] = *j
			if j.Phase.Terminal() {
				delete(h.ending, u.Name)
			}
		}
	}
	_, booting := h.booting[u.Name]
	if plan.Missed(last, u, recorded, booting) && h.miss(u.Name, settled) {
		return nil, nil, nil
	}
	if u.Active == "deactivating" && u.JobID != 0 {
		h.stopping[u.Name] = true
	}
	change := plan.Observe(last, u, recorded, h.stopping[u.Name], now)
	if change.Update != nil {
		changes = append(changes, units.Record{Job: change.Update})
	}
	if change.Begin != nil {
		change.Begin.Service, change.Begin.Action = ref.ID, h.action(ref)
		begin = &units.Record{Job: change.Begin, Origin: h.origin(u.Name, ref, time.Time{})}
		if ref.Run != 0 {
			continueRun(change.Begin, *last)
		}
	}
	// What the boot queued may still wait for what it requires.
	if u.InvocationID != "" && !recorded || !u.Alive() && u.JobID == 0 {
		delete(h.booting, u.Name)
	}
	if u.Alive() && change.Begin != nil || u.Active == "inactive" || u.Active == "failed" {
		delete(h.stopping, u.Name)
	}
	return changes, begin, nil
}

// origin is that of what nobody has asked hero_proc for, and of what began just now
// if begun is zero. mu is held.
func (h *history) origin(unit string, ref units.UnitRef, begun time.Time) units.Origin {
	for _, name := range []string{unit, ref.ID.Unit()} {
		if since, ok := h.booting[name]; ok && (begun.IsZero() || !begun.Before(since)) {
			return units.OriginBoot
		}
	}
	return units.OriginSystemd
}

// action is the name of the action that a unit is of: the primary one's is not
// in the unit's name.
func (h *history) action(ref units.UnitRef) string {
	if ref.Action != "" {
		return ref.Action
	}
	if s, ok := h.service(ref.ID); ok && s.Primary() >= 0 {
		return s.Actions[s.Primary()].Name
	}
	return ""
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
	if ref, _ := units.ParseUnit(unit); ref.Run == 0 || !j.Phase.Terminal() {
		h.last[unit] = j // runs that are over are many, and don't come again
	}
	return &j, nil
}

// save writes records, and what could not be written before, and wakes those
// who wait for a job.
func (h *history) save(ctx context.Context, records []units.Record) {
	fresh := map[int64]bool{}
	for _, r := range records {
		fresh[r.Job.ID] = true
	}
	all := records
	for id, j := range h.unsaved {
		if !fresh[id] {
			all = append(all, units.Record{Job: &j})
		}
	}
	if len(all) == 0 {
		return
	}
	if err := h.store.SaveJobs(ctx, all); err != nil {
		h.logger.Error("cannot write the history, keeping it in memory and trying again", "jobs", len(all), "error", err)
		for _, r := range all {
			if r.Job.ID != 0 {
				h.unsaved[r.Job.ID] = *r.Job
			}
		}
	} else {
		clear(h.unsaved)
	}
	if len(records) == 0 {
		return
	}
	ids := make([]int64, 0, len(records))
	for _, r := range records {
		ids = append(ids, r.Job.ID)
		if last, ok := h.last[r.Job.Unit]; !ok || last.ID <= r.Job.ID {
			h.last[r.Job.Unit] = *r.Job
		}
	}
	h.wake()
	h.saved(ids)
}

// wake has those who wait look again. mu is held.
func (h *history) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// retry writes what could not be written before.
func (h *history) retry(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.save(ctx, nil)
}

// begin records that a start of the unit was asked for, before systemd is.
func (h *history) begin(ctx context.Context, s units.Service, origin units.Origin) units.Job {
	return h.beginAction(ctx, s, s.Primary(), origin)
}

// beginAction is begin for the i-th action.
func (h *history) beginAction(ctx context.Context, s units.Service, i int, origin units.Origin) units.Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.beginNew(ctx, s, i, origin)
}

// beginHeld is begin for a start that systemd is asked for later, if nothing
// else is asked of the service before. It is held until letGo.
func (h *history) beginHeld(ctx context.Context, s units.Service, origin units.Origin) units.Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	job := h.beginNew(ctx, s, s.Primary(), origin)
	h.held[job.ID] = true
	return job
}

func (h *history) letGo(job int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, job)
}

// beginOrJoin is begin for a unit that was down when it was read: the job may
// be one that there is, which is not for who joins it to end.
func (h *history) beginOrJoin(ctx context.Context, s units.Service, u units.Unit, origin units.Origin) (job units.Job, joined bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last, err := h.lastOf(ctx, u.Name); err == nil && last != nil && plan.StartJoins(last, u, h.held[last.ID]) {
		delete(h.stopping, u.Name)
		return *last, true
	}
	return h.beginNew(ctx, s, s.Primary(), origin), false
}

// beginNew is beginAction with mu held.
func (h *history) beginNew(ctx context.Context, s units.Service, i int, origin units.Origin) units.Job {
	job := units.Job{
		Service: s.ID, Action: s.Actions[i].Name, Unit: s.UnitOf(i),
		Attempt: 1, Phase: units.PhasePending, Created: h.now(),
	}
	last, err := h.lastOf(ctx, job.Unit)
	if err != nil {
		h.logger.Error("cannot read the history, ignoring", "unit", job.Unit, "error", err)
	}
	delete(h.stopping, job.Unit)
	h.save(ctx, []units.Record{{Job: &job, Origin: origin}})
	switch {
	case job.ID == 0 && last != nil:
		h.last[job.Unit] = *last // not recorded: its activation will be
	case job.ID == 0:
		delete(h.last, job.Unit)
	case last != nil && !last.Phase.Terminal() && last.InvocationID != "":
		h.ending[job.Unit] = *last
	}
	return job
}

// lastJob is the newest job of a unit; one without a number if it never had any.
func (h *history) lastJob(ctx context.Context, unit string) (units.Job, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, err := h.lastOf(ctx, unit)
	if err != nil || last == nil {
		return units.Job{}, err
	}
	return *last, nil
}

// end finishes a job that never came to an activation; one that did is left to
// its unit. It is written down also when the time of who asked is up, which may
// be why it came to nothing: nobody else would.
func (h *history) end(ctx context.Context, job units.Job, phase units.Phase, result string) {
	ctx = context.WithoutCancel(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	job, err := h.job(ctx, job.ID)
	if err != nil {
		h.logger.Error("cannot read the history, ignoring", "job", job.ID, "error", err)
	}
	if err != nil || job.Phase.Terminal() || job.InvocationID != "" {
		return
	}
	job.Phase, job.Result, job.Ended = phase, result, h.now()
	h.save(ctx, []units.Record{{Job: &job}})
}

// job is a job as it is known, which may be newer than the store.
func (h *history) job(ctx context.Context, id int64) (units.Job, error) {
	if j, ok := h.unsaved[id]; ok {
		return j, nil
	}
	return h.store.Job(ctx, id)
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
		h.booting[name] = h.now()
	}
}

// notBooting takes back that the boot starts a unit.
func (h *history) notBooting(unit string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.booting, unit)
}

// isBooting says that the boot has started the unit, and that no activation of
// it was seen since.
func (h *history) isBooting(unit string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, booting := h.booting[unit]
	return booting
}

// anyBooting says so of any unit.
func (h *history) anyBooting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.booting) > 0
}

// get is a job as it is known.
func (h *history) get(ctx context.Context, id int64) (units.Job, <-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	job, err := h.job(ctx, id)
	return job, h.changed, err
}

// wait answers with the job once done says so of it.
func (h *history) wait(ctx context.Context, id int64, done func(units.Job) bool) (units.Job, error) {
	for {
		job, changed, err := h.get(ctx, id)
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
