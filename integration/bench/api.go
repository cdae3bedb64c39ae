package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// crowds are how many clients there are at once, each with its own connection.
var crowds = []int{1, 20, 100}

// calls are what is measured of the API.
var calls = []struct {
	name  string
	count int // in a run
	p50   aim // for one client
	p99   aim
	do    func(ctx context.Context, b *bench, c *client.Client, i int) error
	// floor is what systemd itself takes for what the call asks it.
	floor func(ctx context.Context, b *bench, i int) error
}{
	{"status of one", 1000, aim{}, below(5), func(ctx context.Context, b *bench, c *client.Client, i int) error {
		_, err := c.Status(ctx, units.ID{Context: "core", Name: serviceName(i % b.services)})
		return err
	}, func(ctx context.Context, b *bench, i int) error {
		return b.conn.Object(systemdName, b.paths[i%b.services]).CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, "").Err
	}},
	{"status of all", 100, below(50), aim{}, func(ctx context.Context, b *bench, c *client.Client, _ int) error {
		list, err := c.Services(ctx)
		if err == nil && len(list) != b.services {
			err = fmt.Errorf("the list has %d services", len(list))
		}
		return err
	}, func(ctx context.Context, b *bench, _ int) error {
		n, err := b.active(ctx, "hero-core-*.service")
		if err == nil && n != b.services {
			err = fmt.Errorf("systemd lists %d units", n)
		}
		return err
	}},
}

// api is the calls of the API while many services run.
func api(ctx context.Context, b *bench) error {
	if err := b.running(ctx, b.services); err != nil {
		return err
	}
	b.paths = make([]dbus.ObjectPath, b.services)
	for i, unit := range serviceUnits(b.services) {
		if err := b.systemd.CallWithContext(ctx, systemdManager+"GetUnit", 0, unit).Store(&b.paths[i]); err != nil {
			return err
		}
	}
	clients := make([]*client.Client, slices.Max(crowds))
	for i := range clients {
		c, err := client.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		clients[i] = c
	}
	for _, call := range calls {
		for _, crowd := range crowds {
			var p50, p99, rate, floor50, floor99 []float64
			for range b.runs {
				begun := time.Now()
				took, err := timed(clients[:crowd], call.count, func(c *client.Client, i int) error { return call.do(ctx, b, c, i) })
				if err != nil {
					return fmt.Errorf("%s: %w", call.name, err)
				}
				rate = append(rate, float64(call.count)/time.Since(begun).Seconds())
				p50, p99 = append(p50, percentile(took, 50)), append(p99, percentile(took, 99))
				if crowd > 1 {
					continue
				}
				if took, err = timed(clients[:1], call.count, func(_ *client.Client, i int) error { return call.floor(ctx, b, i) }); err != nil {
					return fmt.Errorf("%s, of systemd alone: %w", call.name, err)
				}
				floor50, floor99 = append(floor50, percentile(took, 50)), append(floor99, percentile(took, 99))
			}
			aim50, aim99, who := call.p50, call.p99, "1 client"
			if crowd > 1 {
				aim50, aim99, who = aim{}, aim{}, fmt.Sprintf("%d clients at once", crowd)
			}
			what := fmt.Sprintf("%s, of %d services, %s: ", call.name, b.services, who)
			b.add("api", what+"p50", ours, "ms", aim50, p50...)
			b.add("api", what+"p99", ours, "ms", aim99, p99...)
			b.add("api", what+"rate", ours, "calls/s", aim{}, rate...)
			if crowd == 1 {
				b.add("api", what+"p50", "systemd alone", "ms", aim{}, floor50...)
				b.add("api", what+"p99", "systemd alone", "ms", aim{}, floor99...)
			}
		}
	}
	return b.clear(ctx)
}

// running starts the daemon with so many services, and waits until all are up
// and the daemon is at rest.
func (b *bench) running(ctx context.Context, n int) error {
	if err := b.register(ctx, sleepers(n, units.WantedStart)); err != nil {
		return err
	}
	if n == 0 {
		if err := b.start(ctx, daemon); err != nil {
			return err
		}
	} else if err := startOurs(ctx, b, n); err != nil {
		return err
	}
	return b.settled(ctx)
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

// percentile of what is sorted, in milliseconds.
func percentile(took []time.Duration, p int) float64 {
	return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000
}
