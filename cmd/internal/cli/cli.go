package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// API is what the command line asks of the daemon. The client of package
// dbusapi/client is it.
type API interface {
	Close() error
	// AllowInteraction lets polkit ask the user for a password.
	AllowInteraction()
	Health(ctx context.Context) (units.Health, error)
	Services(ctx context.Context) ([]units.Status, error)
	Status(ctx context.Context, id units.ID) (units.Status, error)
	Definition(ctx context.Context, id units.ID) (map[string]any, error)
	Explain(ctx context.Context, id units.ID) (units.Explanation, error)
	Dependencies(ctx context.Context) ([]units.Dependency, error)
	AnalyzeBoot(ctx context.Context) (units.BootAnalysis, error)
	Set(ctx context.Context, def map[string]any, merge bool) error
	Remove(ctx context.Context, id units.ID, stop bool) error
	Start(ctx context.Context, id units.ID) (units.Job, error)
	Stop(ctx context.Context, id units.ID) (units.Job, error)
	Restart(ctx context.Context, id units.ID) (units.Job, error)
	Run(ctx context.Context, def map[string]any) (units.Job, error)
	RunWithFiles(ctx context.Context, def map[string]any, stdin, stdout, stderr *os.File) (units.Job, error)
	Job(ctx context.Context, job int64) (units.Job, error)
	Jobs(ctx context.Context, filter units.JobFilter) ([]units.Job, error)
	Cancel(ctx context.Context, job int64) error
	WaitReady(ctx context.Context, job int64) (units.Job, error)
	Wait(ctx context.Context, job int64) (units.Job, error)
	Logs(ctx context.Context, filter units.LogFilter) ([]units.LogEntry, error)
	PruneLogs(ctx context.Context, filter units.LogFilter, everything bool) (int64, error)
	Contexts(ctx context.Context) ([]units.ContextStatus, error)
	Metrics(ctx context.Context) (string, error)
}

// Env is all that a call of the command line has of the world.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Width is that of the terminal that Stdout is, in columns. It is 0 for a
	// pipe or a file: then nothing is cut or wrapped.
	Width int
	// Color says that Stdout takes colours.
	Color bool
	// Redraw says that Stdout is a terminal that can take a line back.
	Redraw bool
	// Version is that of this program.
	Version string
	// Now gives the time, in the time zone that times are shown in.
	Now func() time.Time
	// Dial connects to the daemon, DialHost to that of another machine.
	Dial     func(context.Context) (API, error)
	DialHost func(ctx context.Context, host string) (API, error)
	// Exec runs another program to its end, with the streams above; another
	// stdout than nil is in the place of Stdout.
	Exec func(ctx context.Context, argv []string, stdout io.Writer) error
	// JournalDenied says that this user may not read what services print.
	JournalDenied func() bool
	// Capture runs one and answers with what it printed.
	Capture func(ctx context.Context, argv []string) (stdout, stderr []byte, err error)
	// Output runs another program, which reads nothing, to its end or until
	// ctx's, and copies what it prints.
	Output func(ctx context.Context, argv []string, to io.Writer) error
}

// callTimeout bounds a command that waits for no service, but perhaps for
// somebody to type a password.
const callTimeout = client.InteractiveTimeout

// call is one call of the command line.
type call struct {
	Env
	api    API
	json   bool
	quiet  bool           // of --quiet: nothing but errors
	host   string         // of --host, "" is this machine
	result map[string]any // what --json prints
	exit   int            // the exit status when there is no error
	line   *progress      // that hints are not to mix with; nil is none
}

// Run runs one command line, args being what follows the program's name, and
// returns its exit status.
func Run(ctx context.Context, args []string, env Env) int {
	c := &call{Env: env, result: map[string]any{}}
	app := c.app()
	if len(args) > 0 && args[0] == completeCommand {
		c.complete(ctx, app, args[1:])
		return units.ExitDone
	}
	if len(args) > 0 && args[0] == "--version" {
		args = append([]string{"version"}, args[1:]...) // what every program has
	}
	err := app.RunContext(ctx, append([]string{app.Name}, reorder(app, args)...))
	if c.api != nil {
		// The answer is here already; a connection that breaks now harms nobody.
		_ = c.api.Close()
	}
	return c.finish(err)
}

