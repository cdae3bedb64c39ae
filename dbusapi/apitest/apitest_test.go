package apitest

import (
	"context"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// The controller stands in for the supervisor in other tests, so it must not
// say what the supervisor wouldn't.
func TestControllerIsHonest(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	s := Start(t)
	c := s.Client()
	web := units.ID{Context: "core", Name: "web"}
	def := map[string]any{"name": "web", "requires": []string{"db"}, "actions": []any{map[string]any{"exec": "/bin/sleep 1h"}}}

	check := func(what string, err error, code units.Code) {
		t.Helper()
		switch {
		case code == "" && err != nil:
			t.Fatalf("%s: %v", what, err)
		case code != "" && (err == nil || units.CodeOf(err) != code):
			t.Errorf("%s: error is %v; want code %s", what, err, code)
		}
	}
	state := func(want units.State) {
		t.Helper()
		st, err := c.Status(ctx, web)
		if err != nil || st.State != want {
			t.Fatalf("state is %q (%s), error %v; want %q", st.State, st.Reason, err, want)
		}
	}

	_, err := c.Start(ctx, web)
	check("start of nothing", err, units.CodeNoSuchService)
	check("set", c.Set(ctx, def, false), "")
	state(units.StateBlocked)
	_, err = c.Start(ctx, web)
	check("start with a missing dependency", err, units.CodeBlocked)
	check("merge", c.Set(ctx, map[string]any{"name": "web", "requires": []string{}}, true), "")
	state(units.StateInactive)

	s.Controller.Hold(web)
	job, err := c.Start(ctx, web)
	check("start", err, "")
	state(units.StateActivating)
	s.Controller.Release(web)
	ready, err := c.WaitReady(ctx, job.ID)
	check("wait for ready", err, "")
	if ready.Phase != units.PhaseRunning {
		t.Errorf("job is %s; want %s", ready.Phase, units.PhaseRunning)
	}
	state(units.StateRunning)
	check("remove while it runs", c.Remove(ctx, web, false), units.CodeInUse)

	check("change", c.Set(ctx, map[string]any{"name": "web", "actions": []any{map[string]any{"exec": "/bin/true"}}}, true), "")
	if st, err := c.Status(ctx, web); err != nil || !st.Stale {
		t.Errorf("stale is %v, error %v; want a running unit with an older definition to be stale", st.Stale, err)
	}
	s.Controller.Fail(web, "exit-code")
	state(units.StateFailed)
	failed, err := c.Wait(ctx, job.ID)
	check("wait", err, "")
	if failed.Phase != units.PhaseFailed || failed.Result != "exit-code" {
		t.Errorf("job is %s with result %q; want failed with exit-code", failed.Phase, failed.Result)
	}
	s.Controller.Fail(web, "")
	again, err := c.Restart(ctx, web)
	check("restart", err, "")
	if again.ID == job.ID {
		t.Errorf("restart answered the old job %d", job.ID)
	}
	stopped, err := c.Stop(ctx, web)
	check("stop", err, "")
	if stopped.Phase != units.PhaseCanceled {
		t.Errorf("job is %s; want %s", stopped.Phase, units.PhaseCanceled)
	}
	state(units.StateInactive)

	check("spec", c.Set(ctx, map[string]any{"name": "web", "status": "spec"}, true), "")
	_, err = c.Start(ctx, web)
	check("start of a spec", err, units.CodeNotStartable)
	check("remove", c.Remove(ctx, web, false), "")
	if list, err := c.Services(ctx); err != nil || len(list) != 0 {
		t.Errorf("services are %v, error %v; want none", list, err)
	}
}
