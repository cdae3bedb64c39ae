package plan

import (
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestQueued(t *testing.T) {
	t.Parallel()
	s := units.Service{ID: units.ID{Context: "core", Name: "web"}, Wanted: units.WantedStart, Actions: []units.Action{
		{Name: "migrate"}, {Name: "main", Process: true, DependsOn: []string{"migrate"}},
	}}
	unit := func(name, active string, job uint32) units.Unit {
		return units.Unit{Name: name, Load: "loaded", Active: active, JobID: job}
	}
	main := func(active string, job uint32) units.Unit { return unit("hero-core-web.service", active, job) }
	migrate := func(active string, job uint32) units.Unit {
		return unit("hero-core-web@migrate.service", active, job)
	}
	const db = "hero-core-db.service"
	for _, c := range []struct {
		name     string
		actions  []units.Unit
		requires []units.Unit
		said     Said
		reason   string // "" is that it is not queued
	}{
		{name: "down", actions: []units.Unit{migrate("inactive", 0), main("inactive", 0)}},
		{name: "up, and being stopped", actions: []units.Unit{migrate("active", 0), main("active", 7)}},
		{name: "starting", actions: []units.Unit{migrate("active", 0), main("activating", 7)}},
		{name: "stopping", actions: []units.Unit{migrate("active", 0), main("deactivating", 7)}},
		{name: "queued", actions: []units.Unit{migrate("active", 0), main("inactive", 7)}, reason: "its start is queued"},
		{name: "queued again after a failure", actions: []units.Unit{migrate("active", 0), main("failed", 7)}, reason: "its start is queued"},
		{name: "an action is under way", actions: []units.Unit{migrate("activating", 8), main("inactive", 7)},
			requires: []units.Unit{unit(db, "activating", 0)}, reason: `waits for action "migrate"`},
		{name: "what it requires is up", actions: []units.Unit{migrate("inactive", 8), main("inactive", 7)},
			requires: []units.Unit{unit(db, "active", 0)}, reason: "its start is queued"},
		{name: "what it requires is under way", actions: []units.Unit{migrate("inactive", 8), main("inactive", 7)},
			requires: []units.Unit{unit("hero-core-a.service", "inactive", 9), unit(db, "activating", 0)},
			said:     Said{db: "waiting for tcp:[::1]:1: connection refused"}, reason: "waits for core/db, waiting for tcp:[::1]:1: connection refused"},
		{name: "what it requires waits itself", actions: []units.Unit{migrate("inactive", 8), main("inactive", 7)},
			requires: []units.Unit{unit(db, "inactive", 9)}, reason: "waits for core/db, whose start is queued too"},
	} {
		r, queued := Queued(s, c.actions, c.requires, c.said)
		if queued != (c.reason != "") || r.Reason != c.reason || queued && r.State != units.StateActivating {
			t.Errorf("%s: %v, %+v; want %q", c.name, queued, r, c.reason)
		}
	}
}

func TestReadNamesTheActionThatKeptItBack(t *testing.T) {
	t.Parallel()
	action := func(name string, process bool, on ...string) units.Action {
		return units.Action{Name: name, Process: process, DependsOn: on}
	}
	s := units.Service{ID: units.ID{Context: "core", Name: "web"}, Wanted: units.WantedStart, Actions: []units.Action{
		action("fetch", false), action("migrate", false, "fetch"), action("main", true, "migrate"), action("sidecar", true, "main"),
	}}
	state := func(active string) units.Unit { return units.Unit{Load: "loaded", Active: active, Result: "exit-code"} }
	for _, c := range []struct {
		name                          string
		fetch, migrate, main, sidecar string
		state                         units.State
		reason                        string
	}{
		{"nothing failed", "inactive", "inactive", "inactive", "inactive", units.StateInactive, ""},
		{"what it depends on failed", "active", "failed", "inactive", "inactive", units.StateFailed, `action "migrate" is failed: exit-code`},
		{"what that depends on failed", "failed", "inactive", "inactive", "inactive", units.StateFailed, `action "fetch" is failed: exit-code`},
		{"what depends on it had failed before it was stopped", "inactive", "inactive", "inactive", "failed", units.StateInactive, ""},
		{"it runs, and what it depends on was run again", "active", "failed", "active", "active", units.StateDegraded, `action "migrate" is failed: exit-code`},
	} {
		r := Read(s, []units.Unit{state(c.fetch), state(c.migrate), state(c.main), state(c.sidecar)}, nil, nil, nil)
		if r.State != c.state || r.Reason != c.reason {
			t.Errorf("%s: %+v; want %s: %s", c.name, r, c.state, c.reason)
		}
	}
}
