package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// runAPI is a daemon that runs one job. wait answers its calls of Wait, one
// after the other.
type runAPI struct {
	API
	mu       sync.Mutex
	def      map[string]any
	files    []*os.File
	job      units.Job
	wait     []func(context.Context) (units.Job, error)
	looks    []units.Job // what Job answers, one after the other, and then the last one
	canceled bool
}

func (a *runAPI) Close() error      { return nil }
func (a *runAPI) AllowInteraction() {}

func (a *runAPI) Run(_ context.Context, def map[string]any) (units.Job, error) {
	a.def = def
	return a.job, nil
}

func (a *runAPI) RunWithFiles(_ context.Context, def map[string]any, stdin, stdout, stderr *os.File) (units.Job, error) {
	a.def, a.files = def, []*os.File{stdin, stdout, stderr}
	return a.job, nil
}

func (a *runAPI) Cancel(context.Context, int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.canceled = true
	return nil
}

func (a *runAPI) Wait(ctx context.Context, _ int64) (units.Job, error) {
	a.mu.Lock()
	next := a.wait[0]
	a.wait = a.wait[1:]
	a.mu.Unlock()
	return next(ctx)
}

func (a *runAPI) Job(context.Context, int64) (units.Job, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.looks) == 0 {
		return units.Job{}, units.Errorf(units.CodeNotRunning, "no")
	}
	now := a.looks[0]
	if len(a.looks) > 1 {
		a.looks = a.looks[1:]
	}
	return now, nil
}

// ends is a Wait that answers at once.
func ends(phase units.Phase, result string, code, status int32) func(context.Context) (units.Job, error) {
	return func(context.Context) (units.Job, error) {
		j := runJob
		j.Phase, j.Result, j.ExitCode, j.ExitStatus = phase, result, code, status
		return j, nil
	}
}

func fails(code units.Code) func(context.Context) (units.Job, error) {
	return func(context.Context) (units.Job, error) { return units.Job{}, units.Errorf(code, "no") }
}

var runJob = units.Job{ID: 5, Run: 9, Service: units.ID{Context: "core", Name: "echo"}, Action: "main", Unit: "hero-core-echo-r9.service",
	Attempt: 1, Phase: units.PhasePending, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}

// journal stands for journalctl: what it prints when it follows, and what it
// has when it is asked once more.
type journal struct {
	mu          sync.Mutex
	follow, end string
	calls       [][]string
	followed    chan struct{} // closed when follow was printed; nil for nobody
}

func (j *journal) output(ctx context.Context, argv []string, to io.Writer) error {
	j.mu.Lock()
	j.calls = append(j.calls, argv)
	j.mu.Unlock()
	switch {
	case slices.Contains(argv, "--sync"):
		return nil
	case !slices.Contains(argv, "--follow"):
		_, err := io.WriteString(to, j.end)
		return err
	}
	// A byte at a time, as pipes may do.
	for _, b := range []byte(j.follow) {
		if _, err := to.Write([]byte{b}); err != nil {
			return err
		}
	}
	if j.followed != nil {
		close(j.followed)
	}
	<-ctx.Done()
	return ctx.Err()
}

func (a *runAPI) run(ctx context.Context, j *journal, args ...string) (stdout, stderr string, exit int) {
	var out, errs bytes.Buffer
	exit = Run(ctx, append([]string{"run"}, args...), Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Version: "1.2.3", Now: time.Now,
		Dial:     func(context.Context) (API, error) { return a, nil },
		DialHost: func(context.Context, string) (API, error) { return a, nil },
		Output:   j.output,
	})
	return out.String(), errs.String(), exit
}

func TestRunDefinitions(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want map[string]any
		says string // an error of usage
	}{
		{args: []string{"--", "echo", "-n", "a b"}, want: map[string]any{"exec": []string{"echo", "-n", "a b"}, "name": "echo"}},
		{args: []string{"--", "./tool"}, want: map[string]any{"exec": []string{here + "/tool"}, "name": "tool"}},
		{args: []string{"--context", "lab", "--name", "x", "--env", "A=b=c", "--env", "B=", "--property", "user=web", "--property", "memory_max=1M", "--", "/bin/x"},
			want: map[string]any{"exec": []string{"/bin/x"}, "name": "x", "context": "lab", "env": map[string]string{"A": "b=c", "B": ""}, "user": "web", "memory_max": "1M"}},
		{args: []string{"--process", "--credential", "K=/etc/k", "--", "x"}, want: map[string]any{"exec": []string{"x"}, "name": "x", "is_process": true, "credentials": map[string]string{"K": "/etc/k"}}},
		{args: []string{"@web:migrate"}, want: map[string]any{"service": "web", "action": "migrate"}},
		{args: []string{"@lab/web", "--name", "x"}, want: map[string]any{"service": "lab/web", "name": "x"}},
		{args: []string{}, says: "want a command"},
		{args: []string{"@web", "more"}, says: "unexpected argument"},
		{args: []string{"--property", "user", "--", "x"}, says: "wants KEY=VALUE"},
		{args: []string{"--property", "env=A=b", "--", "x"}, says: "use --env"},
		{args: []string{"--property", "user=a", "--property", "user=b", "--", "x"}, says: "given twice"},
		{args: []string{"--env", "secret", "--", "x"}, says: "value 1 of --env"},
		{args: []string{"--pipe", "--json", "--", "x"}, says: "--json needs it"},
		{args: []string{"--pipe", "--host", "there", "--", "x"}, says: "does not reach another machine"},
		{args: []string{"--wait", "--process", "--", "x"}, says: "no end to wait for"},
		{args: []string{"--wait", "--property", "restart=on-failure", "--", "x"}, says: "no one end to wait for"},
		{args: []string{"--pipe", "--", "x"}, says: "are not files"},
	} {
		a := &runAPI{job: runJob}
		stdout, stderr, exit := a.run(t.Context(), &journal{}, c.args...)
		switch {
		case c.says != "":
			if exit != units.ExitUsage || !strings.Contains(stderr, c.says) || a.def != nil {
				t.Errorf("%q: status %d, %q; want %q", c.args, exit, stderr, c.says)
			}
		case exit != 0 || stdout != "started job 5: hero-core-echo-r9.service\n" || !reflect.DeepEqual(a.def, c.want):
			t.Errorf("%q: status %d, %q%q, %v; want %v", c.args, exit, stdout, stderr, a.def, c.want)
		}
	}
}

