package apitest

import (
	"cmp"
	"context"
	"slices"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Job implements dbusapi.Controller, as does all that follows.
func (c *Controller) Job(_ context.Context, id int64) (units.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	job, ok := c.jobs[id]
	if !ok {
		return units.Job{}, units.Errorf(units.CodeNoSuchJob, "there is no job %d", id)
	}
	return job, nil
}

func (c *Controller) LiveJobs(context.Context) ([]units.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	live := []units.Job{}
	for _, job := range c.jobs {
		if !job.Phase.Terminal() {
			live = append(live, job)
		}
	}
	slices.SortFunc(live, func(a, b units.Job) int { return cmp.Compare(a.ID, b.ID) })
	return live, nil
}

func (c *Controller) Jobs(_ context.Context, f units.JobFilter) ([]units.Job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	selected := []units.Job{}
	for _, job := range c.jobs {
		if f.Selects(job) {
			selected = append(selected, job)
		}
	}
	slices.SortFunc(selected, func(a, b units.Job) int { return cmp.Compare(a.ID, b.ID) })
	if most := f.Bound(); most >= 0 {
		selected = selected[max(0, len(selected)-most):]
	}
	return selected, nil
}

func (c *Controller) Cancel(ctx context.Context, id int64) error {
	job, err := c.Job(ctx, id)
	if err != nil || job.Phase.Terminal() {
		return err
	}
	_, err = c.Stop(ctx, job.Service)
	return err
}

func (c *Controller) WaitReady(ctx context.Context, id int64) (units.Job, error) {
	return c.wait(ctx, id, func(p units.Phase) bool { return p != units.PhasePending })
}

func (c *Controller) Wait(ctx context.Context, id int64) (units.Job, error) {
	return c.wait(ctx, id, units.Phase.Terminal)
}

func (c *Controller) wait(ctx context.Context, id int64, enough func(units.Phase) bool) (units.Job, error) {
	for {
		job, err := c.Job(ctx, id)
		if err != nil || enough(job.Phase) {
			return job, err
		}
		c.mu.Lock()
		changed := c.changed
		late := c.jobs[id] != job
		c.mu.Unlock()
		if late {
			continue
		}
		select {
		case <-ctx.Done():
			return units.Job{}, ctx.Err()
		case <-changed:
		}
	}
}
