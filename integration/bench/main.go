// Command bench measures how long calls of the API take, on a throw-away
// machine with a real systemd and hero_proc from its package: the status of one
// service, and the list of all of them, for one client and for many at once.
// It prints a table to standard error, and the same as JSON to standard output.
//
// What lives here is the measuring and its report. What never may: a limit
// that a figure has to keep, since figures differ from machine to machine.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

// report is all that is measured.
type report struct {
	CPUs     int      `json:"cpus"`
	CPU      string   `json:"cpu"`
	MemoryMB int      `json:"memory_mb"`
	System   string   `json:"system"`
	Services int      `json:"services"`
	Runs     int      `json:"runs"`
	Figures  []figure `json:"figures"`
}

// figure is how long a call took. Each percentile is the median of the runs'.
type figure struct {
	Call    string  `json:"call"`
	Clients int     `json:"clients"` // at once, each with a connection of its own
	Calls   int     `json:"calls"`   // in each run
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Rate    float64 `json:"calls_per_second"`
}

func main() {
	dist := flag.String("dist", "dist", "the directory with the .deb")
	services := flag.Int("services", 1000, "how many services are registered")
	runs := flag.Int("runs", 3, "how often each call is measured")
	profile := flag.String("profile", "", "write what perf(1) records of the daemon to this file; it has names after make packages LDFLAGS=")
	inside := flag.Bool("inside", false, "measure here, and print JSON alone; for bench itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *inside {
		err = measure(ctx, *services, *runs)
	} else {
		err = onMachine(ctx, *dist, *services, *runs, *profile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// onMachine makes the machine, has itself run in it, and reports.
func onMachine(ctx context.Context, dist string, services, runs int, profile string) (err error) {
	deb, err := integration.Package(dist, "deb")
	if err != nil {
		return err
	}
	host, err := machine.Open(func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	base, err := host.Base(ctx)
	if err != nil {
		return err
	}
	m, err := host.New(base)
	if err != nil {
		return err
	}
	if err := m.Boot(ctx); err != nil {
		return err
	}
	if out, err := integration.Install(ctx, m, deb); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := m.CopyIn(ctx, self, "/usr/local/bin/bench"); err != nil {
		return err
	}
	if profile != "" {
		stop, err := record(ctx, m, profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	cmd, err := m.Command(ctx, "bench", "-inside", fmt.Sprint("-services=", services), fmt.Sprint("-runs=", runs))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("in the machine: %w\n%s", err, m.Report(ctx, "hero_proc.service"))
	}
	r := report{CPUs: runtime.NumCPU(), Services: services, Runs: runs}
	if err := json.Unmarshal(out.Bytes(), &r.Figures); err != nil {
		return err
	}
	r.CPU, r.MemoryMB = hardware()
	system, err := m.Output(ctx, "sh", "-c", `. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r), $(systemctl --version | head -n1)"`)
	if err != nil {
		return err
	}
	r.System = strings.TrimSpace(system)
	r.print(os.Stderr)
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%d CPUs (%s), %d MB, %s\n%d services registered; medians of %d runs, in milliseconds\n\n", r.CPUs, r.CPU, r.MemoryMB, r.System, r.Services, r.Runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "call\tclients\tcalls\tp50\tp99\tcalls/s\t")
	for _, f := range r.Figures {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%.2f\t%.0f\t\n", f.Call, f.Clients, f.Calls, f.P50, f.P99, f.Rate)
	}
	t.Flush()
	fmt.Fprintln(w)
}

// hardware is the model of the CPU and the size of the memory: proc(5).
func hardware() (cpu string, memoryMB int) {
	cpu = "unknown"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
			break
		}
	}
	info, _ = os.ReadFile("/proc/meminfo")
	kB := 0
	_, _ = fmt.Sscanf(string(info), "MemTotal: %d kB", &kB)
	return cpu, kB / 1024
}

// percentile of what is sorted, in milliseconds.
func percentile(took []time.Duration, p int) float64 {
	return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000
}

func median(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}
