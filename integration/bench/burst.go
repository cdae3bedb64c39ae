package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// way is one way to start N services that do nothing.
type way struct {
	name string
	// ready makes all ready for the request, clear takes everything away again.
	ready func(ctx context.Context, b *bench, n int) error
	// start does it, from the request until all are up.
	start func(ctx context.Context, b *bench, n int) error
	clear func(ctx context.Context, b *bench, n int) error
}

const (
	// oursWhole counts the daemon's own start, too.
	oursWhole   = "hero_proc, from its exec"
	staticFiles = "static unit files"
	systemdRun  = "loop of systemd-run"
	supervisord = "supervisord"
)

// ways, side by side in each run.
var ways = []way{
	{ours, startDaemon, awaitServices, clearOurs},
	{oursWhole, nothing, startOurs, clearOurs},
	{staticFiles, writeStatic, startStatic, clearStatic},
	{systemdRun, nothing, startLoop, clearLoop},
	{supervisord, writeSupervisor, startSupervisor, clearSupervisor},
}

// burst is all of N services at once, from the request to the last one up.
func burst(ctx context.Context, b *bench) error {
	ways := ways
	if _, err := exec.LookPath(supervisord); err != nil {
		fmt.Fprintln(os.Stderr, "  there is no supervisord here, leaving it out")
		ways = ways[:len(ways)-1]
	}
	for _, n := range b.sizes {
		if err := b.register(ctx, sleepers(n, "start")); err != nil {
			return err
		}
		took := make([][]float64, len(ways))
		for range b.runs {
			for i, w := range ways {
				ms, err := b.once(ctx, w, n)
				if err != nil {
					return fmt.Errorf("%d services by %s: %w", n, w.name, err)
				}
				took[i] = append(took[i], ms)
			}
		}
		first, wanted := len(b.rows), burstAim(n)
		for i, w := range ways {
			var a aim
			if w.name == ours {
				a = wanted
			}
			b.add("burst", fmt.Sprintf("start %d services", n), w.name, "ms", a, took[i]...)
		}
		compare(b.rows[first:], wanted, staticFiles, systemdRun)
	}
	return nil
}

// burstAim is the ratio that ours is to have.
func burstAim(n int) aim {
	switch {
	case n < 500:
		return aim{}
	case n < 1000:
		return ratioBelow(1.05)
	default:
		return ratioBelow(1)
	}
}

func (b *bench) once(ctx context.Context, w way, n int) (ms float64, err error) {
	if err := w.ready(ctx, b, n); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.clear(ctx, b, n)) }()
	begun := time.Now()
	if err := w.start(ctx, b, n); err != nil {
		return 0, err
	}
	return since(begun), nil
}

func nothing(context.Context, *bench, int) error { return nil }

// startDaemon has the daemon started, up to when it has its name on the bus:
// what it does next is to start what is wanted.
func startDaemon(ctx context.Context, b *bench, n int) error {
	b.forget()
	if _, err := b.queue(ctx, "StartUnit", daemon); err != nil {
		return err
	}
	_, err := b.signal(ctx, "NameOwnerChanged")
	return err
}

func awaitServices(ctx context.Context, b *bench, n int) error {
	if err := b.jobs(ctx, serviceUnits(n)...); err != nil {
		return err
	}
	return b.allActive(ctx, "hero-core-*.service", n)
}

func startOurs(ctx context.Context, b *bench, n int) error {
	b.forget()
	if _, err := b.queue(ctx, "StartUnit", daemon); err != nil {
		return err
	}
	return awaitServices(ctx, b, n)
}

func (b *bench) allActive(ctx context.Context, pattern string, n int) error {
	up, err := b.active(ctx, pattern)
	if err == nil && up != n {
		err = fmt.Errorf("%d of %d services are active", up, n)
	}
	return err
}

func clearOurs(ctx context.Context, b *bench, n int) error { return b.clear(ctx) }

// Static unit files, pulled in by one target: the best that systemd can do.
const staticDir = "/run/systemd/system"

func staticUnits(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("benchstatic-%d.service", i)
	}
	return list
}

func writeStatic(ctx context.Context, _ *bench, n int) error { return writeTarget(ctx, n, "Wants") }

