package plan

import (
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestAwaiting(t *testing.T) {
	t.Parallel()
	id := units.ID{Context: "core", Name: "web"}
	unit := func(active string) units.Unit {
		return units.Unit{Name: "hero-core-api.service", Load: "loaded", Active: active}
	}
	inactive := Reading{State: units.StateInactive}
	stopping := Reading{State: units.StateInactive, Reason: "is stopping (stop-sigterm)"}
	failed := Reading{State: units.StateFailed, Reason: "x"}
	blocked := func(reason string) Reading {
		return Reading{units.StateBlocked, reason, "hero_proc service why core/web"}
	}
	for _, tt := range []struct {
		name     string
		reading  Reading
		wanted   units.Wanted
		requires []units.Unit
		awaits   bool
		want     Reading
	}{
		{"what it requires was kept from starting", inactive, units.WantedStart, []units.Unit{unit("inactive")}, true, blocked("it requires hero-core-api.service, which is inactive")},
		{"what it requires is stopping", inactive, units.WantedStart, []units.Unit{unit("deactivating")}, true, blocked("it requires hero-core-api.service, which is deactivating")},
		{"what it requires is not loaded", inactive, units.WantedStart, []units.Unit{{Name: "hero-core-api.service", Load: "not-found", Active: "inactive"}}, true,
			blocked("it requires hero-core-api.service, which is not loaded")},
		{"one of two", inactive, units.WantedStart, []units.Unit{unit("active"), unit("inactive")}, true, blocked("it requires hero-core-api.service, which is inactive")},
		{"what it requires is up again", inactive, units.WantedStart, []units.Unit{unit("active")}, true, inactive},
		{"what it requires starts", inactive, units.WantedStart, []units.Unit{unit("activating")}, true, inactive},
		{"it requires nothing", inactive, units.WantedStart, nil, true, inactive},
		{"it was stopped, or never started", inactive, units.WantedStart, []units.Unit{unit("inactive")}, false, inactive},
		{"it is not wanted", inactive, units.WantedStop, []units.Unit{unit("inactive")}, true, inactive},
		{"it has a reason of its own", stopping, units.WantedStart, []units.Unit{unit("inactive")}, true, stopping},
		{"it reads as something else", failed, units.WantedStart, []units.Unit{unit("inactive")}, true, failed},
	} {
		s := units.Service{ID: id, Wanted: tt.wanted}
		if got := Awaiting(tt.reading, s, tt.requires, tt.awaits, nil); got != tt.want {
			t.Errorf("%s: it reads as %+v; want %+v", tt.name, got, tt.want)
		}
	}
}
