package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// How long a command that waits for a job does without the daemon, which may
// be restarted, and how often it asks for it.
const (
	absence   = time.Minute
	askAgain  = 200 * time.Millisecond
	cancelFor = 30 * time.Second
)

// interrupted is what a shell makes of a program that Ctrl-C has ended.
const interrupted = 130

// attend waits for a job's end, and cancels the job when somebody ends this
// command.
func (c *call) attend(ctx context.Context, api API, job units.Job) error {
	ended, err := c.await(ctx, api, job)
	if err != nil && ctx.Err() != nil {
		return c.cancel(ctx, api, job)
	}
	if err != nil {
		return err
	}
	return c.passOn(ended)
}

// cancel cancels the job and waits for its end. A second Ctrl-C ends the wait,
// as the first one gave that back its usual meaning.
func (c *call) cancel(ctx context.Context, api API, job units.Job) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelFor)
	defer stop()
	c.hint("hero_proc: canceling job %d", job.ID)
	look := fmt.Sprintf("hero_proc job show %d\nhero_proc job cancel %d", job.ID, job.ID)
	if err := api.Cancel(ctx, job.ID); err != nil {
		return fmt.Errorf("cannot cancel job %d: %w", job.ID, err)
	}
	ended, err := c.await(ctx, api, job)
	if err != nil {
		return units.Errorf(units.CodeTimeout, "job %d was canceled, and has not ended yet", job.ID).WithRemedy(look)
	}
	c.result["job"] = viewJob(ended)
	c.exit = interrupted
	return nil
}

// await waits for a job's end, through a restart of the daemon too: the job
// runs on meanwhile, and keeps its number.
func (c *call) await(ctx context.Context, api API, job units.Job) (units.Job, error) {
	var since time.Time // the daemon is away
	for {
		asked := time.Now()
		ended, err := api.Wait(ctx, job.ID)
		if err == nil || ctx.Err() != nil {
			return ended, errors.Join(err, ctx.Err())
		}
		switch code := units.CodeOf(err); {
		case code == units.CodeTimeout && time.Since(asked) > absence:
			since = time.Time{} // the daemon gives up after an hour
			continue
		case code != units.CodeNotRunning && code != units.CodeUnavailable && code != units.CodeCanceled && code != units.CodeTimeout:
			return job, err
		case since.IsZero(), time.Since(asked) > absence:
			since = time.Now()
			c.hint("hero_proc: the daemon went away; job %d runs on; waiting for it to come back", job.ID)
		case time.Since(since) > absence:
			return job, units.Errorf(units.CodeNotRunning, "the daemon has not come back for %s; job %d may run on, and how it ends is not known here: %w", absence, job.ID, err).
				WithRemedy(fmt.Sprintf("sudo systemctl start hero_proc\nhero_proc job show %d", job.ID))
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return job, ctx.Err()
		}
	}
}
