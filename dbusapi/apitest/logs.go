package apitest

import (
	"context"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// AddLog adds an entry to the log. Its ID, and its time if it has none, are given.
func (c *Controller) AddLog(e units.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.tick(); e.Time.IsZero() {
		e.Time = now
	}
	c.logs = append(c.logs, units.LogEntry{ID: int64(len(c.logs) + 1), Event: e})
}

// Logs implements dbusapi.Controller, as does PruneLogs.
func (c *Controller) Logs(_ context.Context, f units.LogFilter) ([]units.LogEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []units.LogEntry{}
	for _, e := range c.logs {
		if selects(f, e) {
			out = append(out, e)
		}
	}
	if f.Limit == 0 {
		f.Limit = units.DefaultLogLimit
	}
	return out[max(0, len(out)-f.Limit):], nil
}

func (c *Controller) PruneLogs(_ context.Context, f units.LogFilter) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.logs)
	c.logs = slices.DeleteFunc(c.logs, func(e units.LogEntry) bool { return selects(f, e) })
	return int64(before - len(c.logs)), nil
}

func selects(f units.LogFilter, e units.LogEntry) bool {
	return (f.Source == "" || e.Source == f.Source || strings.HasPrefix(e.Source, f.Source+".")) &&
		slices.Contains(f.Levels(), e.Level) &&
		(f.Context == "" || e.Service.Context == f.Context) &&
		(f.Service == "" || e.Service.Name == f.Service) &&
		(f.Since.IsZero() || !e.Time.Before(f.Since)) &&
		(f.Until.IsZero() || !e.Time.After(f.Until))
}
