package supervisor_test

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// What was met before a start is reported: at the boot, with the unit's
// changes, and only once until it has come up.
func TestWhatWasMetBeforeAStartIsReported(t *testing.T) {
	w := newWorld(t)
	unit := core("a").Unit()
	met := func(code units.EventCode, message string) {
		w.noted.put(unit, units.Event{Code: code, Service: core("a"), Message: message})
	}
	met(units.EventPortTaken, "before")
	d := w.boot()
	d.awaitEvents(1, units.EventPortTaken, "a")
	d.define(restarting("a", "ports", "80", "exec", "/bin/false", "start_limit_burst", 1000, "restart_delay", "10ms"))
	met(units.EventPortTaken, "now")
	if _, err := d.Start(t.Context(), core("a")); err != nil {
		t.Fatal(err)
	}
	d.awaitEvents(2, units.EventPortTaken, "a")
	met(units.EventPortTaken, "now")
	for names, _ := w.noted.units(); len(names) > 0; names, _ = w.noted.units() {
		time.Sleep(time.Millisecond) // until it is taken
	}
	met(units.EventHolderEnded, "later")
	d.awaitEvents(1, units.EventHolderEnded, "a")
	d.awaitEvents(2, units.EventPortTaken, "a")
}
