package dbusapi

import (
	"context"
	"slices"

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

// whichAction are the keys that say which action is run, and under which name.
// With any other it is no longer what was registered: an environment alone can
// make another program of it, with the rights that the action has.
var whichAction = []string{"service", "action", "context", "name"}

// ranBy is what a run is about, and what it runs: an action of the registered
// service, whatever name it gives itself, or a command. That is by its own
// name, or, where it is an action with changes, by the service's.
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
	runs = "action"
	if text["action"] != "" {
		if err := units.CheckActionName(text["action"]); err != nil {
			return units.ID{}, "", units.Errorf(units.CodeInvalidDefinition, "action %w", err)
		}
		runs = "action " + text["action"]
	}
	for key := range def {
		if !slices.Contains(whichAction, key) {
			return id, "command", nil
		}
	}
	return id, runs, nil
}
