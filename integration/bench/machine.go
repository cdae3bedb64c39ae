package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

const (
	stateDir = "/var/lib/hero_proc"
	// longStore is where the store with the long history is put, in the machine.
	longStore = "/var/tmp/long"
)

// onMachine makes the machine, has itself run in it, and reports.
func onMachine(ctx context.Context, s settings, dist, profile, results string, markdown bool) (err error) {
	r := report{place: place{CPUs: runtime.NumCPU(), Runs: s.runs}, Load: load()}
	r.CPU, r.MemoryMB = hardware()
	deb, err := integration.Package(dist, "deb")
	if err != nil {
		return err
	}
	r.Version = strings.Split(filepath.Base(deb), "_")[1]
	host, err := machine.Open(func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	m, err := newMachine(ctx, host, deb)
	if err != nil {
		return err
	}
	if r.System, err = m.Output(ctx, "sh", "-c", `. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r), $(systemctl --version | head -n1)"`); err != nil {
		return err
	}
	r.System = strings.TrimSpace(r.System)
	if results != "" {
		if err := r.load(results); err != nil {
			return err
		}
	}
	if profile != "" {
		stop, err := record(profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	for _, part := range s.parts {
		if err = r.measure(ctx, m, s, part); err != nil {
			break // what is measured by now is reported
		}
		if results != "" {
			if err := r.save(results); err != nil {
				return err
			}
		}
	}
	r.table(os.Stderr)
	if markdown {
		r.markdown(os.Stdout)
		return err
	}
	return errors.Join(err, r.json(os.Stdout))
}

// measure has the machine measure one part.
func (r *report) measure(ctx context.Context, m *machine.Machine, s settings, part string) error {
	var rows []row
	if part == "store" {
		var err error
		if rows, err = longHistory(ctx, m, s); err != nil {
			return err
		}
	}
	s.parts = []string{part}
	cmd, err := m.Command(ctx, append([]string{self}, s.args()...)...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("in the machine: %w\n%s", err, m.Report(ctx, "hero_proc.service"))
	}
	var inside []row
	if err := json.Unmarshal(out.Bytes(), &inside); err != nil {
		return err
	}
	r.replace(part, append(rows, inside...))
	return nil
}

// self is where bench is in the machine. It runs as a service there too.
const self = "/usr/local/bin/bench"

func newMachine(ctx context.Context, host *machine.Host, deb string) (*machine.Machine, error) {
	base, err := host.Base(ctx, "supervisor")
	if err != nil {
		return nil, err
	}
	m, err := host.New(base)
	if err != nil {
		return nil, err
	}
	if err := m.Boot(ctx); err != nil {
		return nil, err
	}
	if out, err := integration.Install(ctx, m, deb); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	// It is started beside ours, and not otherwise.
	if _, err := m.Output(ctx, "systemctl", "disable", "--now", "supervisor.service"); err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return m, m.CopyIn(ctx, exe, self)
}

// copyDir copies the files of a directory of the host into the machine.
func copyDir(ctx context.Context, m *machine.Machine, from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := m.CopyIn(ctx, filepath.Join(from, e.Name()), path.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// record has the host's perf(1) record what all processes do, until stop:
// systemd does most of the work. perf report --comm=hero_proc_serve is the daemon's.
func record(file string) (stop func(), err error) {
	perf := exec.Command("perf", "record", "--quiet", "--all-cpus", "--call-graph=fp", "--freq=499", "--output="+file)
	perf.Stderr = os.Stderr
	if err := perf.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = perf.Process.Signal(os.Interrupt)
		_ = perf.Wait()
	}, nil
}