// app makes a fresh app. urfave/cli keeps state in its commands and flags
// (and in the help command and help flag that it shares between all apps,
// which is why neither is used).
func (c *call) app() *cli.App {
	app := &cli.App{
		Name:  "hero_proc",
		Usage: "keep the services of a Hero machine running",
		Description: "hero_proc registers services and asks for them to be started and stopped. What should run stands in " +
			"the store of the daemon, hero_proc_server; systemd runs it, as units named hero-CONTEXT-NAME.service, " +
			"which systemctl and journalctl know as any other.",
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // --env LIST=a,b is one variable
		Writer:                    c.Stdout,
		ErrWriter:                 c.Stderr,
		Reader:                    c.Stdin,
		Flags: []cli.Flag{&cli.BoolFlag{
			Name:        "json",
			Usage:       "print one JSON object, with schema_version, also for an error",
			Destination: &c.json,
		}, &cli.StringFlag{
			Name:        "host",
			Aliases:     []string{"H"},
			Usage:       "ask the daemon of this `HOST`, by ssh: [USER@]HOST[:PORT]",
			Destination: &c.host,
			// An unset variable must not turn into a call of this machine.
			Action: func(cc *cli.Context, host string) error {
				if host == "" {
					return usagef(cc, "--host is empty; want [USER@]HOST[:PORT]")
				}
				return nil
			},
		}},
		Commands: []*cli.Command{
			c.serviceCommand(),
			c.actionCommand(),
			c.runCommand(),
			c.jobCommand(),
			c.contextCommand(),
			c.logCommand(),
			c.healthCommand(),
			c.analyzeCommand(),
			c.metricsCommand(),
			c.versionCommand(),
			c.completionCommand(),
			c.manCommand(),
		},
		// Without a handler urfave/cli calls os.Exit on some errors.
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         group,
		OnUsageError:   usageError,
	}
	app.Flags = append(app.Flags, helpFlag())
	app.CustomAppHelpTemplate = c.appHelp(app)
	walk(app.Name, app.Commands, func(path string, cmd *cli.Command) {
		cmd.HideHelp = true
		cmd.Flags = append(cmd.Flags, helpFlag())
		cmd.OnUsageError = usageError
		if len(cmd.Subcommands) > 0 {
			cmd.Action = group
		}
		cmd.CustomHelpTemplate = c.commandHelp(app, cmd, path)
	})
	return app
}

func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show this help"}
}

// walk calls f for every command, parents first, with the words that call it.
func walk(path string, commands []*cli.Command, f func(string, *cli.Command)) {
	for _, cmd := range commands {
		f(path+" "+cmd.Name, cmd)
		walk(path+" "+cmd.Name, cmd.Subcommands, f)
	}
}

// connect dials the daemon, once a call. Commands look at their arguments
// first, so that a wrong one is said with no daemon too.
func (c *call) connect(ctx context.Context) (API, error) {
	if c.api == nil {
		api, err := c.dial(ctx)
		if err != nil {
			return nil, err
		}
		if c.Width > 0 && !c.json { // a person reads the answer
			api.AllowInteraction()
		}
		c.api = api
	}
	return c.api, nil
}

func (c *call) dial(ctx context.Context) (API, error) {
	if c.host != "" {
		return c.DialHost(ctx, c.host)
	}
	return c.Dial(ctx)
}

// quick is the action of a command that the daemon answers at once.
func quick(f func(context.Context, *cli.Context) error) cli.ActionFunc {
	return func(cc *cli.Context) error {
		ctx, cancel := context.WithTimeout(cc.Context, callTimeout)
		defer cancel()
		return f(ctx, cc)
	}
}

// waiting is the action of a command that may wait for a service as long as
// that takes: systemd's own timeouts, --timeout, or the user's Ctrl-C end it.
func waiting(f func(context.Context, *cli.Context) error) cli.ActionFunc {
	return func(cc *cli.Context) error { return f(cc.Context, cc) }
}

// say prints a line for people: with --json there is none.
func (c *call) say(format string, args ...any) {
	if !c.json && !c.quiet {
		fmt.Fprintf(c.Stdout, format+"\n", args...)
	}
}

// hint prints a line for people that is not the answer, and so must not get
// into a pipe.
func (c *call) hint(format string, args ...any) {
	switch {
	case c.json:
	case c.line != nil:
		c.line.aside(func() { fmt.Fprintf(c.Stderr, format+"\n", args...) })
	default:
		fmt.Fprintf(c.Stderr, format+"\n", args...)
	}
}

// systemExec runs a program with the call's streams. A status other than 0 is
// the program's to explain; it has done so on Stderr.
func systemExec(env Env) func(context.Context, []string, io.Writer) error {
	return func(ctx context.Context, argv []string, stdout io.Writer) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = env.Stdin, env.Stdout, env.Stderr
		if stdout != nil {
			cmd.Stdout = stdout
			if env.Color { // a program that writes to a pipe would leave them out
				cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=1")
			}
		}
		err := cmd.Run()
		if errors.Is(err, exec.ErrNotFound) {
			return units.Errorf(units.CodeUnavailable, "cannot run %s: it is not installed", argv[0])
		}
		if err != nil && ctx.Err() == nil {
			return units.Errorf(units.CodeInternal, "%s failed: %w", strings.Join(argv, " "), err)
		}
		return nil
	}
}

// systemCapture runs a program that reads nothing.
func systemCapture(ctx context.Context, argv []string) (stdout, stderr []byte, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.Bytes(), err
}
