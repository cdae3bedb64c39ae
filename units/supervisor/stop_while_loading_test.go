package supervisor_test

import (
	"context"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// The stop comes while the new definition is being loaded, just before it is started.
func TestStopWhileARestartLoads(t *testing.T) {
	w := newWorld(t)
	id := units.ID{Context: "core", Name: "a"}
	var d *daemon
	loading, armed := make(chan struct{}), false
	asked := make(chan error)
	w.wrap = func(pid1 supervisor.Systemd) supervisor.Systemd {
		return &between{Systemd: pid1, make: func() error {
			if !armed {
				return nil
			}
			armed = false
			close(loading)
			return <-asked
		}}
	}
	d = w.boot()
	d.define(def("a", "/bin/a"))
	if _, err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	d.define(def("a", "/bin/a --new"))
	armed = true
	restart, err := d.Restart(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	<-loading
	stopped := make(chan error, 1)
	go func() { _, err := d.Stop(t.Context(), id); stopped <- err }()
	select {
	case err := <-stopped: // answered at once, as it is now
		if err != nil {
			t.Fatal(err)
		}
		asked <- nil
	case <-time.After(500 * time.Millisecond): // or it waits for control
		asked <- nil
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if ended, err := d.Wait(ctx, restart.ID); err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the job of the restart is %+v, %v; want it canceled", ended, err)
	}
	if s := d.status("a"); s.State != units.StateInactive {
		t.Errorf("a is %s", s.State)
	}
}
