package supervisor

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// resyncRetry is how long after a failed resync the next one is tried.
const resyncRetry = time.Second

// upkeep is how often the history is looked after, and how often the loop comes
// round for that when nobody asks it to be awake more often.
const upkeep = time.Minute

// resyncTimeout bounds one reading of all units: the loop has to come round
// for the watchdog.
const resyncTimeout = 20 * time.Second

// settleStatus is how long after a change the one-line status is made anew.
const settleStatus = time.Second

// Run boots, says that the supervisor is ready, and then keeps it true to
// systemd until ctx ends, or the store turns out to be damaged, which is its
// error. [Supervisor.Load] comes before it.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.tasks.Wait()
	defer s.end()
	ctx, stop := context.WithCancel(ctx) // tasks go by either
	defer stop()
	s.boot(ctx)
	if ctx.Err() != nil {
		return nil
	}
	s.ready.Store(true)
	s.touched.mark(nil, nil, false)
	// What waits for the daemon need not wait for one more listing.
	s.Notify("READY=1\nSTATUS=Ready")
	took := s.Now().Sub(s.started).Round(time.Millisecond)
	close(s.up)
	s.tasks.Go(func() { s.watchHealth(s.life) })
	// The services that start now need the disk and the CPUs more.
	keepStore := sync.OnceFunc(func() { s.tasks.Go(s.keepStore) })
	interval := upkeep
	if s.Watchdog > 0 {
		interval = min(upkeep, s.Watchdog/2)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	retry, status, again := time.NewTimer(resyncRetry), time.NewTimer(settleStatus), time.NewTimer(settleStatus)
	defer retry.Stop()
	defer status.Stop()
	defer again.Stop()
	if !s.resyncDue && !s.incomplete {
		retry.Stop()
	}
	if s.Past != nil {
		s.tasks.Go(func() { s.keepHistory(ctx) })
	}
	summary := s.summary(ctx)
	s.Notify("STATUS=" + summary)
	s.Logger.Info("ready", "status", summary, "took", took)
	aftermath := false // of a storm
	for {
		s.setRestartTimer(again)
		select {
		case <-s.restarts.kick:
		case <-again.C:
			s.mendDue(ctx)
		case <-ctx.Done():
			s.Notify("STOPPING=1\nSTATUS=Stopping; the services run on")
			s.flush(context.WithoutCancel(ctx))
			if err := s.Store.BackUpIfChanged(context.WithoutCancel(ctx)); err != nil {
				s.Logger.Warn("cannot back up the store, ignoring: the next start does", "error", err)
			}
			return nil
		case err := <-s.damaged:
			// The services run on, and what opens the store next mends it.
			s.flush(ctx)
			return err
		case <-s.Systemd.Wake():
			s.backlog.add(s.Systemd.Take(), s.Now())
		case <-s.backlog.due():
			if !s.changes(ctx) {
				retry.Reset(resyncRetry)
			}
			status.Reset(settleStatus)
		case <-retry.C:
			if err := s.resync(ctx, nil); err != nil {
				s.Logger.Warn("cannot read the units again, trying again", "error", err)
				retry.Reset(resyncRetry)
			}
			status.Reset(settleStatus)
		case <-status.C:
			keepStore()
			if s.readings >= manyUnits {
				// What a storm needed is not needed for long, here and, a little
				// later, by those who tell others of it.
				debug.FreeOSMemory()
				s.readings, aftermath = 0, true
			}
			s.lookBack()
			if now := s.summary(ctx); now != summary {
				summary = now
				s.Notify("STATUS=" + summary)
			}
		case <-tick.C:
			keepStore()
			// Only a loop that comes round says that it is alive.
			if s.Watchdog > 0 {
				s.Notify("WATCHDOG=1")
			}
			s.history.retry(ctx)
			s.retryLater(s.retryRuns(ctx))
			s.storeBeat.pass()
			s.historyBeat.pass()
			if aftermath {
				debug.FreeOSMemory()
				aftermath = false
			}
		}
	}
}

