package probe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe"
)

// Env is what the program has from outside.
type Env struct {
	Getenv         func(string) string
	Notify         func(state string) // sd_notify(3)
	Stdout, Stderr io.Writer
	Version        string
}

const usage = `Usage: hero_proc_probe [OPTION]... PROBE

Asks a program whether it is ready, until it is; or once, how it is. systemd runs
it for services that have a probe; see hero_proc_probe(8).

PROBE is one of:
`

// Main asks until the program is ready, or until it is of no use to ask any
// longer, and returns the exit status.
func Main(ctx context.Context, args []string, env Env) int {
	c, err := parse(args, env)
	switch {
	case errors.Is(err, flag.ErrHelp), err == nil && c.version:
		return units.ExitDone
	case err == nil && c.once:
		err = c.ask(ctx)
	case err == nil:
		err = c.wait(ctx, env)
	}
	if err == nil {
		return units.ExitDone
	}
	env.Notify("STATUS=" + units.NotReady + err.Error())
	prefix := "hero_proc_probe: "
	if env.Getenv("JOURNAL_STREAM") != "" {
		prefix = "<3>" // the journal knows who it is, but not that it is an error: sd-daemon(3)
	}
	fmt.Fprintf(env.Stderr, "%s%s%v\n", prefix, units.NotReady, err)
	return units.ExitFailed
}

// call is what the arguments ask for.
type call struct {
	question          probe.Question
	interval, timeout time.Duration
	credential        string
	once              bool
	version           bool
	asMain            bool
}

func parse(args []string, env Env) (call, error) {
	var c call
	flags := flag.NewFlagSet("hero_proc_probe", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.DurationVar(&c.interval, "interval", units.DefaultReadyInterval, "wait this `TIME` between two tries, less at first")
	flags.DurationVar(&c.timeout, "timeout", units.DefaultReadyTimeout, "give up after this `TIME`")
	flags.IntVar(&c.question.Status, "status", 0, "the `STATUS` of HTTP that is ready (any from 200 to 399)")
	flags.StringVar(&c.question.Match, "match", "", "`TEXT` that the body of an answer of HTTP has to have")
	flags.StringVar(&c.credential, "credential", "", "the `NAME` under $CREDENTIALS_DIRECTORY of the password for Redis")
	flags.BoolVar(&c.once, "once", false, "ask once, and be content with any answer")
	flags.BoolVar(&c.asMain, "as-main", false, "become who the unit's program runs as, before anything else")
	flags.BoolVar(&c.version, "version", false, "print the version")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(env.Stdout, usage)
		for _, form := range units.ReadyForms {
			if units.Ready(form).IsProbe() {
				fmt.Fprintln(env.Stdout, "  "+form)
			}
		}
		fmt.Fprintln(env.Stdout, "\nOptions:")
		flags.SetOutput(env.Stdout)
		flags.PrintDefaults()
		return c, err
	case err != nil:
		return c, err
	case c.version:
		fmt.Fprintln(env.Stdout, "hero_proc_probe", env.Version)
		return c, nil
	case flags.NArg() != 1:
		return c, fmt.Errorf("it wants one PROBE, and has %d; see hero_proc_probe --help", flags.NArg())
	case c.interval <= 0 || c.timeout <= 0:
		return c, errors.New("--interval and --timeout have to be more than 0")
	}
	if c.question.Probe, err = units.ParseProbe(flags.Arg(0)); err != nil {
		return c, fmt.Errorf("the probe %w", err)
	}
	if c.asMain {
		if err := becomeMain(env.Getenv("MAINPID")); err != nil {
			return c, err
		}
	}
	if c.credential != "" {
		c.question.Password, err = readCredential(env.Getenv("CREDENTIALS_DIRECTORY"), c.credential)
	}
	return c, err
}

// readCredential reads a secret as people keep it: a line, or without its end.
func readCredential(dir, name string) (string, error) {
	if dir == "" || name != filepath.Base(name) {
		return "", fmt.Errorf("the unit has no credential %q", name)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	secret := strings.TrimRight(string(data), "\r\n")
	switch {
	case err != nil:
		return "", fmt.Errorf("the credential %q can't be read: %s", name, probe.Cause(err))
	case secret == "":
		return "", fmt.Errorf("the credential %q is empty", name)
	}
	return secret, nil
}

// tryTimeout is how long one of several tries may wait for a network. A command
// may take all the time that there is.
const tryTimeout = 5 * time.Second

func (c call) try(ctx context.Context) probe.Answer {
	if c.question.Kind != units.ProbeExec {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, tryTimeout)
		defer cancel()
	}
	return probe.Try(ctx, c.question)
}

// ask asks once. The answer alone is said: who asks knows the question.
func (c call) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if a := probe.Try(ctx, c.question); a.State != probe.Ready {
		return errors.New(a.Says)
	}
	return nil
}

// wait asks. What it waits for is the unit's status meanwhile. When ctx ends,
// systemd has asked the prober to end.
func (c call) wait(ctx context.Context, env Env) error {
	alive, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	// systemd sets it for ExecStartPost=: systemd.exec(5).
	pid, err := strconv.Atoi(env.Getenv("MAINPID"))
	inUnit := err == nil
	if inUnit {
		alive, cancel = whileAlive(alive, pid)
		defer cancel()
	}
	asking, cancel := context.WithCancel(alive)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	told := false
	o := wait(asking, c.interval, c.try, func(a probe.Answer) {
		if a.State == probe.NotYet {
			told = true
			env.Notify(fmt.Sprintf("STATUS=waiting for %s: %s", c.question, a.Says))
		}
	})
	switch {
	case o.State == probe.Ready:
		if told {
			env.Notify("STATUS=")
		}
		return nil
	case o.State == probe.Never:
		return fmt.Errorf("%s: %s", c.question, o.Says)
	case ctx.Err() != nil && inUnit:
		return whileStopping(alive, env)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted while %s was awaited: %s", c.question, o.Says)
	case errors.Is(context.Cause(alive), errEnded):
		return fmt.Errorf("%w while %s was awaited: %s", errEnded, c.question, o.Says)
	default:
		return fmt.Errorf("%s after %s and %d tries: %s", c.question, o.took.Round(100*time.Millisecond), o.tries, o.Says)
	}
}

// whileStopping ends well once the program has ended. That is how a unit that
// is stopped while it starts has not failed: systemd signals the program and
// the prober, and takes a prober that ends by its signal for a failure. Nobody
// can take this success for readiness, as there is nobody left to be ready.
func whileStopping(alive context.Context, env Env) error {
	<-alive.Done()
	if errors.Is(context.Cause(alive), errEnded) {
		env.Notify("STATUS=")
		return nil
	}
	return errors.New("the prober was told to end, and the program was not")
}
