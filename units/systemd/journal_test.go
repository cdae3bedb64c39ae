package systemd_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/journal"
)

// entries are what PID 1 has written about a unit since a time.
func (x *target) entries(since time.Time, unit string) []units.Entry {
	x.Helper()
	read := journal.Reader{}.Entries
	if x.fake != nil {
		read = x.fake.Entries
	} else if out, err := exec.Command("journalctl", "--sync").CombinedOutput(); err != nil {
		x.Fatalf("journalctl --sync: %v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(x.Context(), patience)
	defer cancel()
	entries, err := read(ctx, since, func(name string) bool { return name == unit })
	if err != nil {
		x.Fatal(err)
	}
	return entries
}

// How a unit ended can be read in the journal, by its invocation.
func TestJournalTellsHowAUnitEnded(t *testing.T) {
	names := map[units.EntryKind]string{
		units.EntryStarting: "starting", units.EntryStarted: "started", units.EntryExited: "exited", units.EntryFailed: "failed",
		units.EntryDeactivated: "deactivated", units.EntryStopping: "stopping", units.EntryStopped: "stopped", units.EntryRestart: "restart",
	}
	x := newTarget(t)
	m := x.manager()
	begin := time.Now()
	again := service("again", "/bin/sleep", "1000")
	again.Actions[0].Restart, again.Actions[0].RestartDelay = units.RestartOnFailure, time.Millisecond
	for _, c := range []struct {
		service units.Service
		do      func(unit string)
		want    []string
	}{
		{service("ends", "/bin/sleep", "0.05"), nil, []string{"starting start", "started start", "deactivated"}},
		{service("killed", "/bin/sleep", "1000"), func(u string) { x.kill(m, u) },
			[]string{"starting start", "started start", "exited ExecStart 2/9", "failed signal"}},
		{service("stopped", "/bin/sleep", "1000"), func(u string) { x.stop(m, u) },
			[]string{"starting start", "started start", "stopping stop", "deactivated", "stopped stop"}},
		{oneshot("done", "/bin/true"), func(u string) { x.stop(m, u) },
			[]string{"starting start", "started start", "deactivated", "stopped stop"}},
		{oneshot("undone", "/bin/false"), nil, []string{"starting start", "exited ExecStart 1/1", "failed exit-code"}},
		{again, func(u string) {
			x.kill(m, u)
			x.eventually(m, "it was restarted", func() bool { r := x.read(m, u); return r.Active == "active" && r.Restarts == 1 })
			x.stop(m, u)
		}, []string{"starting start", "started start", "exited ExecStart 2/9", "failed signal", "restart", "stopped restart",
			"+starting start", "started start", "stopping stop", "deactivated", "stopped stop"}},
	} {
		unit := c.service.Unit()
		x.load(m, c.service)
		x.start(m, unit)
		if c.do != nil {
			c.do(unit)
		}
		x.eventually(m, unit+" is down", func() bool { u := x.read(m, unit); return u.Active == "inactive" || u.Active == "failed" })
		var got []string
		invocation := ""
		for _, e := range x.entries(begin, unit) {
			word := names[e.Kind]
			for _, more := range []string{e.Job, e.Command, e.Result} {
				if more != "" {
					word += " " + more
				}
			}
			if e.Kind == units.EntryExited {
				word += fmt.Sprintf(" %d/%d", e.ExitCode, e.ExitStatus)
			}
			if invocation != "" && e.InvocationID != invocation {
				word = "+" + word
			}
			invocation = e.InvocationID
			// systemd tells the use of those that used much, and may be done with
			// the stop of a unit without processes before it says that it begins.
			if e.Kind == units.EntryUsage || e.Kind == units.EntryStopping && !c.service.Actions[0].Process {
				continue
			}
			got = append(got, word)
			if e.Boot == "" || e.Time.Before(begin) || e.Time.After(time.Now()) {
				t.Errorf("%s: %q is of boot %q and time %v", unit, word, e.Boot, e.Time)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("of %s the journal has\n%q, want\n%q", unit, got, c.want)
		}
		if u := x.read(m, unit); u.InvocationID != invocation {
			t.Errorf("%s has invocation %s, the journal's last is %s", unit, u.InvocationID, invocation)
		}
		if u := x.read(m, unit); u.BegunAt.Before(begin) || u.ExitedAt.Before(u.BegunAt) {
			t.Errorf("%s began %v and ended %v", unit, u.BegunAt, u.ExitedAt)
		}
	}
}
