package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// historyMark is the mark up to which the history has everything.
const historyMark = "history"

const (
	// pastTimeout bounds one reading of the journal, which the boot waits for.
	pastTimeout = 5 * time.Second
	// overlap is how much of what was read before is read again: signals and
	// the journal take a moment.
	overlap = 10 * time.Second
	// markEvery is how often the mark is moved on when nothing happens.
	markEvery = time.Hour
	// catchUpPause is at least between two readings, however often a service
	// is restarted.
	catchUpPause = time.Second
	// giveUpPast is how long a reading that fails is tried again.
	giveUpPast = 10 * time.Minute
	// maxFilled bounds what one reading adds to the history: the newest.
	maxFilled = 1000
)

var errNoPast = errors.New("there is no journal to read")

// past reads what PID 1 has written since the history had everything.
func (s *Supervisor) past(ctx context.Context, since time.Time) ([]plan.Activation, error) {
	if s.Past == nil {
		return nil, errNoPast
	}
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	defer cancel()
	// journald reads its sockets when it comes to it.
	if err := s.Journal.Sync(ctx); err != nil {
		s.Logger.Warn("cannot tell whether the journal has everything, ignoring", "error", err)
	}
	entries, err := s.Past.Entries(ctx, since, func(unit string) bool {
		_, ok := units.ParseUnit(unit)
		return ok
	})
	return plan.Activations(entries), err
}

// since is from when on the journal has something that the history may lack.
func (s *Supervisor) since(ctx context.Context, live []units.Job) time.Time {
	mark, err := s.Store.Mark(ctx, historyMark)
	if err != nil {
		s.Logger.Warn("cannot read how far the history goes, ignoring: the jobs that it has say it", "error", err)
	}
	now := s.Now()
	if mark.IsZero() { // a store of an older version, or a new one
		mark = now
		for _, j := range live {
			if j.Created.Before(mark) {
				mark = j.Created
			}
		}
	}
	// A clock that was set back costs what was before.
	if now.Before(mark) {
		mark = now
	}
	return mark.Add(-overlap)
}

// setMark notes that the history has everything up to a time.
func (s *Supervisor) setMark(ctx context.Context, at time.Time) {
	if !s.history.complete() {
		return
	}
	if err := s.Store.SetMark(ctx, historyMark, at); err != nil {
		s.Logger.Warn("cannot note how far the history goes, ignoring: more of the journal is read the next time", "error", err)
		return
	}
	s.marked.Store(at.UnixNano())
}

// settle finishes and adds what the history lacks, and reports what can't be
// known; then it observes the units that f has as seen.
func (s *Supervisor) settle(ctx context.Context, f filling) {
	var err error
	f.acts, err = s.past(ctx, s.since(ctx, f.live))
	if ctx.Err() != nil {
		return // the next daemon does it
	}
	lost := s.history.fill(ctx, f)
	if err != nil && !errors.Is(err, errNoPast) {
		s.report(units.Event{
			Source: units.SourceRecovery, Code: units.EventJournalUnreadable, Level: units.LevelWarning,
			Message: fmt.Sprintf("the journal can't be read, so how %d jobs ended that nobody saw is not known (lost): %v", len(lost), err),
			Remedy:  "journalctl --verify\nsystemctl status systemd-journald",
		})
	} else {
		for _, j := range lost {
			s.Logger.Warn("nothing tells how a job ended: it is lost", "job", j.ID, "unit", j.Unit, "invocation", j.InvocationID, "journal", err)
		}
	}
}

// keepHistory looks into the journal for what was missed, until ctx ends: at
// once when a unit shows it, and now and then for what no unit shows, as a
// unit that was started and ended twice before it was looked at.
func (s *Supervisor) keepHistory(ctx context.Context) {
	looked := time.Now()
	var last time.Time
	for {
		var everything bool
		select {
		case <-s.history.gap:
		case <-s.lookBackDue:
			everything = true
		case <-s.historyBeat:
			if everything = due(&looked, upkeep); !everything {
				continue
			}
		case <-ctx.Done():
			return
		}
		// Before a reading, and not after it: an idle machine is not woken up for it.
		if rest := catchUpPause - time.Since(last); rest > 0 {
			select {
			case <-time.After(rest):
			case <-ctx.Done():
				return
			}
		}
		s.catchUp(ctx, everything)
		last = time.Now()
	}
}

