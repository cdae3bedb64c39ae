package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// crowds are how many clients there are at once.
var crowds = []int{1, 20, 100}

// measure registers the services and measures, as a client on this machine.
func measure(ctx context.Context, services, runs int) error {
	clients := make([]*client.Client, slices.Max(crowds))
	for i := range clients {
		c, err := client.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		clients[i] = c
	}
	begun := time.Now()
	for i := range services {
		def := map[string]any{
			"name": fmt.Sprint("web", i), "status": "stop", "description": "one of many",
			"actions": []any{map[string]any{"exec": "/usr/bin/sleep infinity"}},
		}
		if err := clients[0].Set(ctx, def, false); err != nil {
			return fmt.Errorf("service %d: %w", i, err)
		}
	}
	fmt.Fprintf(os.Stderr, "%d services registered in %.1f s\n", services, time.Since(begun).Seconds())

	var figures []figure
	for _, call := range []struct {
		name  string
		calls int // in a run
		do    func(c *client.Client, i int) error
	}{
		{"status of one", 1000, func(c *client.Client, i int) error {
			_, err := c.Status(ctx, units.ID{Context: "core", Name: fmt.Sprint("web", i%services)})
			return err
		}},
		{"list of all", 100, func(c *client.Client, _ int) error {
			list, err := c.Services(ctx)
			if err == nil && len(list) != services {
				err = fmt.Errorf("the list has %d services", len(list))
			}
			return err
		}},
	} {
		for _, crowd := range crowds {
			f := figure{Call: call.name, Clients: crowd, Calls: call.calls}
			var p50, p99, rate []float64
			for range runs {
				begun := time.Now()
				took, err := timed(clients[:crowd], call.calls, call.do)
				if err != nil {
					return fmt.Errorf("%s: %w", call.name, err)
				}
				rate = append(rate, float64(call.calls)/time.Since(begun).Seconds())
				p50, p99 = append(p50, percentile(took, 50)), append(p99, percentile(took, 99))
			}
			f.P50, f.P99, f.Rate = median(p50), median(p99), median(rate)
			figures = append(figures, f)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

// timed makes so many calls, shared out among the clients, and returns how
// long each took, sorted.
func timed(clients []*client.Client, calls int, do func(*client.Client, int) error) ([]time.Duration, error) {
	var (
		mu     sync.Mutex
		took   []time.Duration
		failed error
		all    sync.WaitGroup
	)
	for i, c := range clients {
		all.Go(func() {
			for n := i; n < calls; n += len(clients) {
				begun := time.Now()
				err := do(c, n)
				d := time.Since(begun)
				mu.Lock()
				took = append(took, d)
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took, failed
}

// record has the host's perf(1) record what the daemon does, until stop.
func record(ctx context.Context, m *machine.Machine, file string) (stop func(), err error) {
	// The daemon's process as the host counts: the one with that control
	// group, of all the host's machines.
	p, err := m.Properties(ctx, "hero_proc.service", "MainPID")
	if err != nil {
		return nil, err
	}
	out, err := m.Output(ctx, "readlink", "/proc/"+p["MainPID"]+"/ns/mnt")
	if err != nil {
		return nil, err
	}
	pid, err := processIn(strings.TrimSpace(out))
	if err != nil {
		return nil, err
	}
	perf := exec.Command("perf", "record", "--quiet", "--call-graph=fp", "--freq=499", "--output="+file, "--pid="+strconv.Itoa(pid))
	perf.Stderr = os.Stderr
	if err := perf.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = perf.Process.Signal(os.Interrupt)
		_ = perf.Wait()
	}, nil
}

// processIn is the process of that mount namespace; the daemon has one for itself.
func processIn(namespace string) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if link, _ := os.Readlink("/proc/" + e.Name() + "/ns/mnt"); link == namespace {
			return strconv.Atoi(e.Name())
		}
	}
	return 0, fmt.Errorf("no process has the mount namespace %s", namespace)
}
