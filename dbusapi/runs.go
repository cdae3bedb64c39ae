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

// ranBy is what a run is about, and what it runs: an action of the registered
// service, whatever name it gives itself, or a command by that name.
func ranBy(def map[string]dbus.Variant) (id units.ID, runs string, err error) {
	if _, given := def["service"]; !given {
		id, err := definedBy(def)
		return id, "command", err
	}
	text := map[string]string{"context": units.DefaultContext}
	for _, key := range []string{"service", "context", "action"} {
		if value, given := def[key]; given {
			var ok bool
			if text[key], ok = value.Value().(string); !ok {
				return units.ID{}, "", units.Errorf(units.CodeInvalidDefinition, "%s is of type %s; want s", key, value.Signature())
			}
		}
	}
	if id, err = units.ParseRef(text["context"], text["service"]); err != nil {
		return units.ID{}, "", units.Errorf(units.CodeInvalidDefinition, "%w", err)
	}
	if text["action"] == "" {
		return id, "action", nil
	}
	if err := units.CheckActionName(text["action"]); err != nil {
		return units.ID{}, "", units.Errorf(units.CodeInvalidDefinition, "action %w", err)
	}
	return id, "action " + text["action"], nil
}
