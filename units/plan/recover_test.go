package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var epoch = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// script reads entries, one a second, written as "[unit/]invocation word …".
func script(t *testing.T, lines ...string) (entries []units.Entry) {
	t.Helper()
	kinds := map[string]units.EntryKind{
		"starting": units.EntryStarting, "started": units.EntryStarted, "exited": units.EntryExited, "failed": units.EntryFailed,
		"deactivated": units.EntryDeactivated, "stopping": units.EntryStopping, "stopped": units.EntryStopped, "restart": units.EntryRestart, "used": units.EntryUsage,
	}
	for i, line := range lines {
		words := strings.Fields(line)
		e := units.Entry{Unit: "u", InvocationID: words[0], Boot: "b", Time: epoch.Add(time.Duration(i) * time.Second), Kind: kinds[words[1]]}
		if unit, id, ok := strings.Cut(words[0], "/"); ok {
			e.Unit, e.InvocationID = unit, id
		}
		if id, boot, ok := strings.Cut(e.InvocationID, "@"); ok {
			e.InvocationID, e.Boot = id, boot
		}
		more := ""
		if len(words) > 2 {
			more = words[2]
		}
		switch e.Kind {
		case "":
			t.Fatalf("%q is no entry", line)
		case units.EntryExited:
			e.Command = more
			if _, err := fmt.Sscanf(words[3], "%d/%d", &e.ExitCode, &e.ExitStatus); err != nil {
				t.Fatal(err)
			}
		case units.EntryFailed:
			e.Result = more
		case units.EntryUsage:
			e.Used.CPU = units.Counted(7)
		default:
			e.Job = more
		}
		entries = append(entries, e)
	}
	return entries
}

func TestRecover(t *testing.T) {
	t.Parallel()
	const start, run = "a starting start", "a started start"
	for _, c := range []struct {
		name    string
		entries []string
		oneshot bool
		want    string // phase result code/status, second of the end; "" is not known
	}{
		{name: "nothing is told"},
		{name: "only that it began", entries: []string{start, run}},
		{name: "exited with 3", entries: []string{start, run, "a exited ExecStart 1/3", "a failed exit-code"}, want: "failed exit-code 1/3 at 2"},
		{name: "the beginning is not told", entries: []string{"a exited ExecStart 1/3", "a failed exit-code"}, want: "failed exit-code 1/3 at 0"},
		{name: "killed", entries: []string{start, run, "a exited ExecStart 2/9", "a failed signal"}, want: "failed signal 2/9 at 2"},
		{name: "dumped core", entries: []string{start, run, "a exited ExecStart 3/11", "a failed core-dump"}, want: "failed core-dump 3/11 at 2"},
		{name: "out of memory", entries: []string{start, run, "a exited ExecStart 2/9", "a failed oom-kill"}, want: "failed oom-kill 2/9 at 2"},
		{name: "ended well", entries: []string{start, run, "a deactivated"}, want: "succeeded success 0/0 at 2"},
		{name: "stopped", entries: []string{start, run, "a stopping stop", "a deactivated", "a stopped stop"}, want: "canceled success 0/0 at 3"},
		{name: "restarted by hand", entries: []string{start, run, "a stopping stop", "a deactivated", "a stopped restart"}, want: "canceled success 0/0 at 3"},
		{name: "stopped, and failed at it", entries: []string{start, run, "a stopping stop", "a exited ExecStart 1/1", "a failed exit-code", "a stopped stop"}, want: "failed exit-code 1/1 at 3"},
		{name: "stopped, and killed for its slowness", entries: []string{start, run, "a stopping stop", "a exited ExecStart 2/9", "a failed timeout", "a stopped stop"}, want: "failed timeout 2/9 at 3"},
		{name: "ended by itself, and stopped later", entries: []string{start, run, "a deactivated", "a stopping stop", "a stopped stop"}, want: "succeeded success 0/0 at 2"},
		{name: "never ready", entries: []string{start, "a failed timeout"}, want: "failed timeout 0/0 at 1"},
		{name: "the probe gave up", entries: []string{start, "a exited ExecStartPost 1/1", "a failed exit-code"}, want: "failed exit-code 0/0 at 2"},
		{name: "the main process, then a cleaner fails", entries: []string{start, run, "a exited ExecStart 1/3", "a exited ExecStopPost 1/9", "a failed exit-code"}, want: "failed exit-code 1/3 at 2"},
		{name: "the start limit says it again", entries: []string{start, run, "a exited ExecStart 1/5", "a failed exit-code", "a restart", "a stopped restart", "a failed start-limit-hit"}, want: "failed exit-code 1/5 at 2"},
		{name: "exited, and then the power went", entries: []string{start, run, "a exited ExecStart 1/3"}},
		{name: "stopping, and then the power went", entries: []string{start, run, "a stopping stop"}},
		{name: "one-shot done", entries: []string{start, run}, oneshot: true, want: "succeeded success 0/0 at 1"},
		{name: "one-shot done, and stopped later", entries: []string{start, run, "a stopping stop", "a deactivated", "a stopped stop"}, oneshot: true, want: "succeeded success 0/0 at 1"},
		{name: "one-shot failed", entries: []string{start, "a exited ExecStart 1/4", "a failed exit-code"}, oneshot: true, want: "failed exit-code 1/4 at 1"},
		{name: "one-shot stopped before it was done", entries: []string{start, "a stopping stop", "a deactivated", "a stopped stop"}, oneshot: true, want: "canceled success 0/0 at 2"},
		{name: "one-shot, and then the power went", entries: []string{start}, oneshot: true},
		{name: "it used something", entries: []string{start, run, "a deactivated", "a used"}, want: "succeeded success 0/0 at 2 cpu 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Activation
			if acts := Activations(script(t, c.entries...)); len(acts) > 0 {
				a = acts[0]
			}
			before := units.Job{ID: 5, Run: 2, Unit: "u", Attempt: 1, Phase: units.PhaseRunning, InvocationID: "a", MainPID: 9}
			j, known := Recover(before, a, c.oneshot)
			got := ""
			if known {
				got = fmt.Sprintf("%s %s %d/%d at %d", j.Phase, j.Result, j.ExitCode, j.ExitStatus, j.Ended.Sub(epoch)/time.Second)
				if j.Used.CPU.Known {
					got += fmt.Sprintf(" cpu %d", j.Used.CPU.N)
				}
			}
			if got != c.want || j.ID != 5 || j.Run != 2 || j.MainPID != 0 {
				t.Errorf("the job is %q (%+v), want %q", got, j, c.want)
			}
			if known != j.Phase.Terminal() {
				t.Errorf("known: %v, and the phase is %s", known, j.Phase)
			}
			if lost := Lose(j, epoch.Add(time.Hour)); !known && (lost.Phase != units.PhaseLost || lost.Ended.IsZero()) {
				t.Errorf("the lost job is %+v", lost)
			}
		})
	}
}

