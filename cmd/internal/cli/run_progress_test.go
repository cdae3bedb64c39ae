package cli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// slowJournal prints its lines each a while after the one before, and then
// lets the job end.
type slowJournal struct {
	lines []string
	pause time.Duration
	ended chan struct{}
}

func (j *slowJournal) output(ctx context.Context, argv []string, to io.Writer) error {
	if !strings.Contains(strings.Join(argv, " "), "--follow") { // ssh has it in one word
		return nil
	}
	for _, line := range j.lines {
		time.Sleep(j.pause)
		if _, err := io.WriteString(to, line); err != nil {
			return err
		}
	}
	time.Sleep(j.pause)
	close(j.ended)
	<-ctx.Done()
	return ctx.Err()
}

// showing is "run --wait" of a job that is queued, then starting and then
// running each time that it is looked at, as one's terminal shows it.
func showing(t *testing.T, lines []string, pause time.Duration, set func(*Env), flags ...string) string {
	t.Helper()
	j := &slowJournal{lines: lines, pause: pause, ended: make(chan struct{})}
	starting, running := runJob, runJob
	starting.InvocationID = "abc"
	running.InvocationID, running.Phase = "abc", units.PhaseRunning
	a := &runAPI{job: runJob, looks: []units.Job{runJob, starting, running}, wait: []func(context.Context) (units.Job, error){
		func(ctx context.Context) (units.Job, error) {
			<-j.ended
			return ends(units.PhaseSucceeded, "success", 1, 0)(ctx)
		}}}
	var screen bytes.Buffer
	env := Env{
		Stdin: strings.NewReader(""), Stdout: &screen, Stderr: &screen, Version: "1.2.3", Now: time.Now, Width: 80, Redraw: true,
		Dial:     func(context.Context) (API, error) { return a, nil },
		DialHost: func(context.Context, string) (API, error) { return a, nil },
		Output:   j.output,
	}
	if set != nil {
		set(&env)
	}
	if exit := Run(t.Context(), append(append([]string{"run", "--wait"}, flags...), "--", "echo"), env); exit != 0 {
		t.Errorf("it ends with %d", exit)
	}
	return screen.String()
}

func TestRunWaitOnATerminal(t *testing.T) {
	t.Parallel()
	const queued, starts, runs = "job 5 of core/echo is queued", "job 5 of core/echo is starting", "job 5 of core/echo is running"
	for _, tt := range []struct {
		name  string
		lines []string
		pause time.Duration
		want  []string // what the terminal gets between the moments at which the line is taken away
	}{
		{"one that is quick", []string{line("c1", `"one"`)}, 100 * time.Millisecond, []string{"one\n"}},
		{"one that is silent", nil, 2 * time.Second, []string{"(0s) " + queued, "(0s) " + starts, "(1s) " + runs, "(1s) " + runs, ""}},
		{"the line gives way and comes back", []string{line("c1", `"one"`), line("c2", `"two"`)}, time.Second,
			[]string{"(0s) " + queued, "(0s) " + starts, "one\n(1s) " + runs, "(1s) " + runs, "two\n(2s) " + runs, "(2s) " + runs, ""}},
		{"a chatty one has none", []string{line("c1", `"1"`), line("c2", `"2"`), line("c3", `"3"`), line("c4", `"4"`)}, 300 * time.Millisecond, []string{"1\n2\n3\n4\n"}},
		{"none in the middle of a line", []string{line("c1", `"Name: "`, "_LINE_BREAK", "line-max"), line("c2", `"x"`)}, time.Second,
			[]string{"(0s) " + queued, "(0s) " + starts, "Name: x\n(2s) " + runs, "(2s) " + runs, ""}},
		{"nor behind one that does not end", []string{line("c1", `"end"`, "_LINE_BREAK", "eof")}, time.Second,
			[]string{"(0s) " + queued, "(0s) " + starts, "end"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got, want := showing(t, tt.lines, tt.pause, nil), strings.Join(tt.want, eraseLine); got != want {
				t.Errorf("%s: the terminal gets\n%q, want\n%q", tt.name, got, want)
			}
		})
	}
}

func TestRunWaitOnNoTerminal(t *testing.T) {
	t.Parallel()
	lines := []string{line("c1", `"one"`)}
	for _, tt := range []struct {
		name  string
		set   func(*Env)
		flags []string
	}{
		{"a pipe", func(e *Env) { e.Width, e.Redraw = 0, false }, nil},
		{"a dumb terminal", func(e *Env) { e.Redraw = false }, nil},
		{"another host, whose ssh may ask", nil, []string{"--host", "there"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := showing(t, lines, 5*time.Second, tt.set, tt.flags...); got != "one\n" {
				t.Errorf("%s: it prints %q", tt.name, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		if got := showing(t, lines, 5*time.Second, nil, "--json"); strings.Contains(got, "is running") || strings.Contains(got, eraseLine) {
			t.Errorf("with --json it prints %q", got)
		}
	})
}

// What is said meanwhile does not mix with the line.
func TestHintsBesideTheLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		c := &call{Env: Env{Stdout: &screen, Stderr: &screen, Width: 80, Redraw: true}}
		c.line = c.watch(t.Context(), func(context.Context) string { return "waiting" })
		time.Sleep(patience + redraw/2)
		c.hint("the daemon went away")
		c.line.stop()
		if want := "(0s) waiting" + eraseLine + "the daemon went away\n"; screen.String() != want {
			t.Errorf("the terminal gets %q, want %q", screen.String(), want)
		}
	})
}

func TestHowFarARunIs(t *testing.T) {
	t.Parallel()
	over := runJob
	over.Phase, over.InvocationID = units.PhaseFailed, "abc"
	for want, look := range map[string]units.Job{
		"job 5 of core/echo is queued":                                        runJob,
		"job 5 of core/echo is over; reading the rest of what it has printed": over,
	} {
		if got := runs(t.Context(), &runAPI{looks: []units.Job{look}}, runJob); got != want {
			t.Errorf("%s is %q; want %q", look.Phase, got, want)
		}
	}
	if got := runs(t.Context(), &runAPI{}, runJob); got != "" {
		t.Errorf("with no daemon to ask it is %q", got)
	}
}