func line(cursor, message string, more ...string) string {
	text := fmt.Sprintf(`{"__CURSOR":%q,"MESSAGE":%s`, cursor, message)
	for i := 0; i < len(more); i += 2 {
		text += fmt.Sprintf(`,%q:%q`, more[i], more[i+1])
	}
	return text + "}\n"
}

func TestRunWaitShowsEachLineOnce(t *testing.T) {
	t.Parallel()
	job := runJob
	job.InvocationID = "abc"
	j := &journal{followed: make(chan struct{}),
		follow: "-- No entries --\n" + line("c1", `"one"`, "_SYSTEMD_INVOCATION_ID", "abc") + line("c2", `[255,27]`) +
			line("c3", `"of another"`, "_SYSTEMD_INVOCATION_ID", "def") + `{"__CURSOR":"c4","MESS`,
		end: line("c4", `"lo"`, "_LINE_BREAK", "line-max") + line("c5", `"ng"`) + line("c6", `"end"`, "_LINE_BREAK", "eof"),
	}
	a := &runAPI{job: job, wait: []func(context.Context) (units.Job, error){func(ctx context.Context) (units.Job, error) {
		<-j.followed
		return ends(units.PhaseFailed, "exit-code", 1, 7)(ctx)
	}}}
	stdout, stderr, exit := a.run(t.Context(), j, "--wait", "--", "echo")
	if want := "one\n\xff\x1b\nlong\nend"; stdout != want || exit != 7 || stderr != "" {
		t.Errorf("status %d, %q, %q; want 7 and %q", exit, stdout, stderr, want)
	}
	if len(j.calls) < 2 {
		t.Fatalf("the journal was read as %q", j.calls)
	}
	last := strings.Join(j.calls[len(j.calls)-1], " ")
	if !strings.HasSuffix(last, "_SYSTEMD_UNIT=hero-core-echo-r9.service _TRANSPORT=stdout") || strings.Contains(last, "--follow") {
		t.Errorf("the last reading was %q", last)
	}
}

func TestRunWaitPassesOnTheEnd(t *testing.T) {
	t.Parallel()
	type waits = []func(context.Context) (units.Job, error)
	for _, c := range []struct {
		name string
		wait waits
		exit int
		says string
	}{
		{"success", waits{ends(units.PhaseSucceeded, "success", 1, 0)}, 0, ""},
		{"a signal", waits{ends(units.PhaseFailed, "signal", 2, 9)}, 137, ""},
		{"a timeout", waits{ends(units.PhaseFailed, "timeout", 2, 15)}, 143, "timeout"},
		{"no such program", waits{ends(units.PhaseFailed, "exit-code", 1, 203)}, 203, "could not be executed"},
		{"never started", waits{ends(units.PhaseFailed, "dependency", 0, 0)}, 1, "could not be started"},
		{"lost", waits{ends(units.PhaseLost, "", 0, 0)}, 1, "how it ended is not known"},
		{"the daemon is restarted", waits{fails(units.CodeNotRunning), fails(units.CodeCanceled), ends(units.PhaseFailed, "exit-code", 1, 3)}, 3, "the daemon went away"},
		{"another error", waits{fails(units.CodeNoSuchJob)}, 1, "no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := &runAPI{job: runJob, wait: c.wait}
			stdout, stderr, exit := a.run(t.Context(), &journal{}, "--wait", "--", "echo")
			if exit != c.exit || stdout != "" || !strings.Contains(stderr, c.says) || c.says == "" && stderr != "" {
				t.Errorf("status %d, %q, %q; want %d and %q", exit, stdout, stderr, c.exit, c.says)
			}
		})
	}
}

func TestRunWaitIsCanceled(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	a := &runAPI{job: runJob, wait: []func(context.Context) (units.Job, error){
		func(ctx context.Context) (units.Job, error) {
			interrupt()
			<-ctx.Done()
			return units.Job{}, ctx.Err()
		},
		ends(units.PhaseCanceled, "success", 2, 15),
	}}
	stdout, stderr, exit := a.run(ctx, &journal{end: line("c1", `"bye"`)}, "--wait", "--", "echo")
	if !a.canceled || exit != 130 || stdout != "bye\n" || !strings.Contains(stderr, "canceling job 5") {
		t.Errorf("canceled %v, status %d, %q, %q", a.canceled, exit, stdout, stderr)
	}
}

func TestRunWaitAsJSON(t *testing.T) {
	t.Parallel()
	a := &runAPI{job: runJob, wait: []func(context.Context) (units.Job, error){ends(units.PhaseFailed, "exit-code", 1, 7)}}
	stdout, stderr, exit := a.run(t.Context(), &journal{end: line("c1", `"hello"`)}, "--json", "--wait", "--", "echo")
	if exit != 7 || stderr != "hello\n" || !strings.Contains(stdout, `"exit_status": 7`) || !strings.Contains(stdout, `"schema_version": 1`) {
		t.Errorf("status %d, %s, %q", exit, stdout, stderr)
	}
}
