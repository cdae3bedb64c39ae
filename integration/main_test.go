package integration

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

// Made by TestMain, and only read afterwards.
var (
	host *machine.Host
	// installed is a disk on which the package was installed, that was shut
	// down in good order, and whose hero_proc has nothing registered and no
	// history. Every test's machine stands on it.
	installed machine.Layers
	// bare is the disk without the package.
	bare machine.Layers
	// deb is the package.
	deb string
)

// patience bounds one test's waiting; a machine that is well answers in
// seconds.
const patience = 90 * time.Second

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := machine.UntilInterrupted()
	defer stop()
	logf := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	var err error
	if host, err = machine.Open(logf); err != nil {
		logf("%v", err)
		return 1
	}
	defer func() {
		if err := host.Close(); err != nil {
			logf("cannot clean up: %v", err)
		}
	}()
	// Tests know nothing of Ctrl-C: the machines are taken from under them.
	interrupted := context.AfterFunc(ctx, func() {
		_ = host.Close()
		os.Exit(130)
	})
	defer interrupted()
	if err := prepare(ctx); err != nil {
		logf("%v", err)
		return 1
	}
	return m.Run()
}

// prepare makes the disks.
func prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var err error
	if deb, err = Package("../dist", "deb"); err != nil {
		return err
	}
	if bare, err = host.Base(ctx); err != nil {
		return err
	}
	m, err := host.New(bare)
	if err != nil {
		return err
	}
	if err := m.Boot(ctx); err != nil {
		return err
	}
	if out, err := Install(ctx, m, deb); err != nil {
		return fmt.Errorf("cannot install %s: %w\n%s%s", deb, err, out, m.Report(ctx, "hero_proc.service"))
	}
	if err := m.PowerOff(ctx); err != nil {
		return err
	}
	// Its first start has reported that hero_db is missing.
	if _, err := m.Output(ctx, "rm", "-rf", "/var/lib/hero_proc"); err != nil {
		return err
	}
	installed, err = m.Freeze()
	return err
}
