package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
	"forge.ourworld.tf/lhumina_code/hero_proc/store"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	// sustained is how long jobs are written one by one.
	sustained = 3 * time.Second
	// historyOf is how many services the long history is of.
	historyOf = 100
	// retained is how many of its jobs stay: HERO_PROC_RETAIN_TOTAL=.
	retained = 100_000
	// batch is how many jobs of the long history are written at once.
	batch = 5000
)

// longHistory writes jobs on the host, as a machine's disk has no syncs, and
// puts the store into the machine.
func longHistory(ctx context.Context, m *machine.Machine, s settings) ([]row, error) {
	fmt.Fprintf(os.Stderr, "store: a history of %d jobs\n", s.long)
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(cache, "hero_proc-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := &bench{settings: s}
	var rates []float64
	for run := range s.runs {
		rate, err := oneByOne(ctx, filepath.Join(dir, fmt.Sprint("run", run)))
		if err != nil {
			return nil, err
		}
		rates = append(rates, rate)
	}
	b.add("store", "jobs written a second, each begun and ended", ours, "jobs/s", aim{}, rates...)
	long := filepath.Join(dir, "long")
	took, err := fill(ctx, long, s.long)
	if err != nil {
		return nil, err
	}
	b.add("store", fmt.Sprintf("jobs written a second, %d at once", batch), ours, "jobs/s", aim{}, float64(s.long)/took.Seconds())
	return b.rows, copyDir(ctx, m, long, longStore)
}

// sizeOf is the size of the store's file.
func sizeOf(dir string) (mb float64, err error) {
	info, err := os.Stat(filepath.Join(dir, "hero_proc.db"))
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / (1 << 20), nil
}

// oneByOne is how many jobs a second begin and end, each in transactions of
// its own, as the supervisor writes them.
func oneByOne(ctx context.Context, dir string) (rate float64, err error) {
	db, _, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	begun, n := time.Now(), 0
	for ; time.Since(begun) < sustained; n++ {
		j := job(n, begun)
		ended := j
		j.Phase, j.Ended = units.PhaseRunning, time.Time{}
		if err := db.SaveJobs(ctx, []units.Record{{Job: &j, Origin: units.OriginAPI}}); err != nil {
			return 0, err
		}
		ended.ID, ended.Run = j.ID, j.Run
		if err := db.SaveJobs(ctx, []units.Record{{Job: &ended}}); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// fill writes a long history.
func fill(ctx context.Context, dir string, jobs int) (took time.Duration, err error) {
	db, _, err := store.Open(ctx, dir, store.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, s := range sleepers(historyOf, units.WantedStop) {
		if _, err := db.UpdateService(ctx, s.ID, func(*units.Service) (units.Service, error) { return s, nil }); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	for n := 0; n < jobs; {
		var records []units.Record
		for range min(batch, jobs-n) {
			j := job(n, begun.Add(time.Duration(n-jobs)*time.Millisecond))
			records = append(records, units.Record{Job: &j, Origin: units.OriginAPI})
			n++
		}
		if err := db.SaveJobs(ctx, records); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// job is the n-th job, and over.
func job(n int, created time.Time) units.Job {
	id := units.ID{Context: "core", Name: serviceName(n % historyOf)}
	return units.Job{
		Service: id, Action: "main", Unit: id.Unit(), Attempt: 1, Phase: units.PhaseFailed,
		InvocationID: fmt.Sprintf("%032x", n+1), MainPID: uint32(n%30000 + 2),
		Created: created, Started: created, Ended: created, Result: "exit-code", ExitCode: 1, ExitStatus: 1,
	}
}

// history has the daemon look at the long history.
func history(ctx context.Context, b *bench) error {
	if err := b.clear(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(stateDir); err != nil {
		return err
	}
	if err := os.Rename(longStore, stateDir); err != nil {
		return err
	}
	of := fmt.Sprintf(", a history of %d jobs", b.long)
	before, err := sizeOf(stateDir)
	if err != nil {
		return err
	}
	b.add("store", "size"+of, ours, "MB", aim{}, before)
	if err := b.start(ctx, daemon); err != nil {
		return err
	}
	ms, _, err := b.readyIn(ctx)
	if err != nil {
		return err
	}
	b.add("store", "exec to READY"+of, ours, "ms", aim{}, ms)
	if b.long > retained {
		if ms, err = b.bounded(ctx); err != nil {
			return err
		}
		b.add("store", "bounding it, beside the work"+of, ours, "ms", aim{}, ms)
	}
	after, err := sizeOf(stateDir)
	if err != nil {
		return err
	}
	b.add("store", "size when it is bounded"+of, ours, "MB", aim{}, after)
	var boots []float64
	for range b.runs {
		if err := b.stop(ctx, daemon); err != nil {
			return err
		}
		if err := b.start(ctx, daemon); err != nil {
			return err
		}
		if ms, _, err = b.readyIn(ctx); err != nil {
			return err
		}
		boots = append(boots, ms)
		if err := b.settled(ctx); err != nil {
			return err
		}
	}
	b.add("store", "exec to READY when it is bounded"+of, ours, "ms", aim{}, boots...)
	if err := b.command(ctx, "store", of, "job", "list"); err != nil {
		return err
	}
	return b.clear(ctx)
}

// bounded waits until the daemon says that it has bounded the history, and how
// long it took.
func (b *bench) bounded(ctx context.Context) (ms float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	follow := exec.CommandContext(ctx, "journalctl", "--boot", "--follow", "--lines=all", "--unit="+daemon, "--output=cat")
	out, err := follow.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := follow.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = follow.Wait() }()
	defer cancel()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, took, ok := strings.Cut(lines.Text(), "bounded the history"); ok {
			_, took, _ = strings.Cut(took, "took=")
			d, err := time.ParseDuration(strings.Fields(took + " ?")[0])
			return float64(d.Microseconds()) / 1000, err
		}
	}
	return 0, fmt.Errorf("the daemon does not say that it has bounded the history: %w", context.Cause(ctx))
}
