package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// verb is what is done to a service.
type verb struct {
	name, done string
	call       func(API, context.Context, units.ID) (units.Job, error)
	wait       func(API, context.Context, int64) (units.Job, error)
}

var (
	starting   = verb{"start", "started", API.Start, API.WaitReady}
	restarting = verb{"restart", "restarted", API.Restart, API.WaitReady}
	stopping   = verb{"stop", "stopped", API.Stop, API.Wait}
)

func (c *call) startCommand() *cli.Command {
	return c.controlCommand(starting, "start services and wait until they are ready",
		`A service is ready when systemd says so: executed, notified, or found ready by
its probe, as its definition asks. Starting one that runs changes nothing.

Example:
   hero_proc service start hero_db
   hero_proc service start web worker --timeout 30s`)
}

func (c *call) stopCommand() *cli.Command {
	return c.controlCommand(stopping, "stop services and wait until they have stopped",
		`It stays stopped until somebody starts it, or the next boot where its wanted
status is start. For good: hero_proc service disable NAME --now

Example:
   hero_proc service stop web`)
}

func (c *call) restartCommand() *cli.Command {
	return c.controlCommand(restarting, "stop services, start them again and wait until they are ready",
		`A changed definition takes hold. One that does not run is started.

Example:
   hero_proc service restart web`)
}

