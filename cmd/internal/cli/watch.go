package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// syncTimeout bounds how long the journal may take to write down what it has.
const syncTimeout = 10 * time.Second

// showRun shows what a job prints until it ends, and passes on its end.
func (c *call) showRun(ctx context.Context, api API, job units.Job) error {
	out := c.Stdout
	if c.json {
		out = c.Stderr // standard output is for the one object
	}
	if _, ok := out.(*os.File); ok {
		// What is written for nobody is to cancel the job, and not to kill us.
		signal.Ignore(syscall.SIGPIPE)
		defer signal.Reset(syscall.SIGPIPE)
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	if c.host == "" { // else ssh may ask for a password on the terminal
		c.line = c.watch(reading, func(ctx context.Context) string { return runs(ctx, api, job) })
		defer c.line.stop()
		out = c.line.output(out)
	}
	f := &follower{call: c, job: job, out: out, broken: stop}
	f.start(reading)
	err := c.attend(reading, api, job)
	// Also of what was canceled: it may have had something to say to that.
	switch ferr := f.finish(context.WithoutCancel(ctx)); {
	case errors.Is(ferr, syscall.EPIPE):
		c.exit = 128 + int(syscall.SIGPIPE) // as a program that the signal ends
	case err == nil:
		err = ferr
	}
	return err
}

// runs says how far a job is.
func runs(ctx context.Context, api API, job units.Job) string {
	now, err := api.Job(ctx, job.ID)
	if err != nil {
		return "" // what waits for the job will say
	}
	how := "is running"
	switch {
	case now.Phase.Terminal():
		how = "is over; reading the rest of what it has printed"
	case now.Phase == units.PhasePending && now.InvocationID == "":
		how = "is queued"
	case now.Phase == units.PhasePending:
		how = "is starting"
	}
	return fmt.Sprintf("job %d of %s %s", job.ID, job.Service, how)
}

// follower shows the lines that a job's unit has in the journal, each once. It
// is read with the rights of who calls: this runs journalctl(1).
type follower struct {
	*call
	job    units.Job
	out    io.Writer
	broken func() // called when out takes no more

	stop func()
	done sync.WaitGroup

	rest   []byte // of a line that is not complete yet
	cursor string // of the last entry that was shown
	err    error  // of out, or of a journalctl that ended by itself
}

// read runs journalctl, here or on the host that was named.
func (f *follower) read(ctx context.Context, argv []string, to io.Writer) error {
	if f.host != "" {
		remote, err := client.RemoteCommand(f.host, argv...)
		if err != nil {
			return err
		}
		argv = remote
	}
	return f.Output(ctx, argv, to)
}

// entries is the command that reads the unit's entries. A run's unit has a
// name that no other one has. The invocation ID alone would miss entries: the
// journal looks it up when a line comes, and a program that ends at once can
// be quicker than that.
func (f *follower) entries(more ...string) []string {
	argv := []string{"journalctl", "--output=json", "--all", "--output-fields=MESSAGE,_LINE_BREAK,_SYSTEMD_INVOCATION_ID"}
	if f.cursor != "" {
		argv = append(argv, "--after-cursor="+f.cursor)
	} else {
		// Not from the exact moment: somebody may set the clock.
		argv = append(argv, "--since=@"+strconv.FormatInt(f.job.Created.Add(-time.Minute).Unix(), 10))
	}
	return append(append(argv, more...), "_SYSTEMD_UNIT="+f.job.Unit, "_TRANSPORT=stdout")
}

func (f *follower) start(ctx context.Context) {
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	f.done.Go(func() {
		if err := f.read(ctx, f.entries("--follow", "--no-tail"), f); err != nil && ctx.Err() == nil && f.err == nil {
			f.hint("hero_proc: cannot follow the journal, so what it prints is shown when it has ended: %v", err)
		}
	})
}

// finish shows what the follower has not shown yet. The unit has ended, so all
// that it printed is with the journal; once that has written it down, which
// root alone can ask for, nothing is missing.
func (f *follower) finish(ctx context.Context) error {
	f.stop()
	f.done.Wait()
	if f.err != nil {
		return f.err
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if os.Geteuid() == 0 || f.host != "" {
		if err := f.read(ctx, []string{"journalctl", "--quiet", "--sync"}, io.Discard); err != nil {
			f.hint("hero_proc: the end of what it printed may be missing: %v", err)
		}
	}
	f.rest = nil
	if err := f.read(ctx, f.entries("--quiet"), f); err != nil && f.err == nil {
		return units.Errorf(units.CodeUnavailable, "cannot read what job %d printed: %w", f.job.ID, err).
			WithRemedy("journalctl -u " + f.job.Unit)
	}
	return f.err
}

// Write takes journalctl's output, a JSON object a line.
func (f *follower) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	for {
		line, rest, ok := bytes.Cut(f.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		f.rest = rest
		if err := f.show(line); err != nil {
			f.err = err
			f.broken()
			return 0, err
		}
	}
}

// entry is what is needed of an entry: systemd.journal-fields(7).
type entry struct {
	Cursor     string  `json:"__CURSOR"`
	Message    message `json:"MESSAGE"`
	LineBreak  string  `json:"_LINE_BREAK"`
	Invocation string  `json:"_SYSTEMD_INVOCATION_ID"`
}

func (f *follower) show(line []byte) error {
	var e entry
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &e) != nil {
		return nil // what journalctl says to people
	}
	f.cursor = e.Cursor
	if e.Invocation != "" && f.job.InvocationID != "" && e.Invocation != f.job.InvocationID {
		return nil
	}
	text := []byte(e.Message)
	if e.LineBreak != "line-max" && e.LineBreak != "eof" { // there was a newline
		text = append(text, '\n')
	}
	if _, err := f.out.Write(text); err != nil {
		return units.Errorf(units.CodeInternal, "cannot write what job %d prints: %w", f.job.ID, err)
	}
	return nil
}

// message is text, or a list of bytes where journalctl finds it unprintable.
type message []byte

func (m *message) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*m = message(text)
		return nil
	}
	var numbers []octet
	if err := json.Unmarshal(data, &numbers); err != nil {
		return fmt.Errorf("a message is neither text nor bytes: %w", err)
	}
	for _, n := range numbers {
		*m = append(*m, byte(n))
	}
	return nil
}

// octet keeps encoding/json from taking a list of bytes for base64.
type octet uint16

// systemOutput runs a program that ends with us. journalctl is out of reach of
// the terminal's Ctrl-C, which is for us to deal with; ssh may have to ask.
func systemOutput(env Env) func(context.Context, []string, io.Writer) error {
	return func(ctx context.Context, argv []string, to io.Writer) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdout, cmd.Stderr = to, env.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: argv[0] == "journalctl", Pdeathsig: syscall.SIGKILL}
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", argv[0], err)
		}
		return nil
	}
}
