package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// runFlags are the flags of "run" that stand for a key of a run's definition.
var runFlags = []field{
	{"env", "env", pairs, "an environment variable `NAME=VALUE`; again for more; no secrets: other users can read it"},
	{"credential", "credentials", pairs, "a secret `NAME=PATH`: systemd puts the file at $CREDENTIALS_DIRECTORY/NAME; again for more"},
}

// ownFlags are the keys of a run that --property does not take, and what does.
var ownFlags = map[string]string{
	"context": "--context", "name": "--name", "service": "@SERVICE:ACTION", "action": "@SERVICE:ACTION",
	"exec": "-- COMMAND", "env": "--env", "credentials": "--credential", "is_process": "--process",
}

func (c *call) runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a command, or an action of a service, once",
		ArgsUsage: "[--wait | --pipe] -- COMMAND... | @SERVICE[:ACTION]",
		Description: `The command runs as a unit of its own, in the slice of its context, with nothing
of this terminal: as root, in /, with the environment of a service. A word that
begins with @ names a registered service and one of its actions (its primary one
if it names none): that runs with the user, the environment and the limits that
are defined for it. What it runs is a job: job list, job show, job cancel.

With --wait, what it prints is shown as it comes: the journal, of both output and
errors; on a terminal a line says how far it is while nothing comes. With --pipe
it reads and writes the streams of this command itself. Both end when it ends,
with its exit status, or 128 and the number of the signal that ended it; Ctrl-C
cancels it. Without either, this prints the job and ends.

With --process it is meant to stay up: it is started again when it fails, and
after a restart of the machine.

The keys of --property are those of an action, as in service show --json: user,
group, working_dir, memory_max, cpu_quota, tasks_max, open_files, timeout_start
(how long it may take in all), timeout_stop, kill_signal, restart, log_rate_burst
and so on.

Example:
   hero_proc run --wait -- sh -c 'echo hello; exit 7'
   echo hi | hero_proc run --pipe -- cat
   hero_proc run --property user=me --property memory_max=1G -- /usr/bin/x
   hero_proc run --wait @web:migrate`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "context", Value: units.DefaultContext, Usage: "the `CONTEXT` that it is in"},
			&cli.StringFlag{Name: "name", Usage: "call it `NAME`; that of the program, or of the service, unless given"},
			&cli.BoolFlag{Name: "wait", Usage: "show what it prints, and end with its exit status"},
			&cli.BoolFlag{Name: "pipe", Usage: "connect its streams to this command's, and end with its exit status"},
			&cli.BoolFlag{Name: "process", Usage: "it is meant to stay up"},
			&cli.StringSliceFlag{Name: "property", Usage: "set `KEY=VALUE`; again for more"},
		}, fieldFlags(runFlags)...),
		Action: waiting(c.run),
	}
}

