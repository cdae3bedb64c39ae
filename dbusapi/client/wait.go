package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// rereadAfter is how long [Client.WaitActive] trusts that a signal would have
// told it.
const rereadAfter = 15 * time.Second

// WaitActive returns when a service is active: it reads as running, as
// degraded, or as exited, the good end of a one-shot. Whoever needs hero_db
// calls this, and then connects to it. Everybody may call it.
//
// It waits for a service that starts, that failed, or that nobody has started
// yet, and through a restart of the daemon; give ctx a deadline. Its end is
// an error with [units.CodeTimeout] that says what the service reads as, why,
// and what mends it. A service that is not registered, and a daemon that is
// not there to begin with, are an error at once.
func (c *Client) WaitActive(ctx context.Context, id units.ID) (units.Status, error) {
	status, err := c.Status(ctx, id)
	if err != nil || status.State.Active() {
		return status, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes, err := c.Watch(watching)
	if err != nil {
		return status, err
	}
	fallback := time.NewTicker(rereadAfter)
	defer fallback.Stop()
	for {
		select {
		case change, ok := <-changes:
			if !ok && ctx.Err() == nil {
				return status, c.ended(c.closed.Err())
			}
			if ok && !change.All && !slices.Contains(change.Services, id) {
				continue
			}
		case <-fallback.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return status, notActive(ctx.Err(), status)
		}
		now, err := c.Status(ctx, id)
		switch {
		case err == nil && now.State.Active():
			return now, nil
		case err == nil:
			status = now
		case units.CodeOf(err) == units.CodeNotRunning, ctx.Err() != nil:
			// The watch will tell when the daemon is back.
		default:
			return status, err
		}
	}
}

func notActive(ended error, s units.Status) error {
	e := &units.Error{
		Code:    units.CodeTimeout,
		Message: fmt.Sprintf("service %q did not become active in time; it reads as %s", s.ID.String(), s.State),
		Remedy:  s.Remedy,
		Err:     ended,
	}
	if ended == context.Canceled {
		e.Code, e.Message = units.CodeCanceled, fmt.Sprintf("no longer waiting for service %q; it reads as %s", s.ID.String(), s.State)
	}
	if s.Reason != "" {
		e.Message += ": " + s.Reason
	}
	if e.Remedy == "" {
		e.Remedy = "hero_proc service status " + s.ID.String()
	}
	return e
}
