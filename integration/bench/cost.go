package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	// watched is how long the daemon is watched while a service misbehaves.
	watched = 10 * time.Second
	// linesPerSecond is what the talkative service logs.
	linesPerSecond = 10_000
	// watchdogs are the wake-ups of the watchdog, a minute: there are to be no
	// others.
	watchdogs = 2
	// moment is what counts as one wake-up, however many threads wake each other
	// in it.
	moment = 100 * time.Millisecond
	// chatterArg has bench be that service.
	chatterArg = "-chatter"
)

// cost is what the daemon itself takes of the machine.
func cost(ctx context.Context, b *bench) error {
	for _, n := range []int{0, 500, 2000} {
		if err := b.running(ctx, n); err != nil {
			return err
		}
		mb, err := b.pss(ctx)
		if err != nil {
			return err
		}
		b.add("cost", fmt.Sprintf("PSS, %d services run, at first", n), ours, "MB", aim{}, mb)
		if n == 500 {
			if err := b.idling(ctx, n); err != nil {
				return err
			}
			if mb, err = b.pss(ctx); err != nil {
				return err
			}
			b.add("cost", fmt.Sprintf("PSS, %d services run, a minute later", n), ours, "MB", below(25), mb)
		}
	}
	talker := sleeper("talker", units.WantedStart)
	talker.Actions[0].Exec = []string{self, chatterArg}
	talker.Actions[0].LogRateBurst = 1 << 30
	if err := b.beside(ctx, talker, fmt.Sprintf("a service logs %d lines a second", linesPerSecond)); err != nil {
		return err
	}
	// systemd delays timers a little, to have several at once.
	crasher := sleeper("crasher", units.WantedStart)
	crasher.Actions[0].Exec = []string{"/bin/sh", "-c", "sleep 0.05; exit 1"}
	crasher.Actions[0].RestartDelay = time.Millisecond
	crasher.Actions[0].StartLimitBurst, crasher.Actions[0].StartLimitInterval = 1<<20, time.Second
	return b.beside(ctx, crasher, "a service crashes again and again")
}

// idling is what a daemon does that has nothing to do.
func (b *bench) idling(ctx context.Context, n int) error {
	// What a start leaves for later is done within its first minute.
	select {
	case <-time.After(b.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	pid, err := property[uint32](ctx, b, daemon, "Service", "MainPID")
	if err != nil {
		return err
	}
	before, err := cpuTime()
	if err != nil {
		return err
	}
	wakeups, err := awake(ctx, pid, b.idle)
	if err != nil {
		return err
	}
	after, err := cpuTime()
	if err != nil {
		return err
	}
	perMinute := time.Minute.Seconds() / b.idle.Seconds()
	what := fmt.Sprintf("idle, %d services run: ", n)
	b.add("cost", what+"CPU time a minute", ours, "ms", aim{}, float64((after-before).Microseconds())/1000*perMinute)
	b.add("cost", what+"wake-ups a minute", ours, "", below(watchdogs+1), float64(wakeups)*perMinute)
	return nil
}

// beside is what the daemon takes while a service misbehaves.
func (b *bench) beside(ctx context.Context, s units.Service, what string) error {
	if err := b.register(ctx, []units.Service{s}); err != nil {
		return err
	}
	if err := b.start(ctx, daemon); err != nil {
		return err
	}
	cpu, err := b.used(ctx, watched)
	if err != nil {
		return err
	}
	mb, err := b.pss(ctx)
	if err != nil {
		return err
	}
	restarts, err := property[uint32](ctx, b, s.Unit(), "Service", "NRestarts")
	if err != nil {
		return err
	}
	if restarts > 0 {
		what += fmt.Sprintf(" (%d times in %s)", restarts, watched)
	}
	b.add("cost", what+": CPU", ours, "%", aim{}, 100*cpu.Seconds()/watched.Seconds())
	b.add("cost", what+": PSS", ours, "MB", aim{}, mb)
	return b.clear(ctx)
}

// used is the CPU time that the daemon uses within some time.
func (b *bench) used(ctx context.Context, within time.Duration) (time.Duration, error) {
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(within):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := cpuTime()
	return after - before, err
}

// awake counts how often a process woke up within some time: the moments after
// one in which it slept, and in which any of its threads went to sleep again.
func awake(ctx context.Context, pid uint32, within time.Duration) (n int, err error) {
	before, err := voluntary(pid)
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(moment)
	defer tick.Stop()
	end := time.After(within)
	for was := false; ; {
		select {
		case <-tick.C:
		case <-end:
			return n, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		after, err := voluntary(pid)
		if err != nil {
			return 0, err
		}
		is := after != before
		if is && !was {
			n++
		}
		was, before = is, after
	}
}

// voluntary counts the voluntary context switches of all threads: proc(5).
func voluntary(pid uint32) (sum int, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		n, err := field(file, "voluntary_ctxt_switches:")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// pss is the daemon's share of memory, in MB: proc(5).
func (b *bench) pss(ctx context.Context) (mb float64, err error) {
	pid, err := property[uint32](ctx, b, daemon, "Service", "MainPID")
	if err != nil {
		return 0, err
	}
	kB, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	return float64(kB) / 1024, err
}

// field is a number in a file of /proc.
func field(file, name string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strconv.Atoi(strings.Fields(value)[0])
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// chatter logs lines for ever, as a service.
func chatter() {
	line := strings.Repeat("all is well ", 8) + "\n"
	for range time.Tick(10 * time.Millisecond) {
		for range linesPerSecond / 100 {
			_, _ = os.Stdout.WriteString(line)
		}
	}
}
