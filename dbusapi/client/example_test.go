package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Register a service, start it, and wait until it is ready.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	err = c.Set(ctx, map[string]any{
		"name":    "hero_db",
		"actions": []map[string]any{{"exec": "/usr/bin/hero_db --port 6379", "ready": "notify"}},
	}, false)
	if err != nil {
		log.Fatal(err)
	}
	job, err := c.Start(ctx, units.ID{Context: "core", Name: "hero_db"})
	if err != nil {
		log.Fatal(err)
	}
	job, err = c.WaitReady(ctx, job.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Unit, job.Phase)
	// Output: hero-core-hero_db.service running
}

// A service registers itself, with what it needs. Once more with other values
// changes it; the wanted status stays the operator's.
func ExampleClient_Register() {
	ctx := context.Background()
	c, err := client.Dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	serve := units.NewAction("main")
	serve.Exec = []string{"/usr/bin/hero_books", "serve"}
	serve.Ready = units.ReadyNotify
	err = c.Register(ctx, units.Service{
		ID:          units.ID{Context: "core", Name: "hero_books"},
		Description: "the library",
		Requires:    []string{"hero_db"},
		Actions:     []units.Action{serve},
	})
	if err != nil {
		log.Fatal(err)
	}
	status, err := c.Status(ctx, units.ID{Context: "core", Name: "hero_books"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s wants %s: %s\n", status.ID, status.Wanted, status.Description)
	// Output: core/hero_books wants start: the library
}

// Ask for hero_db before using it. Any user may.
func ExampleClient_WaitActive() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	db, err := c.WaitActive(ctx, units.ID{Context: "core", Name: "hero_db"})
	if err != nil {
		log.Fatal(err) // it says why hero_db does not run
	}
	fmt.Println(db.ID, db.State)
	// Output: core/hero_db running
}

// Follow what changes. A value is a hint; what is read is the truth.
func ExampleClient_Watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := client.Dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	changes, err := c.Watch(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for change := range changes {
		if change.All { // the first one is
			services, err := c.Services(ctx)
			if err != nil {
				log.Fatal(err)
			}
			for _, s := range services {
				fmt.Println(s.ID, s.State)
			}
			cancel() // enough for an example: the channel is closed
		}
		for _, id := range change.Services {
			if s, err := c.Status(ctx, id); err == nil {
				fmt.Println(s.ID, s.State)
			}
		}
	}
	// Output:
	// core/hero_books inactive
	// core/hero_db running
}

// Errors have a code, and mostly the commands that mend them.
func ExampleClient_errors() {
	ctx := context.Background()
	c, err := client.Dial(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.Status(ctx, units.ID{Context: "core", Name: "hero_dbb"})
	switch units.CodeOf(err) {
	case units.CodeNoSuchService:
		fmt.Println(err)
	case units.CodeNotRunning:
		fmt.Println("hero_proc is down; a later call finds it again")
	}
	// Output: no service "core/hero_dbb" is registered
}
