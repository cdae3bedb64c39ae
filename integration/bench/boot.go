package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// recovered is how many services run when the daemon is killed.
const recovered = 500

// boot is how long the daemon takes to be ready, from its execution; and to be
// back.
func boot(ctx context.Context, b *bench) error {
	if err := b.bootWith(ctx, "exec to READY, nothing registered", below(60), nil); err != nil {
		return err
	}
	if err := b.bootWith(ctx, fmt.Sprintf("exec to READY, %d registered, none to start", b.services), below(300), sleepers(b.services, units.WantedStop)); err != nil {
		return err
	}
	if err := b.bootHeroDB(ctx); err != nil {
		return err
	}
	return b.bootAfterKill(ctx)
}

func (b *bench) bootWith(ctx context.Context, what string, a aim, services []units.Service) error {
	if err := b.register(ctx, services); err != nil {
		return err
	}
	var took, sandbox, loaded []float64
	for range b.runs {
		if services != nil {
			ms, err := b.loadStatic(ctx, len(services))
			if err != nil {
				return err
			}
			loaded = append(loaded, ms)
		}
		if err := b.start(ctx, daemon); err != nil {
			return err
		}
		ms, before, err := b.readyIn(ctx)
		if err != nil {
			return err
		}
		took, sandbox = append(took, ms), append(sandbox, before)
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	b.add("boot", what, ours, "ms", a, took...)
	if services == nil {
		b.add("boot", "fork to exec, for systemd to make the daemon's sandbox", "systemd", "ms", aim{}, sandbox...)
		return nil
	}
	b.add("boot", fmt.Sprintf("load %d units, none to start", len(services)), staticFiles, "ms", aim{}, loaded...)
	compare(b.rows[len(b.rows)-2:], a, staticFiles)
	return nil
}

// loadStatic is how long systemd takes to load as many unit files, which it does
// as soon as something that it starts names them.
func (b *bench) loadStatic(ctx context.Context, n int) (ms float64, err error) {
	if err := writeTarget(ctx, n, "After"); err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := b.start(ctx, "benchstatic.target"); err != nil {
		return 0, err
	}
	ms = since(begun)
	all, err := b.count(ctx, "loaded", "benchstatic-*.service")
	if err == nil && all != n {
		err = fmt.Errorf("%d of %d units are loaded", all, n)
	}
	return ms, errors.Join(err, clearStatic(ctx, b, n))
}

// readyIn is how long the daemon took from its execution until it was ready,
// and how long systemd had taken before that, from its fork.
func (b *bench) readyIn(ctx context.Context) (ms, before float64, err error) {
	ready, err := property[uint64](ctx, b, daemon, "Unit", "ActiveEnterTimestamp")
	if err != nil {
		return 0, 0, err
	}
	executed, err := b.execs.last(time.UnixMicro(int64(ready)))
	if err != nil {
		return 0, 0, err
	}
	whole, err := b.upIn(ctx, daemon)
	ms = float64(int64(ready)-executed.UnixMicro()) / 1000
	return ms, whole - ms, err
}

// upIn is how long a unit took from the fork for its program until it was
// active.
func (b *bench) upIn(ctx context.Context, unit string) (ms float64, err error) {
	begun, err := property[uint64](ctx, b, unit, "Service", "ExecMainStartTimestampMonotonic")
	if err != nil {
		return 0, err
	}
	up, err := property[uint64](ctx, b, unit, "Unit", "ActiveEnterTimestampMonotonic")
	return float64(up-begun) / 1000, err
}

// bootHeroDB has a redis-server for hero_db.
func (b *bench) bootHeroDB(ctx context.Context) error {
	db := sleeper(units.HeroDB, units.WantedStart)
	db.Actions[0].Exec = []string{"/usr/bin/redis-server", "--dir", "/var/tmp"}
	db.Actions[0].Ready = "redis://127.0.0.1:6379"
	if err := b.register(ctx, []units.Service{db}); err != nil {
		return err
	}
	var all, own, beyond []float64
	for range b.runs {
		if err := b.start(ctx, daemon); err != nil {
			return err
		}
		daemons, _, err := b.readyIn(ctx)
		if err != nil {
			return err
		}
		its, err := b.upIn(ctx, db.Unit())
		if err != nil {
			return err
		}
		all, own, beyond = append(all, daemons), append(own, its), append(beyond, daemons-its)
		if err := b.clear(ctx); err != nil {
			return err
		}
	}
	b.add("boot", "exec to READY, with hero_db (a redis-server)", ours, "ms", aim{}, all...)
	b.add("boot", "exec to ready of hero_db in it", "redis-server", "ms", aim{}, own...)
	b.add("boot", "exec to READY, beyond what hero_db takes", ours, "ms", below(50), beyond...)
	return nil
}

// bootAfterKill kills the daemon while services run, and waits for its return.
func (b *bench) bootAfterKill(ctx context.Context) error {
	if err := b.register(ctx, sleepers(recovered, units.WantedStart)); err != nil {
		return err
	}
	if err := startOurs(ctx, b, recovered); err != nil {
		return err
	}
	if err := b.settled(ctx); err != nil {
		return err
	}
	before, err := invocations(ctx)
	if err != nil {
		return err
	}
	var answers, ready, boots []float64
	for range b.runs {
		pid, err := property[uint32](ctx, b, daemon, "Service", "MainPID")
		if err != nil {
			return err
		}
		b.forget()
		begun := time.Now()
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			return err
		}
		if err := b.answering(ctx); err != nil {
			return err
		}
		answers = append(answers, since(begun))
		if err := b.jobs(ctx, daemon); err != nil {
			return err
		}
		ready = append(ready, since(begun))
		up, _, err := b.readyIn(ctx)
		if err != nil {
			return err
		}
		boots = append(boots, up)
		if err := b.settled(ctx); err != nil {
			return err
		}
	}
	after, err := invocations(ctx)
	if err != nil {
		return err
	}
	for unit, invocation := range before {
		if after[unit] != invocation {
			return fmt.Errorf("%s was restarted with the daemon: its invocation was %s, and is %s", unit, invocation, after[unit])
		}
	}
	what := fmt.Sprintf(", %d services run", recovered)
	b.add("boot", "kill -9 to the first answer"+what, ours, "ms", below(300), answers...)
	b.add("boot", "kill -9 to READY, none restarted"+what, ours, "ms", below(300), ready...)
	b.add("boot", "exec to READY in it"+what, ours, "ms", aim{}, boots...)
	return b.clear(ctx)
}

