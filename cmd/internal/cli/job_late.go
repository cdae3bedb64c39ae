package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// journald learns the invocation of a line from a file that systemd takes away
// when the unit goes down. What comes to it later, as the last words of a
// program that ends at once often do, has none (systemd 252: one such program
// in ten). But it has its stream, of which each activation has its own.

// How far from a job's end its late lines are looked for.
const (
	lateBefore = time.Second
	lateAfter  = 2 * time.Second
)

// spoken is a line of the journal, as far as it says whose it is.
type spoken struct {
	Cursor     string `json:"__CURSOR"`
	Stream     string `json:"_STREAM_ID"`
	Invocation string `json:"_SYSTEMD_INVOCATION_ID"`
	About      string `json:"INVOCATION_ID"` // systemd's own lines
	PID        string `json:"_PID"`
}

// of is the invocation that the line is of, "" for a late one.
func (s spoken) of() string {
	if s.PID == "1" {
		return s.About
	}
	return s.Invocation
}

// near are the lines about a unit from around the end of a job, in their order.
func (c *call) near(ctx context.Context, job units.Job) ([]spoken, error) {
	if job.Ended.IsZero() {
		return nil, nil // while the unit is up, no line is late
	}
	var out bytes.Buffer
	argv := []string{
		"journalctl", "--quiet", "--output=json", "--output-fields=_STREAM_ID,_SYSTEMD_INVOCATION_ID,INVOCATION_ID,_PID",
		"--since=" + lateSince(job).UTC().Format(journalTime), "--until=" + job.Ended.Add(lateAfter).UTC().Format(journalTime),
		"_SYSTEMD_UNIT=" + job.Unit, "+", "_PID=1", "UNIT=" + job.Unit,
	}
	if err := c.journalctl(ctx, argv, &out); err != nil {
		return nil, err
	}
	var all []spoken
	for line := range bytes.Lines(out.Bytes()) {
		var s spoken
		if json.Unmarshal(line, &s) == nil { // a field that is there twice is none that we look for
			all = append(all, s)
		}
	}
	return all, nil
}

func lateSince(job units.Job) time.Time {
	if since := job.Ended.Add(-lateBefore); since.After(job.Created) {
		return since
	}
	return job.Created
}

// late are the lines of the job that have no invocation, in runs of which each
// has nothing else of their streams in between.
func late(job units.Job, near []spoken) (runs [][]spoken) {
	owner := map[string]string{}
	for _, s := range near {
		if s.Stream != "" && s.of() != "" {
			owner[s.Stream] = s.of()
		}
	}
	// A stream that nobody owns is that of the activation that it came in.
	current := ""
	if lateSince(job).After(job.Created) {
		current = job.InvocationID
	}
	for _, s := range near {
		if s.of() == "" && s.Stream != "" && owner[s.Stream] == "" {
			owner[s.Stream] = current
			if current == "" {
				owner[s.Stream] = "another"
			}
		} else if s.of() != "" {
			current = s.of()
		}
	}
	var run []spoken
	for _, s := range near {
		switch {
		case owner[s.Stream] != job.InvocationID:
		case s.of() == "":
			run = append(run, s)
		case run != nil:
			runs, run = append(runs, run), nil
		}
	}
	if run != nil {
		runs = append(runs, run)
	}
	return runs
}

// streams are the matches of the streams that late lines came by.
func streams(runs [][]spoken) (matches []string) {
	for _, s := range slices.Concat(runs...) {
		if match := "_STREAM_ID=" + s.Stream; !slices.Contains(matches, match) {
			matches = append(matches, match)
		}
	}
	return matches
}

// printLate prints the late lines of a job that was followed by that journalctl.
func (c *call) printLate(ctx context.Context, job units.Job, followed []string, out *watched) error {
	// What selects gives way to the cursor; how to print stays.
	args := slices.DeleteFunc(slices.Clone(followed), func(arg string) bool {
		return arg == "--follow" || strings.HasPrefix(arg, "--since=") || strings.HasPrefix(arg, "--lines=")
	})
	near, err := c.near(ctx, job)
	if err != nil {
		return err
	}
	runs := late(job, near)
	for _, run := range runs {
		argv := append(slices.Clone(args), "--cursor="+run[0].Cursor, "--lines="+strconv.Itoa(len(run)))
		if err := c.journal(ctx, append(argv, streams(runs)...), out); err != nil {
			return err
		}
	}
	return nil
}