// lookBack has keepHistory look for what the history may lack since the daemon
// was down, once nothing is on its way up: what starts is in the journal before
// it is in the history.
func (s *Supervisor) lookBack() {
	if !s.mayLack || !s.backlog.empty() || s.history.anyBooting() {
		return
	}
	s.mayLack = false
	s.history.stir()
	select {
	case s.lookBackDue <- struct{}{}:
	default:
	}
}

// catchUp settles the units that have been through more than was seen.
func (s *Supervisor) catchUp(ctx context.Context, everything bool) {
	begun := s.Now()
	names := s.history.takeMissed()
	if everything && s.history.takeStirred() {
		acts, err := s.past(ctx, s.since(ctx, nil))
		if err != nil {
			s.Logger.Warn("cannot look for what was missed in the journal, trying again later", "error", err)
			// What is too much gets no less: after a while it is left out.
			last := time.Unix(0, s.marked.Load())
			if last.Before(s.started) {
				last = s.started
			}
			if begun.Sub(last) < giveUpPast {
				s.history.stir()
				everything = false
			}
		}
		for _, name := range s.history.unknown(ctx, acts) {
			if s.followed(name) {
				names[name] = true
			}
		}
	} else if everything && begun.Sub(time.Unix(0, s.marked.Load())) < markEvery {
		everything = false
	}
	if len(names) > 0 && !s.settleUnits(ctx, names) {
		return // they stay missed
	}
	if slices.ContainsFunc(s.unanswered.all(), func(q question) bool { return names[q.Unit] }) {
		s.retryLater(false)
	}
	if everything {
		s.setMark(ctx, begun)
	}
}

// readSettled reads a unit before something is asked of it, and settles it if it
// has been through more than was seen: a new start must not be taken for what
// was missed.
func (s *Supervisor) readSettled(ctx context.Context, unit string) (units.Unit, error) {
	u, err := s.Systemd.Unit(ctx, unit)
	if err != nil {
		return u, err
	}
	_ = s.history.observe(ctx, u)
	if !s.history.misses(unit) {
		return u, nil
	}
	s.settleUnits(ctx, map[string]bool{unit: true})
	return s.Systemd.Unit(ctx, unit) // that has taken a while
}

// settleUnits is false when systemd could not be asked: the next resync does it.
func (s *Supervisor) settleUnits(ctx context.Context, names map[string]bool) bool {
	at := s.Now()
	loaded := map[string]units.Unit{}
	read := func() (us []units.Unit, ok bool) {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			u, err := s.Systemd.Unit(ctx, name)
			if err != nil {
				s.Logger.Warn("cannot read a unit that was missed, ignoring: the next resync will", "unit", name, "error", err)
				return us, false
			}
			us = append(us, u)
			loaded[name] = u
		}
		return us, true
	}
	us, ok := read()
	if !ok {
		return false
	}
	live, err := s.Store.LiveJobs(ctx)
	if err != nil {
		s.Logger.Error("cannot read the live jobs, ignoring: the next resync will", "error", err)
		return false
	}
	s.settle(ctx, filling{live: live, loaded: loaded, at: at, seen: us, only: names})
	// What changed meanwhile was left alone.
	if us, ok = read(); ok {
		_ = s.history.observe(ctx, us...)
	}
	for _, u := range us {
		if ref, ok := units.ParseUnit(u.Name); ok && ref.Run == 0 {
			s.touch(ref.ID)
		}
	}
	_ = s.closeEnded(ctx, us...) // the rest with a later tick
	return ok
}