// answering waits until the daemon has its name again, and lists its services.
func (b *bench) answering(ctx context.Context) error {
	for {
		body, err := b.signal(ctx, "NameOwnerChanged")
		if err != nil {
			return err
		}
		if owner, _ := body[2].(string); owner != "" {
			break
		}
	}
	c, err := client.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Services(ctx)
	return err
}

// invocations are those of all services, by their units.
func invocations(ctx context.Context) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=Id,InvocationID", "hero-core-*.service").Output()
	list := map[string]string{}
	for block := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n\n") {
		var unit, invocation string
		if _, err := fmt.Sscanf(block, "Id=%s\nInvocationID=%s", &unit, &invocation); err != nil {
			return nil, fmt.Errorf("systemctl show says %q: %w", block, err)
		}
		list[unit] = invocation
	}
	return list, err
}

// settled waits until the daemon has had little to do for a second.
func (b *bench) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		before, err := cpuTime()
		if err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not come to rest: %w", ctx.Err())
		}
		after, err := cpuTime()
		if err != nil || after-before < 5*time.Millisecond {
			return err
		}
	}
}

// cpuTime is what the daemon has used: cgroups(7).
func cpuTime() (time.Duration, error) {
	text, err := os.ReadFile("/sys/fs/cgroup/system.slice/" + daemon + "/cpu.stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			µs, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(µs) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("the daemon's cpu.stat has no usage_usec")
}