// writeTarget writes the files, and the target that has this dependency on all.
func writeTarget(ctx context.Context, n int, dependency string) error {
	if err := os.MkdirAll(staticDir, 0o755); err != nil {
		return err
	}
	for _, name := range staticUnits(n) {
		text := "[Unit]\nDescription=one of many\n[Service]\nType=exec\nExecStart=/usr/bin/sleep infinity\nSlice=benchstatic.slice\nRestart=on-failure\nRestartSec=1\n"
		if err := os.WriteFile(filepath.Join(staticDir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	list := strings.Join(staticUnits(n), " ")
	if err := os.WriteFile(filepath.Join(staticDir, "benchstatic.target"), []byte("[Unit]\n"+dependency+"="+list+"\n"), 0o644); err != nil {
		return err
	}
	return run(ctx, "systemctl", "daemon-reload")
}

func startStatic(ctx context.Context, b *bench, n int) error {
	b.forget()
	if _, err := b.queue(ctx, "StartUnit", "benchstatic.target"); err != nil {
		return err
	}
	if err := b.jobs(ctx, staticUnits(n)...); err != nil {
		return err
	}
	return b.allActive(ctx, "benchstatic-*.service", n)
}

func clearStatic(ctx context.Context, b *bench, n int) error {
	if err := b.stop(ctx, "benchstatic.target"); err != nil {
		return err
	}
	if err := b.stop(ctx, "benchstatic.slice"); err != nil {
		return err
	}
	for _, name := range append(staticUnits(n), "benchstatic.target") {
		if err := os.Remove(filepath.Join(staticDir, name)); err != nil {
			return err
		}
	}
	return run(ctx, "systemctl", "daemon-reload")
}

// A loop of systemd-run(1), each of which waits until its service is up.
func startLoop(ctx context.Context, b *bench, n int) error {
	const script = `i=0; while [ $i -lt "$1" ]; do
	systemd-run --quiet --unit=benchloop-$i --slice=benchloop.slice --property=Type=exec /usr/bin/sleep infinity || exit; i=$((i+1)); done`
	if err := run(ctx, "sh", "-c", script, "sh", strconv.Itoa(n)); err != nil {
		return err
	}
	return b.allActive(ctx, "benchloop-*.service", n)
}

func clearLoop(ctx context.Context, b *bench, n int) error { return b.stop(ctx, "benchloop.slice") }

// supervisord, as Debian has it. A program is up as soon as it was executed
// (startsecs=0), and logs nothing.
const supervisorConf = "/run/bench-supervisor.conf"

var supervisor *exec.Cmd

func writeSupervisor(ctx context.Context, b *bench, n int) error {
	var text strings.Builder
	fmt.Fprintf(&text, "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=/run/bench-supervisor.pid\nminfds=%d\nminprocs=%d\n", 4*n+1024, 4*n+1024)
	for i := range n {
		fmt.Fprintf(&text, "[program:web%d]\ncommand=/usr/bin/sleep infinity\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n", i)
	}
	return os.WriteFile(supervisorConf, []byte(text.String()), 0o644)
}

func startSupervisor(ctx context.Context, b *bench, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	supervisor = exec.Command("/usr/bin/supervisord", "-c", supervisorConf)
	supervisor.Stderr = os.Stderr
	if err := supervisor.Start(); err != nil {
		return err
	}
	for {
		up, err := sleeping(supervisor.Process.Pid, n)
		if err != nil || up == n {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d of %d programs are up: %w", up, n, ctx.Err())
		}
	}
}

// sleeping is how many children a process has, and that all of them execute
// sleep(1) by now, if they are n: proc(5).
func sleeping(pid, n int) (up int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	children := strings.Fields(string(text))
	if len(children) < n {
		return len(children), nil
	}
	for _, child := range children {
		if name, err := os.ReadFile("/proc/" + child + "/comm"); err == nil && string(name) == "sleep\n" {
			up++
		}
	}
	return up, nil
}

func clearSupervisor(ctx context.Context, b *bench, n int) error {
	if supervisor == nil || supervisor.Process == nil {
		return nil
	}
	if err := supervisor.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := supervisor.Wait()
	if supervisor.ProcessState.Exited() {
		err = nil // with whatever status
	}
	return err
}
