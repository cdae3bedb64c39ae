package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// How often the store is looked after, once the supervisor is ready.
const (
	roomEvery   = 5 * time.Second // a full disk: has it room again?
	backupEvery = 30 * time.Second
	retainEvery = 10 * time.Minute
)

// beat is the main loop's own clock passed on, so that what is to be done now
// and then wakes an idle machine no more often than the watchdog does.
type beat chan struct{}

func (b beat) pass() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// due says whether it is time again, give or take a part of a beat, and if so
// notes that it was done.
func due(last *time.Time, every time.Duration) bool {
	if time.Since(*last) < every*3/4 {
		return false
	}
	*last = time.Now()
	return true
}

// keepStore looks after the store, beside the main loop, as all of it may take as
// long as the disk likes. It ends with the supervisor's life, or where the store is
// damaged, which ends the supervisor.
func (s *Supervisor) keepStore() {
	ctx := s.life
	if mend, err := s.Store.Check(ctx); mend {
		s.damaged <- err
		return
	} else if err != nil {
		s.reportStore(units.EventBootStepFailed, err)
	}
	// What opening the store has found was told.
	full := slices.ContainsFunc(s.Found, func(e units.Event) bool { return e.Code == units.EventStoreFull })
	// An idle machine is not woken up for what the next write would tell.
	soon := time.NewTimer(roomEvery)
	defer soon.Stop()
	look := func() {
		soon.Stop()
		if full = s.lookForRoom(ctx, full); full {
			soon.Reset(roomEvery)
		}
	}
	backUp := func() error {
		if err := s.Store.BackUpInTime(ctx); ctx.Err() == nil && !full {
			return err
		}
		return nil
	}
	look()
	if err := backUp(); err != nil {
		s.reportStore(units.EventBootStepFailed, err)
	}
	s.retain(ctx)
	backedUp, retained := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-soon.C:
			look()
		case <-s.storeBeat:
			if due(&backedUp, backupEvery) {
				look()
				if err := backUp(); err != nil {
					s.Logger.Warn("cannot back up the store, trying again later", "error", err)
				}
			}
			if due(&retained, retainEvery) {
				s.retain(ctx)
			}
		}
	}
}

// lookForRoom says whether the disk is full, and tells when that has changed.
// was is what it said before.
func (s *Supervisor) lookForRoom(ctx context.Context, was bool) (full bool) {
	written, err := s.Store.Room(ctx)
	if err != nil && units.CodeOf(err) != units.CodeStoreFull {
		if ctx.Err() == nil {
			s.Logger.Warn("cannot look after the store, trying again", "error", err)
		}
		return was
	}
	full = err != nil
	switch {
	case full && !was:
		s.reportStore(units.EventStoreFull, err)
	case !full && was:
		message := "The disk of the store has room again: definitions can be changed"
		if written > 0 {
			message += fmt.Sprintf(", and the %d jobs that were kept in memory are written", written)
		}
		s.report(units.Event{Source: units.SourceStore, Code: units.EventStoreRoom, Level: units.LevelInfo, Message: message})
	}
	return full
}

// reportStore reports what is wrong with the store.
func (s *Supervisor) reportStore(code units.EventCode, err error) {
	s.report(units.Event{
		Source: units.SourceStore, Code: code, Level: units.LevelError, Message: err.Error(),
		Remedy: units.RemedyOf(err, "df -h /var/lib/hero_proc\nls -la /var/lib/hero_proc /var/lib/hero_proc/backups\njournalctl --dmesg --priority=err"),
	})
}

// retain bounds the history.
func (s *Supervisor) retain(ctx context.Context) {
	g := s.graph.Load()
	registered := func(id units.ID) bool {
		_, ok := g.Service(id)
		_, broken := g.Problem(id)
		return ok || broken
	}
	pruning := plan.NewPruning(s.Policy.Retention, s.Now(), registered)
	why := map[string]int{}
	start := time.Now()
	done, err := s.Store.Retain(ctx, func(row units.Past) bool {
		goes, reason := pruning.Judge(row)
		if goes {
			why[reason]++
		}
		return goes
	})
	if err != nil && ctx.Err() == nil {
		s.Logger.Warn("cannot bound the history, trying again later", "error", err)
	}
	if done != (units.Retained{}) {
		s.Logger.Info("bounded the history", "jobs", done.Jobs, "runs", done.Runs, "logs", done.Logs, "bytes", done.Bytes,
			"why", why, "took", time.Since(start).Round(time.Millisecond))
	}
}
