package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// counted is a controller that tells of each look at a service.
type counted struct {
	dbusapi.Controller
	reads chan<- struct{}
}

func (c counted) Status(ctx context.Context, id units.ID) (units.Status, error) {
	c.reads <- struct{}{}
	return c.Controller.Status(ctx, id)
}

func TestWaitActive(t *testing.T) {
	t.Parallel()
	ctx, reads := testContext(t), make(chan struct{}, 100)
	s := apitest.Start(t, func(o *dbusapi.Options) { o.Controller = counted{o.Controller, reads} })
	c := s.Client()
	if _, err := c.WaitActive(ctx, web); units.CodeOf(err) != units.CodeNoSuchService {
		t.Errorf("not registered: error is %v", err)
	}
	if err := c.Set(ctx, definition(), false); err != nil {
		t.Fatal(err)
	}
	s.Controller.Hold(web)
	if _, err := c.Start(ctx, web); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		status units.Status
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		status, err := s.Client().WaitActive(ctx, web)
		answered <- answer{status, err}
	}()
	// The read of the one that found nothing, the first one of the other, and
	// the one once it watches. From now on only a signal can wake it.
	for range 3 {
		<-reads
	}
	s.Controller.Release(web)
	select {
	case a := <-answered:
		if a.err != nil || a.status.State != units.StateRunning || a.status.ID != web {
			t.Errorf("it answered %+v", a)
		}
	case <-time.After(5 * time.Second): // far less than it would take without signals
		t.Fatal("the signal that the service runs woke nobody")
	}
	if status, err := c.WaitActive(ctx, web); err != nil || status.State != units.StateRunning {
		t.Errorf("of a service that runs: %+v, %v", status, err)
	}
}

func TestWaitActiveSurvivesTheBus(t *testing.T) {
	t.Parallel()
	ctx, reads := testContext(t), make(chan struct{}, 100)
	s := apitest.Start(t, func(o *dbusapi.Options) { o.Controller = counted{o.Controller, reads} })
	c := s.Client()
	if err := c.Set(ctx, definition(), false); err != nil {
		t.Fatal(err)
	}
	s.Controller.Hold(web)
	if _, err := c.Start(ctx, web); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		status, err := c.WaitActive(ctx, web)
		if err == nil && status.State != units.StateRunning {
			err = errors.New("it reads as " + string(status.State))
		}
		waited <- err
	}()
	<-reads
	<-reads // it watches
	s.Bus.Restart()
	s.Controller.Release(web)
	if err := <-waited; err != nil {
		t.Errorf("after the bus was restarted: %v", err)
	}
}

func TestWaitActiveSaysWhyNot(t *testing.T) {
	t.Parallel()
	ctx, s := testContext(t), apitest.Start(t)
	c := s.Client()
	if err := c.Set(ctx, definition(), false); err != nil {
		t.Fatal(err)
	}
	s.Controller.Fail(web, "exit-code")
	if _, err := c.Start(ctx, web); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		end   func(context.Context) (context.Context, context.CancelFunc)
		code  units.Code
		cause error
	}{
		{"the time is up", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*time.Second)
		}, units.CodeTimeout, context.DeadlineExceeded},
		{"canceled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(2*time.Second, cancel)
			return ctx, cancel
		}, units.CodeCanceled, context.Canceled},
	} {
		short, cancel := tt.end(ctx)
		_, err := c.WaitActive(short, web)
		cancel()
		var e *units.Error
		if !errors.As(err, &e) || e.Code != tt.code || !errors.Is(err, tt.cause) ||
			!strings.Contains(e.Message, `"core/web"`) || !strings.Contains(e.Message, "reads as failed: unit hero-core-web.service failed") ||
			!strings.Contains(e.Remedy, "journalctl -u hero-core-web.service") {
			t.Errorf("%s: error is %#v", tt.name, err)
		}
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	ctx, c := testContext(t), apitest.Start(t).Client()
	action := units.NewAction("main")
	action.Exec = []string{"/usr/bin/web", "--port", "80"}
	service := units.Service{ID: web, Description: "first", Actions: []units.Action{action}}
	for _, tt := range []struct {
		name     string
		operator units.Wanted // what the operator has set before
		wanted   units.Wanted // what registers
		want     units.Wanted
	}{
		{name: "a new service is started at boot", want: units.WantedStart},
		{name: "the operator's wish stays", operator: units.WantedStop, want: units.WantedStop},
		{name: "unless another one is said", operator: units.WantedStop, wanted: units.WantedIgnore, want: units.WantedIgnore},
	} {
		if tt.operator != "" {
			if err := c.Set(ctx, map[string]any{"name": "web", "status": string(tt.operator)}, true); err != nil {
				t.Fatal(err)
			}
		}
		service.Wanted, service.Description = tt.wanted, tt.name
		if err := c.Register(ctx, service); err != nil {
			t.Fatal(err)
		}
		status, err := c.Status(ctx, web)
		if err != nil || status.Wanted != tt.want || status.Description != tt.name {
			t.Errorf("%s: it is %+v, %v; want %s", tt.name, status, err, tt.want)
		}
	}
	service.Actions[0].Exec = nil
	if err := c.Register(ctx, service); units.CodeOf(err) != units.CodeInvalidDefinition {
		t.Errorf("without a command: error is %v", err)
	}
	if err := c.Register(ctx, units.Service{}); units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("without a name: error is %v", err)
	}
}
