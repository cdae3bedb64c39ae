// Command bench measures hero_proc on a throw-away machine with a real
// systemd, beside what else starts services: static unit files, systemd-run and
// supervisord. It prints one table to standard error, and the same as JSON, or
// as Markdown, to standard output.
//
// What lives here is the measuring and its report; each part is a file, and a
// row is one call of add. What never may: a limit that a figure has to keep,
// since figures differ from machine to machine. An aim stands beside its figure.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

// part measures one thing, and adds a row for each figure.
type part struct {
	name, about string
	run         func(context.Context, *bench) error
}

var parts = []part{
	{"burst", "N services at once, beside the other ways to start them", burst},
	{"boot", "from the daemon's start until it is ready, and back after kill -9", boot},
	{"api", "calls of the API, for one client and for many at once", api},
	{"cost", "memory, CPU time and wake-ups of the daemon", cost},
	{"store", "writing the history, and a long one", history},
	{"cli", "commands as whole processes", commands},
}

// settings are what can be chosen.
type settings struct {
	parts []string
	sizes []int // of the burst
	runs  int
	// services are registered for what is measured with many of them.
	services int
	idle     time.Duration
	long     int // jobs of the long history
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == chatterArg {
		chatter()
		return
	}
	s := settings{parts: names(parts), sizes: []int{10, 100, 500, 1000, 2000}, runs: 3, services: 1000, idle: time.Minute, long: 1_000_000}
	flag.Func("parts", "the parts to measure, with commas between them: "+strings.Join(names(parts), ",")+" (default all)", func(text string) error {
		s.parts = strings.Split(text, ",")
		for _, name := range s.parts {
			if !slices.Contains(names(parts), name) {
				return fmt.Errorf("there is no part %q", name)
			}
		}
		return nil
	})
	flag.Func("sizes", "how many services a burst has, with commas (default 10,100,500,1000,2000)", func(text string) (err error) {
		s.sizes = nil
		for word := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(word)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is no number of services", word)
			}
			s.sizes = append(s.sizes, n)
		}
		return nil
	})
	flag.IntVar(&s.runs, "runs", s.runs, "how often each figure is measured")
	flag.IntVar(&s.services, "services", s.services, "how many services there are for the calls of the API and the commands")
	flag.DurationVar(&s.idle, "idle", s.idle, "how long an idle daemon is watched")
	flag.IntVar(&s.long, "jobs", s.long, "how many jobs the long history has")
	dist := flag.String("dist", "dist", "the directory with the .deb")
	markdown := flag.Bool("markdown", false, "print Markdown instead of JSON to standard output")
	profile := flag.String("profile", "", "write what perf(1) records of all processes to this file; the daemon has names after make packages LDFLAGS=")
	results := flag.String("results", "", "keep the results in this file too, as JSON; what it has of parts that are not measured now stays, so that a run can be made in pieces")
	inside := flag.Bool("inside", false, "measure here, and print JSON alone; for bench itself")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "Usage: bench [FLAGS]\n\nParts:\n")
		for _, p := range parts {
			fmt.Fprintf(flag.CommandLine.Output(), "  %-6s %s\n", p.name, p.about)
		}
		fmt.Fprintln(flag.CommandLine.Output(), "\nFlags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || s.runs < 1 || s.services < 1 || s.long < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := machine.UntilInterrupted()
	defer stop()
	var err error
	if *inside {
		err = measure(ctx, s)
	} else {
		err = onMachine(ctx, s, *dist, *profile, *results, *markdown)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names(parts []part) (list []string) {
	for _, p := range parts {
		list = append(list, p.name)
	}
	return list
}

// args are the settings as flags, for the one that measures inside.
func (s settings) args() []string {
	var sizes []string
	for _, n := range s.sizes {
		sizes = append(sizes, strconv.Itoa(n))
	}
	return []string{
		"-inside", "-parts=" + strings.Join(s.parts, ","), "-sizes=" + strings.Join(sizes, ","),
		"-runs=" + strconv.Itoa(s.runs), "-services=" + strconv.Itoa(s.services),
		"-idle=" + s.idle.String(), "-jobs=" + strconv.Itoa(s.long),
	}
}
