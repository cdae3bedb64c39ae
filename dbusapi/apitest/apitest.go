// Package apitest serves hero_proc's real API on a private bus, with a
// controller that keeps everything in memory, for the tests of what calls the API.
//
// What lives here is test support alone. What never may: a test of its own
// that the daemon's code depends on, or a short cut past the bus.
package apitest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
)

// Deadline bounds whatever a test waits for.
const Deadline = 20 * time.Second

// Server is a running API. It ends with the test.
type Server struct {
	// Address is what DBUS_SYSTEM_BUS_ADDRESS would hold.
	Address string
	// Controller is what stands behind the API.
	Controller *Controller
	Bus        *privatebus.Bus

	t testing.TB
}

// Start starts a bus and serves the API on it. It returns once the name is
// held. Every caller counts as root, whoever runs the test; options may change
// that, and anything else.
func Start(t testing.TB, options ...func(*dbusapi.Options)) *Server {
	t.Helper()
	bus := privatebus.Start(t)
	s := &Server{Address: bus.Address, Controller: NewController(), Bus: bus, t: t}
	files := &wire.Files{}
	o := dbusapi.Options{
		Files:      files,
		Controller: s.Controller,
		Logger:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		Dial: func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
			return wire.DialFiles(ctx, bus.Address, wire.MaxCall, files, opts...)
		},
		UID: func(context.Context, *dbus.Conn, string) (uint32, error) { return 0, nil },
	}
	for _, option := range options {
		option(&o)
	}
	api := dbusapi.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the API ended with %v", err)
		}
	})
	select {
	case <-api.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("the API did not come up: %v", err)
	case <-time.After(Deadline):
		t.Fatalf("the API did not come up within %v", Deadline)
	}
	return s
}

// Client is a client of the API that ends with the test.
func (s *Server) Client() *client.Client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	c, err := client.DialAddress(ctx, s.Address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}