// Which activation systemd's Restart= made, and which somebody.
func TestActivationsThatAreFurtherAttempts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		entries []string
		want    []string // invocation<before
	}{
		{"crash, restart, crash, restart", []string{"a starting start", "a failed signal", "a restart", "a stopped restart", "b starting start", "b failed signal", "b restart", "b stopped restart", "c starting start"}, []string{"a<", "b<a", "c<b"}},
		{"a systemd that says less", []string{"a starting start", "a failed signal", "a restart", "b starting start"}, []string{"a<", "b<a"}},
		{"restarted by hand", []string{"a starting start", "a stopping stop", "a deactivated", "a stopped restart", "b starting start"}, []string{"a<", "b<"}},
		{"started by hand after a crash", []string{"a starting start", "a failed signal", "b starting start"}, []string{"a<", "b<"}},
		{"stopped while the restart waited, then started", []string{"a starting start", "a failed signal", "a restart", "a stopped restart", "a stopped stop", "b starting start"}, []string{"a<", "b<"}},
		{"the restart died with the machine", []string{"a starting start", "a failed signal", "a restart", "b@c starting start"}, []string{"a<", "b<"}},
		{"two units", []string{"a starting start", "v/x starting start", "a failed signal", "a restart", "v/y starting start", "b starting start"}, []string{"a<", "x<", "y<", "b<a"}},
		{"an invocation under another unit's name", []string{"a starting start", "v/a failed signal"}, []string{"a<"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, a := range Activations(script(t, c.entries...)) {
				got = append(got, a.InvocationID+"<"+a.Before)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("activations are %q, want %q", got, c.want)
			}
		})
	}
}

func TestMissed(t *testing.T) {
	t.Parallel()
	job := func(phase units.Phase, invocation string, attempt int) *units.Job {
		return &units.Job{Phase: phase, InvocationID: invocation, Attempt: attempt}
	}
	unit := func(active, invocation string, restarts uint32) units.Unit {
		return units.Unit{Load: "loaded", Active: active, InvocationID: invocation, Restarts: restarts}
	}
	for _, c := range []struct {
		name     string
		last     *units.Job
		unit     units.Unit
		recorded bool
		want     bool
		booting  bool // what it is of a unit that the boot has started
	}{
		{"no history", nil, unit("active", "a", 3), false, false, true},
		{"the same activation", job("running", "a", 1), unit("active", "a", 0), false, false, false},
		{"the end was missed", job("running", "a", 1), unit("active", "b", 0), false, true, true},
		{"the end was missed, and the unit is gone", job("running", "a", 1), units.Unit{Load: "not-found", Active: "inactive"}, false, true, true},
		{"a start that was asked for", job("pending", "", 1), unit("active", "a", 0), false, false, false},
		{"a start that was asked for, restarted since", job("pending", "", 1), unit("active", "a", 1), false, true, true},
		{"a start that was asked for, of one whose last activation is known", job("pending", "", 1), unit("failed", "a", 1), true, false, false},
		{"a start that was refused", job("failed", "", 1), unit("active", "a", 1), false, false, true},
		{"a new start", job("failed", "a", 1), unit("active", "b", 0), false, false, false},
		{"the next attempt", job("failed", "a", 1), unit("active", "b", 1), false, false, true},
		{"the attempt after the next", job("failed", "a", 1), unit("active", "b", 2), false, true, true},
		{"the next attempt has failed, and may be counted on", job("failed", "a", 1), unit("failed", "b", 2), false, true, true},
		{"one that is known", job("failed", "a", 1), unit("failed", "b", 7), true, false, false},
		{"a count that was reset", job("failed", "a", 5), unit("active", "b", 1), false, false, true},
		{"an earlier activation was ended and is gone", job("failed", "a", 1), units.Unit{Load: "not-found", Active: "inactive"}, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Missed(c.last, c.unit, c.recorded, false); got != c.want {
				t.Errorf("missed: %v, want %v", got, c.want)
			}
			if got := Missed(c.last, c.unit, c.recorded, true); got != c.booting {
				t.Errorf("missed of what the boot has started: %v, want %v", got, c.booting)
			}
		})
	}
}

