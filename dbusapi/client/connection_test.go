package client_test

import (
	"context"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestTheBusComesBack(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s, c, job, waits := serving(t)
	broken := make(chan error, 1)
	go func() {
		_, err := c.Wait(ctx, job)
		broken <- err
	}()
	<-waits
	s.Bus.Stop()
	if err := <-broken; units.CodeOf(err) != units.CodeNotRunning {
		t.Errorf("the call in flight: error is %v; want %s", err, units.CodeNotRunning)
	}
	if _, err := c.Health(ctx); units.CodeOf(err) != units.CodeNotRunning {
		t.Errorf("without a bus: error is %v; want %s", err, units.CodeNotRunning)
	}
	s.Bus.Restart()
	for {
		// The client dials by itself; the daemon needs a moment too.
		status, err := c.Status(ctx, web)
		if err == nil {
			if status.State != units.StateRunning {
				t.Errorf("on the new bus the service reads as %s", status.State)
			}
			return
		}
		if units.CodeOf(err) != units.CodeNotRunning {
			t.Fatalf("on the new bus: %v", err)
		}
	}
}

// told is a controller that tells when somebody waits.
type told struct {
	dbusapi.Controller
	waits chan struct{}
}

func (c told) Wait(ctx context.Context, job int64) (units.Job, error) {
	c.waits <- struct{}{}
	return c.Controller.Wait(ctx, job)
}

// serving is a server that has one service with one job, and tells when
// somebody waits for it.
func serving(t *testing.T) (s *apitest.Server, c *client.Client, job int64, waits <-chan struct{}) {
	t.Helper()
	inside := make(chan struct{}, 1)
	s = apitest.Start(t, func(o *dbusapi.Options) { o.Controller = told{o.Controller, inside} })
	c = s.Client()
	if err := c.Set(testContext(t), definition(), false); err != nil {
		t.Fatal(err)
	}
	started, err := c.Start(testContext(t), web)
	if err != nil {
		t.Fatal(err)
	}
	return s, c, started.ID, inside
}

func TestClose(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, c, job, waits := serving(t)
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Wait(ctx, job)
		waiting <- err
	}()
	<-waits
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("the call in flight: error is %v; want %s", err, units.CodeCanceled)
	}
	if _, err := c.Health(context.Background()); units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("a call after it: error is %v; want %s", err, units.CodeCanceled)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing it again: %v", err)
	}
}