// reportBus reports that the connection to systemd went, or came back.
func (s *Supervisor) reportBus(c units.Changes) {
	if c.Lost {
		s.report(units.Event{
			Source: units.SourceBus, Code: units.EventBusLost, Level: units.LevelWarning,
			Message: "the connection to systemd was lost; the services run on, and hero_proc connects again",
			Remedy:  "systemctl status dbus",
		})
	}
	if c.Back {
		s.report(units.Event{
			Source: units.SourceBus, Code: units.EventBusBack, Level: units.LevelInfo,
			Message: "the connection to systemd is back",
		})
	}
}

// changes takes what systemd's signals have marked, reads it again and brings the
// history up to date. It is false when everything must be read again later.
func (s *Supervisor) changes(ctx context.Context) bool {
	c := s.backlog.take()
	s.reportBus(c)
	untold, err := s.listen(ctx)
	if err != nil {
		s.mend(ctx, nil, c.Jobs)
		s.Logger.Warn("cannot listen to systemd again, trying again", "error", err)
		return false
	}
	c.Units = append(c.Units, untold...)
	if c.All || c.Back {
		if err := s.resync(ctx, c.Jobs); err != nil {
			s.Logger.Warn("cannot read the units again, trying again", "error", err)
			return false
		}
		return true
	}
	read, seen, err := s.readMarked(ctx, s.withActions(c.Units))
	if err != nil {
		s.mend(ctx, nil, c.Jobs)
		s.Logger.Warn("cannot read the units that changed, reading all again later", "error", err)
		return false
	}
	s.readings += len(read)
	_ = s.history.observe(ctx, seen...)
	s.checks.see(s.graph.Load(), s.Now(), read...)
	for _, u := range read {
		if ref, ok := units.ParseUnit(u.Name); ok && ref.Run == 0 {
			s.touch(ref.ID)
			s.renew(u)
		}
	}
	_ = s.closeEnded(ctx, seen...) // the rest with a later tick
	s.reportNoted(read)
	s.mend(ctx, read, c.Jobs)
	return true
}

// withActions are those of the units that are registered, or of a run, with the units of the
// other actions of their services: what one of them goes through can be a part
// of what another one does.
func (s *Supervisor) withActions(names []string) (all []string) {
	for _, name := range names {
		ref, _ := units.ParseUnit(name)
		if ref.Run != 0 {
			if s.runs.has(name) {
				all = append(all, name)
			}
			continue
		}
		if service, ok := s.graph.Load().Service(ref.ID); ok && len(service.Actions) > 1 {
			all = append(all, allUnits(service)...)
			all = append(all, name) // it may be of an older definition
		} else if ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// renew gives a unit that has ended the definition that the store has for it
// by now, so that whoever starts it next starts the new one. It may have to
// wait for control, which the loop must not.
func (s *Supervisor) renew(u units.Unit) {
	if u.Active != "inactive" && u.Active != "failed" || u.JobID != 0 || !u.Loaded() {
		return
	}
	ref, _ := units.ParseUnit(u.Name)
	g := s.graph.Load()
	service, ok := g.Service(ref.ID)
	if !ok || u.Digest == g.Digest(ref.ID) && service.Wanted != units.WantedSpec {
		return
	}
	s.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(s.life, resyncTimeout)
		defer cancel()
		if err := s.renewNow(ctx, ref.ID); err != nil {
			s.Logger.Warn("cannot load the new definition of a service that has stopped, ignoring: its next start will", "service", ref.ID, "error", err)
		}
	})
}

func (s *Supervisor) renewNow(ctx context.Context, id units.ID) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	service, ok := s.graph.Load().Service(id)
	if !ok {
		return nil
	}
	alive, err := s.unitsNotDown(ctx, id)
	if err != nil || len(alive) > 0 {
		return err // somebody was quicker
	}
	if s.current(service) && service.Wanted != units.WantedSpec {
		return nil
	}
	return s.reload(ctx, service)
}