func (c *call) controlCommand(v verb, usage, description string) *cli.Command {
	return &cli.Command{
		Name:        v.name,
		Usage:       usage,
		ArgsUsage:   "NAME... [--no-wait] [--timeout TIME]",
		Description: description,
		Flags: []cli.Flag{
			contextFlag("the services' `CONTEXT`"),
			&cli.BoolFlag{Name: "no-wait", Usage: "ask for it and do not wait for the outcome"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing but errors", Destination: &c.quiet},
			&cli.DurationFlag{Name: "timeout", Usage: "wait no longer than this `TIME`, such as 30s; 0 is as long as systemd takes"},
		},
		Action: waiting(func(ctx context.Context, cc *cli.Context) error {
			ids, err := someIDs(cc)
			if err != nil {
				return err
			}
			if cc.Duration("timeout") < 0 {
				return usagef(cc, "--timeout is %s; want 0 or more", cc.Duration("timeout"))
			}
			if cc.Bool("no-wait") {
				v.wait = nil
			}
			api, err := c.connect(ctx)
			if err != nil {
				return err
			}
			return c.control(ctx, api, ids, v, cc.Duration("timeout"))
		}),
	}
}

// control asks for all of the services first and waits then, so that they
// come up side by side. One that fails stops none of the others; the first
// failure gives the exit status, and each is said.
func (c *call) control(ctx context.Context, api API, ids []units.ID, v verb, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	jobs := make([]units.Job, len(ids))
	failures := make([]error, len(ids))
	for i, id := range ids {
		jobs[i], failures[i] = v.call(api, ctx, id)
	}
	asked := slices.Clone(jobs)
	line := c.watch(ctx, func(ctx context.Context) string { return awaited(ctx, api, v, asked) })
	defer line.stop()
	var first error
	outcomes := make([]outcomeView, len(ids))
	for i, id := range ids {
		err := failures[i]
		// Also for a job that is over: its service's other actions may not be.
		if err == nil && v.wait != nil {
			jobs[i], err = waitFor(ctx, api, v, jobs[i])
		}
		err = outcome(ctx, api, id, v, jobs[i], err, timeout)
		outcomes[i] = outcomeView{
			Context: id.Context, Name: id.Name,
			Job: jobs[i].ID, Phase: string(jobs[i].Phase), Result: jobs[i].Result,
		}
		line.aside(func() {
			switch {
			case err == nil && v.wait == nil:
				c.say("asked to %s %s", v.name, id)
			case err == nil:
				c.say("%s %s%s", v.done, id, afterwards(v, jobs[i]))
			default:
				e := explain(err)
				outcomes[i].Error = &errorView{string(e.Code), e.Message, e.Remedy}
				if first == nil {
					first = e
				} else {
					c.printError(e)
				}
			}
		})
	}
	c.result["services"] = outcomes
	return first
}

// looker is as much of the API as says what is awaited.
type looker interface {
	Jobs(ctx context.Context, filter units.JobFilter) ([]units.Job, error)
	Status(ctx context.Context, id units.ID) (units.Status, error)
}

// awaited says how far the jobs are that were asked for, and what the first
// one waits for.
func awaited(ctx context.Context, api looker, v verb, asked []units.Job) string {
	live, err := api.Jobs(ctx, units.JobFilter{Live: true})
	if err != nil {
		return "" // what waits for the jobs will say
	}
	phases := make(map[int64]units.Phase, len(live))
	for _, j := range live {
		phases[j.ID] = j.Phase
	}
	var first *units.Job
	done := 0
	for i, j := range asked {
		phase, isLive := phases[j.ID]
		switch {
		case j.ID == 0 || !isLive || v.name != stopping.name && phase != units.PhasePending:
			done++
		case first == nil:
			first = &asked[i]
		}
	}
	text := ""
	if len(asked) > 1 {
		text = fmt.Sprintf("%d of %d done; ", done, len(asked))
	}
	switch {
	case first == nil && len(asked) == 1:
		first = &asked[0] // its further actions are not up yet, or not down
	case first == nil:
		return text + "waiting for further actions"
	}
	text += first.Service.String()
	s, err := api.Status(ctx, first.Service)
	switch {
	case err != nil:
		return text
	case s.Reason != "":
		return text + ": " + s.Reason
	default:
		return text + " is " + string(s.State)
	}
}

// waitFor waits for a job and keeps what was known of it when that fails.
func waitFor(ctx context.Context, api API, v verb, job units.Job) (units.Job, error) {
	if job.ID == 0 {
		return job, nil // there was nothing to do
	}
	after, err := v.wait(api, ctx, job.ID)
	if err != nil {
		return job, err
	}
	return after, nil
}

// outcome is the error that a job's end is, or nil.
func outcome(ctx context.Context, api API, id units.ID, v verb, job units.Job, err error, timeout time.Duration) error {
	unit := job.Unit
	if unit == "" {
		unit = id.Unit()
	}
	look := fmt.Sprintf("hero_proc service why %s\njournalctl -u %s", short(id), unit)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return units.Errorf(units.CodeTimeout, "%q has not %s within %s; systemd goes on with it", id.String(), v.done, timeout).WithRemedy(look)
	case err != nil && ctx.Err() != nil:
		return units.Errorf(units.CodeCanceled, "no longer waiting for %q; systemd goes on with it", id.String()).WithRemedy(look)
	case err != nil:
		return fmt.Errorf("cannot %s %q: %w", v.name, id.String(), err)
	case v.name == stopping.name || v.wait == nil:
		return nil // however its process ended, it has stopped
	case job.Phase == units.PhaseCanceled:
		return units.Errorf(units.CodeCanceled, "%q was stopped while it started", id.String()).WithRemedy(look)
	case job.Phase == units.PhaseFailed || job.Phase == units.PhaseLost:
		return units.Errorf(units.CodeStartFailed, "cannot %s %q: %s", v.name, id.String(), why(ctx, api, id, job)).WithRemedy(look)
	}
	// What is unhealthy has started all the same.
	down := func(a units.ActionStatus) bool { return !a.Unit.Alive() }
	if s, err := api.Status(ctx, id); err == nil && s.State == units.StateDegraded && slices.ContainsFunc(s.Actions, down) {
		return units.Errorf(units.CodeStartFailed, "%q has %s, but not all of it: %s", id.String(), v.done, s.Reason).WithRemedy(look)
	}
	return nil
}

// why says how a job failed: in systemd's words, unless the service itself
// reads as one that knows more. A probe has said what it waited for; what has
// no end of its own was kept from starting.
func why(ctx context.Context, api API, id units.ID, job units.Job) string {
	s, err := api.Status(ctx, id)
	same := err == nil && s.Unit.Name == job.Unit && s.Unit.InvocationID == job.InvocationID
	if same && s.Reason != "" && (job.ExitCode == 0 || strings.Contains(s.Reason, units.NotReady) || strings.Contains(s.Reason, units.NotStarted)) {
		return s.Reason
	}
	end := units.Unit{Result: job.Result, ExitCode: job.ExitCode, ExitStatus: job.ExitStatus}
	return fmt.Sprintf("unit %s failed: %s", job.Unit, end.Outcome())
}

// afterwards is what is worth saying of a job that did what was asked.
func afterwards(v verb, job units.Job) string {
	switch {
	case v.name == stopping.name && job.Phase == units.PhaseFailed && job.Result != "":
		return fmt.Sprintf("; it ended with result %q", job.Result)
	case v.name != stopping.name && job.Phase == units.PhaseSucceeded:
		return "; it ran to its end with success"
	default:
		return ""
	}
}
