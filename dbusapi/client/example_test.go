package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Register a service, start it, and wait until it is ready.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()

	err = c.Set(ctx, map[string]any{
		"name":    "hero_db",
		"actions": []map[string]any{{"exec": "/usr/bin/hero_db --port 6379", "ready": "notify"}},
	}, false)
	if err != nil {
		log.Print(err)
		return
	}
	job, err := c.Start(ctx, units.ID{Context: "core", Name: "hero_db"})
	if err != nil {
		log.Print(err)
		return
	}
	job, err = c.WaitReady(ctx, job.ID)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println(job.Unit, job.Phase)
	// It prints: hero-core-hero_db.service running
}

// The example as it stands above, with a private bus for the system bus.
func TestExample(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", apitest.Start(t).Address)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stdout := os.Stdout
	os.Stdout = w
	Example()
	os.Stdout = stdout
	w.Close()
	got, err := io.ReadAll(r)
	if want := "hero-core-hero_db.service running\n"; err != nil || string(got) != want {
		t.Errorf("it printed %q, %v; want %q", got, err, want)
	}
}
