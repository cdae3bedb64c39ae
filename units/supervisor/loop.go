package supervisor

import (
	"context"
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// resyncRetry is how long after a failed resync the next one is tried.
const resyncRetry = time.Second

// upkeep is how often the loop looks after the store when nobody asks it to
// be awake more often.
const upkeep = time.Minute

// Run boots, says that the supervisor is ready, and then keeps it true to
// systemd until ctx ends. The API may be served before and during it.
func (s *Supervisor) Run(ctx context.Context) error {
	s.boot(ctx)
	if ctx.Err() != nil {
		return nil
	}
	s.ready.Store(true)
	s.touched.mark(nil, nil, false)
	summary := s.summary(ctx)
	s.Notify("READY=1\nSTATUS=" + summary)
	s.Logger.Info("ready", "status", summary, "took", s.Now().Sub(s.started).Round(time.Millisecond))

	interval := upkeep
	if s.Watchdog > 0 {
		interval = min(upkeep, s.Watchdog/2)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	// retry fires when a resync has failed.
	retry := time.NewTimer(0)
	if !retry.Stop() {
		<-retry.C
	}
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			s.Notify("STOPPING=1\nSTATUS=Stopping; the services run on")
			s.end()
			s.tasks.Wait()
			s.flush(context.WithoutCancel(ctx))
			return s.Store.BackUpIfChanged(context.WithoutCancel(ctx))
		case <-s.Systemd.Wake():
			if !s.changes(ctx) {
				retry.Reset(resyncRetry)
			}
		case <-retry.C:
			if err := s.resync(ctx); err != nil {
				s.Logger.Warn("cannot read the units again, trying again", "error", err)
				retry.Reset(resyncRetry)
			}
		case <-tick.C:
			// Only a loop that comes round says that it is alive.
			if s.Watchdog > 0 {
				s.Notify("WATCHDOG=1")
			}
			if err := s.Store.BackUpIfChanged(ctx); err != nil {
				s.Logger.Warn("cannot back up the store, trying again later", "error", err)
			}
		}
	}
}

// changes takes what systemd's signals marked, reads it again and brings the
// history up to date. It is false when everything must be read again later.
func (s *Supervisor) changes(ctx context.Context) bool {
	c := s.Systemd.Take()
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
	if c.All || c.Back {
		if err := s.resync(ctx); err != nil {
			s.Logger.Warn("cannot read the units again, trying again", "error", err)
			return false
		}
		return true
	}
	var seen []units.Unit
	for _, name := range c.Units {
		if !s.registered(name) {
			continue
		}
		u, err := s.Systemd.Unit(ctx, name)
		if err != nil {
			s.Logger.Debug("cannot read a unit that changed, ignoring: its next change, or the next resync, will", "unit", name, "error", err)
			continue
		}
		seen = append(seen, u)
	}
	if err := s.history.observe(ctx, seen...); err != nil {
		s.Logger.Error("cannot write the history", "units", fmt.Sprint(c.Units), "error", err)
	}
	for _, u := range seen {
		if ref, ok := units.ParseUnit(u.Name); ok {
			s.touch(ref.ID)
		}
		s.renew(ctx, u)
	}
	return true
}

// renew gives a unit that has ended the definition that the store has for it
// by now, so that whoever starts it next starts the new one.
func (s *Supervisor) renew(ctx context.Context, u units.Unit) {
	if u.Active != "inactive" && u.Active != "failed" || u.JobID != 0 {
		return
	}
	ref, _ := units.ParseUnit(u.Name)
	service, ok := s.graph.Load().Service(ref.ID)
	if !ok || !u.Loaded() || u.Digest == service.Digest() {
		return
	}
	s.control.Lock()
	defer s.control.Unlock()
	if err := s.reload(ctx, service); err != nil {
		s.Logger.Warn("cannot load the new definition of a service that has stopped, ignoring: its next start will", "service", service.ID, "error", err)
	}
}