func TestJoins(t *testing.T) {
	t.Parallel()
	// A job that ended so long before the other unit begins.
	job := func(unit string, phase units.Phase, ago time.Duration) units.Job {
		j := units.Job{Unit: unit, Phase: phase, Attempt: 1, Created: epoch.Add(-24 * time.Hour)}
		if phase.Terminal() {
			j.Ended = epoch.Add(-ago)
		}
		return j
	}
	second := func(unit string, ago time.Duration) units.Job {
		return units.Job{Unit: unit, Phase: units.PhaseRunning, Attempt: 2, Created: epoch.Add(-ago)}
	}
	for _, c := range []struct {
		name       string
		start      []units.Job
		restarting string // the unit that systemd restarts
		want       int    // attempt; 0 is a start of its own
	}{
		{name: "no start"},
		{name: "the primary action is asked for", start: []units.Job{job("p", "pending", 0)}, want: 1},
		{name: "the primary action runs", start: []units.Job{job("p", "running", 0)}, want: 1},
		{name: "its unit has had its turn", start: []units.Job{job("p", "running", 0), job("x", "failed", time.Hour)}},
		{name: "its unit has its turn", start: []units.Job{job("p", "running", 0), job("x", "running", 0)}},
		{name: "a one-shot made room for it", start: []units.Job{job("p", "succeeded", time.Millisecond)}, want: 1},
		{name: "a one-shot that was done long ago", start: []units.Job{job("p", "succeeded", time.Hour)}},
		{name: "a one-shot long ago, and another that runs", start: []units.Job{job("p", "succeeded", time.Hour), job("y", "running", 0)}, want: 1},
		{name: "one crashed, another runs", start: []units.Job{job("p", "running", 0), job("y", "failed", time.Second)}, want: 1},
		{name: "all crashed", start: []units.Job{job("p", "failed", time.Second)}},
		{name: "stopped", start: []units.Job{job("p", "canceled", time.Second), job("y", "running", 0)}},
		{name: "lost", start: []units.Job{job("p", "lost", time.Second), job("y", "running", 0)}},
		{name: "stopped since", start: []units.Job{job("p", "canceled", -time.Second)}, want: 1},
		{name: "lost since", start: []units.Job{job("p", "lost", -time.Second)}, want: 1},

		{name: "systemd restarts another, and it with that", start: []units.Job{job("p", "failed", time.Second), job("x", "canceled", time.Millisecond)}, restarting: "p", want: 2},
		{name: "systemd has restarted another, and now it", start: []units.Job{job("p", "failed", time.Second), job("x", "canceled", time.Millisecond), second("p", 0)}, want: 2},
		{name: "systemd restarts another, and it is not down", start: []units.Job{job("p", "failed", time.Second), job("x", "running", 0)}, restarting: "p"},
		{name: "it is started alone, long after a restart of another", start: []units.Job{second("p", time.Hour), job("x", "failed", time.Minute)}},
		{name: "systemd restarts another, and it has never been up", start: []units.Job{job("p", "failed", time.Second), job("y", "canceled", time.Millisecond)}, restarting: "p", want: 1},
		{name: "somebody restarts all", start: []units.Job{job("p", "canceled", time.Second), job("x", "canceled", time.Second)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			attempt, ok := Joins(c.start, "x", epoch, func(j units.Job) bool { return j.Unit == c.restarting })
			if ok != (c.want > 0) || ok && attempt != c.want {
				t.Errorf("joins: %v, attempt %d; want attempt %d", ok, attempt, c.want)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	acts := Activations(script(t, "a starting start", "b starting start", "v/x starting start", "v/y starting start", "w/z failed signal"))
	if got := Unknown(acts, map[string]bool{"a": true, "b": true, "x": true}); !slices.Equal(got, []string{"v"}) {
		t.Errorf("unknown units are %q, want v: w's activation began before what was read", got)
	}
}
