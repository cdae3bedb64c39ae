package dbusapi

import (
	"context"
	"math"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func listServices(ctx context.Context, c *call) ([]any, error) {
	list, err := c.Services(ctx)
	return []any{wire.Status.EncodeAll(list)}, err
}

func getService(ctx context.Context, c *call) ([]any, error) {
	id, err := c.service()
	if err != nil {
		return nil, err
	}
	_, err = c.Status(ctx, id)
	return []any{wire.ServicePath(id)}, err
}

func setService(ctx context.Context, c *call) ([]any, error) {
	flags, err := c.flags(wire.FlagMerge)
	if err != nil {
		return nil, err
	}
	def, err := wire.DecodeDefinition(c.args[0].(map[string]dbus.Variant))
	if err != nil {
		return nil, err
	}
	return nil, c.Set(ctx, def, flags&wire.FlagMerge != 0)
}

func removeService(ctx context.Context, c *call) ([]any, error) {
	id, err := c.service()
	if err != nil {
		return nil, err
	}
	flags, err := c.flags(wire.FlagStop)
	if err != nil {
		return nil, err
	}
	return nil, c.Remove(ctx, id, flags&wire.FlagStop != 0)
}

// control is StartService, StopService or RestartService.
func control(do func(Controller, context.Context, units.ID) (units.Job, error)) func(context.Context, *call) ([]any, error) {
	return func(ctx context.Context, c *call) ([]any, error) {
		id, err := c.service()
		if err != nil {
			return nil, err
		}
		if _, err := c.flags(0); err != nil {
			return nil, err
		}
		job, err := do(c.Controller, ctx, id)
		return []any{wire.JobPath(job.ID)}, err
	}
}

func getJob(ctx context.Context, c *call) ([]any, error) {
	number := c.args[0].(uint64)
	if number == 0 || number > math.MaxInt64 {
		return nil, units.Errorf(units.CodeNoSuchJob, "there is no job %d", number)
	}
	job, err := c.Job(ctx, int64(number))
	return []any{wire.JobPath(job.ID)}, err
}

func queryLogs(ctx context.Context, c *call) ([]any, error) {
	filter, err := wire.DecodeFilter(c.args[0].(map[string]dbus.Variant))
	if err != nil {
		return nil, err
	}
	entries, err := c.Logs(ctx, filter)
	return []any{wire.LogEntry.EncodeAll(entries)}, err
}
