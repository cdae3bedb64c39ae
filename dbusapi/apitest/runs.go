package apitest

import (
	"context"
	"fmt"
	"syscall"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// RunJob runs nothing: the job of a command whose program is true succeeds at
// once, any other runs. With streams, it says so on the second one.
func (c *Controller) RunJob(ctx context.Context, def map[string]any, streams *units.Streams) (units.Job, error) {
	what, err := units.DecodeRun(def, func(id units.ID) (units.Service, error) { return c.Definition(ctx, id) })
	if err != nil {
		return units.Job{}, err
	}
	if streams != nil {
		if _, err := syscall.Write(streams[1], []byte("started "+what.String()+"\n")); err != nil {
			return units.Job{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs++
	now := c.tick()
	j := units.Job{
		ID: int64(len(c.jobs) + 1), Run: c.runs, Service: what.ID, Action: what.Action.Name, Unit: what.RunUnit(c.runs), Attempt: 1,
		Phase: units.PhaseRunning, InvocationID: fmt.Sprintf("%032x", len(c.jobs)+1), Created: now, Started: now,
	}
	if what.Action.Exec[0] == "true" {
		j.Phase, j.Ended, j.Result, j.ExitCode = units.PhaseSucceeded, now, "success", 1
	}
	c.jobs[j.ID] = j
	c.touched.Jobs = append(c.touched.Jobs, j.ID)
	c.wake()
	return j, nil
}
