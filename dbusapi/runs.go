package dbusapi

import (
	"context"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func runJob(ctx context.Context, c *call) ([]any, error) { return c.run(ctx, nil) }

func runJobWithFiles(ctx context.Context, c *call) ([]any, error) {
	var streams units.Streams
	for i := range streams {
		at, ok := c.args[1+i].(dbus.UnixFDIndex)
		if !ok || int(at) >= len(c.files) {
			return nil, units.Errorf(units.CodeInvalidArgument, "a file descriptor did not come with the call")
		}
		streams[i] = c.files[at]
	}
	return c.run(ctx, &streams)
}

func (c *call) run(ctx context.Context, streams *units.Streams) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	def, err := wire.DecodeDefinition(c.args[0].(map[string]dbus.Variant))
	if err != nil {
		return nil, err
	}
	job, err := c.RunJob(ctx, def, streams)
	return []any{wire.JobPath(job.ID)}, err
}

// ranBy is what a run is about: the registered service, or the name that it
// gives itself.
func ranBy(def map[string]dbus.Variant) (units.ID, error) {
	value, given := def["service"]
	if !given {
		return definedBy(def)
	}
	ref, ok := value.Value().(string)
	if !ok {
		return units.ID{}, units.Errorf(units.CodeInvalidDefinition, "service is of type %s; want s", value.Signature())
	}
	id := units.ID{Context: units.DefaultContext}
	if value, given := def["context"]; given {
		if id.Context, ok = value.Value().(string); !ok {
			return units.ID{}, units.Errorf(units.CodeInvalidDefinition, "context is of type %s; want s", value.Signature())
		}
	}
	id, err := units.ParseRef(id.Context, ref)
	if err != nil {
		return units.ID{}, units.Errorf(units.CodeInvalidDefinition, "%w", err)
	}
	return id, nil
}