func (c *call) run(ctx context.Context, cc *cli.Context) error {
	def, err := runDefinition(cc)
	if err != nil {
		return err
	}
	wait, pipe := cc.Bool("wait"), cc.Bool("pipe")
	_, restarts := def["restart"]
	switch {
	case pipe && c.host != "":
		return usagef(cc, "--pipe does not reach another machine; use --wait, or: ssh %s hero_proc run --pipe …", c.host)
	case pipe && c.json:
		return usagef(cc, "--pipe leaves standard output to the command, and --json needs it")
	case (pipe || wait) && cc.Bool("process"):
		return usagef(cc, "--process is for what stays up; there is no end to wait for")
	case (pipe || wait) && restarts && def["restart"] != string(units.RestartNo):
		return usagef(cc, "restart is for what is started again; there is no one end to wait for")
	}
	if wait {
		if err := c.mayReadJournal("hero_proc run --wait …"); err != nil {
			return err
		}
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	asking := ctx
	if wait || pipe {
		// What was started is to be known, so that Ctrl-C can cancel it.
		asking = context.WithoutCancel(ctx)
	}
	var job units.Job
	if pipe {
		job, err = c.runPiped(asking, api, def)
	} else {
		job, err = api.Run(asking, def)
	}
	if err != nil {
		return fmt.Errorf("cannot run it: %w", err)
	}
	c.result["job"] = viewJob(job)
	switch {
	case pipe:
		return c.attend(ctx, api, job)
	case wait:
		return c.showRun(ctx, api, job)
	}
	c.say("started job %d: %s", job.ID, job.Unit)
	return nil
}

// runDefinition is the definition of the run that the command line describes.
func runDefinition(cc *cli.Context) (map[string]any, error) {
	words := cc.Args().Slice()
	if len(words) == 0 {
		return nil, usagef(cc, "want a command, behind --, or @SERVICE:ACTION")
	}
	def := map[string]any{}
	if cc.IsSet("context") {
		def["context"] = cc.String("context")
	}
	if ref, ok := strings.CutPrefix(words[0], "@"); ok {
		if len(words) > 1 {
			return nil, usagef(cc, "unexpected argument %q: an action has its own", words[1])
		}
		service, action, named := strings.Cut(ref, ":")
		def["service"] = service
		if named {
			def["action"] = action
		}
	} else {
		if strings.Contains(words[0], "/") {
			path, err := filepath.Abs(words[0])
			if err != nil {
				return nil, usagef(cc, "cannot find %s: %w", words[0], err)
			}
			words[0] = path
		}
		def["exec"], def["name"] = words, units.RunName(words[0])
	}
	if cc.IsSet("name") {
		def["name"] = cc.String("name")
	}
	if cc.Bool("process") {
		def["is_process"] = true
	}
	for _, p := range cc.StringSlice("property") {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, usagef(cc, "--property wants KEY=VALUE")
		}
		if other, ok := ownFlags[key]; ok {
			return nil, usagef(cc, "%s is not set by --property; use %s", key, other)
		}
		if _, twice := def[key]; twice {
			return nil, usagef(cc, "--property %s is given twice", key)
		}
		def[key] = value
	}
	return def, putFlags(cc, runFlags, def)
}

// runProperties are the keys that --property takes.
func runProperties() []string {
	var keys []string
	for _, f := range units.RunFields {
		if _, own := ownFlags[f.Name]; !own {
			keys = append(keys, f.Name+"=\t"+f.Doc)
		}
	}
	slices.Sort(keys)
	return keys
}

// runPiped starts the run on the streams of this process.
func (c *call) runPiped(ctx context.Context, api API, def map[string]any) (units.Job, error) {
	stdin, ok1 := c.Stdin.(*os.File)
	stdout, ok2 := c.Stdout.(*os.File)
	stderr, ok3 := c.Stderr.(*os.File)
	if !ok1 || !ok2 || !ok3 {
		return units.Job{}, units.Errorf(units.CodeInvalidArgument, "the streams here are not files")
	}
	return api.RunWithFiles(ctx, def, stdin, stdout, stderr)
}

// passOn makes the end of a job that of this command.
func (c *call) passOn(job units.Job) error {
	c.result["job"] = viewJob(job)
	end := units.Unit{Result: job.Result, ExitCode: job.ExitCode, ExitStatus: job.ExitStatus}
	look := "hero_proc job show " + fmt.Sprint(job.ID) + "\njournalctl -u " + job.Unit
	status, ended := job.ShellStatus()
	switch {
	case job.Phase == units.PhaseLost:
		return units.Errorf(units.CodeInternal, "job %d is over, and how it ended is not known", job.ID).WithRemedy(look)
	case !ended && job.Phase == units.PhaseSucceeded:
	case !ended:
		return units.Errorf(units.CodeStartFailed, "job %d could not be started: %s", job.ID, end.Outcome()).WithRemedy(look)
	case !slices.Contains([]string{"success", "exit-code", "signal", "core-dump"}, job.Result), strings.Contains(end.Outcome(), "(status "):
		// systemd's own end of it, and not the program's.
		c.hint("hero_proc: job %d: %s", job.ID, end.Outcome())
	}
	c.exit = status
	c.result["exit_status"] = status
	return nil
}
