package dbusapi

import (
	"context"
	"math"
	"slices"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func listServices(ctx context.Context, c *call) ([]any, error) {
	list, err := c.Services(ctx)
	return []any{serviceRows(list)}, err
}

func listServicesFiltered(ctx context.Context, c *call) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	filter, err := wire.DecodeServiceFilter(c.args[0].(map[string]dbus.Variant))
	if err != nil {
		return nil, err
	}
	list, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(s units.Status) bool { return !filter.Selects(s) })
	return []any{serviceRows(list)}, nil
}

// serviceRows are the services in bulk. The one action of a service says
// nothing that the service doesn't.
func serviceRows(list []units.Status) []map[string]dbus.Variant {
	for i := range list {
		if len(list[i].Actions) == 1 {
			list[i].Actions = nil
		}
	}
	return wire.Status.EncodeAll(list)
}

func listContexts(ctx context.Context, c *call) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	list, err := c.Services(ctx)
	return []any{wire.Context.EncodeAll(contexts(list))}, err
}

func listJobs(ctx context.Context, c *call) ([]any, error) {
	flags, err := c.flags(wire.FlagHistory)
	if err != nil {
		return nil, err
	}
	filter, err := wire.DecodeJobFilter(c.args[0].(map[string]dbus.Variant))
	if err != nil {
		return nil, err
	}
	filter.Live = flags&wire.FlagHistory == 0
	list, err := c.Jobs(ctx, filter)
	return []any{wire.Job.EncodeAll(list)}, err
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

// control is StartService, StopService or RestartService of the manager.
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
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
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

func pruneLogs(ctx context.Context, c *call) ([]any, error) {
	flags, err := c.flags(wire.FlagEverything)
	if err != nil {
		return nil, err
	}
	filter, err := wire.DecodePruneFilter(c.args[0].(map[string]dbus.Variant), flags&wire.FlagEverything != 0)
	if err != nil {
		return nil, err
	}
	deleted, err := c.PruneLogs(ctx, filter)
	return []any{uint64(max(deleted, 0))}, err
}
