package dbusapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxChildren bounds the children that an introspection lists.
const maxChildren = 4096

func getDefinition(ctx context.Context, c *call) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	s, err := c.Definition(ctx, c.object.Service)
	if err != nil {
		return nil, err
	}
	all, err := c.seesSecrets(ctx, c.object.Service)
	if err != nil {
		return nil, err
	}
	if !all {
		s.Actions = slices.Clone(s.Actions)
		for i := range s.Actions {
			s.Actions[i].Env, s.Actions[i].Credentials = nil, nil
		}
	}
	def := s.Encode()
	if !all {
		def[wire.EnvWithheld] = true
	}
	out, err := wire.EncodeDefinition(def)
	return []any{out}, err
}

// controlThis is Start, Stop or Restart of a service's object.
func controlThis(do func(Controller, context.Context, units.ID) (units.Job, error)) func(context.Context, *call) ([]any, error) {
	return func(ctx context.Context, c *call) ([]any, error) {
		if _, err := c.flags(0); err != nil {
			return nil, err
		}
		job, err := do(c.Controller, ctx, c.object.Service)
		return []any{wire.JobPath(job.ID)}, err
	}
}

func removeThis(ctx context.Context, c *call) ([]any, error) {
	flags, err := c.flags(wire.FlagStop)
	if err != nil {
		return nil, err
	}
	return nil, c.Remove(ctx, c.object.Service, flags&wire.FlagStop != 0)
}

func cancel(ctx context.Context, c *call) ([]any, error) {
	if _, err := c.flags(0); err != nil {
		return nil, err
	}
	return nil, c.Cancel(ctx, c.object.Job)
}

// wait is Wait or WaitReady.
func wait(do func(Controller, context.Context, int64) (units.Job, error)) func(context.Context, *call) ([]any, error) {
	return func(ctx context.Context, c *call) ([]any, error) {
		if _, err := c.flags(0); err != nil {
			return nil, err
		}
		job, err := do(c.Controller, ctx, c.object.Job)
		return []any{wire.Job.Encode(job)}, err
	}
}

func getProperty(ctx context.Context, c *call) ([]any, error) {
	all, err := c.properties(ctx)
	if err != nil {
		return nil, err
	}
	name := c.args[1].(string)
	value, ok := all[name]
	if !ok {
		return nil, c.noProperty(name)
	}
	return []any{value}, nil
}

func (c *call) noProperty(name string) error {
	return protocolError(wire.ErrUnknownProperty, string(c.object.Path)+" has no property "+name)
}

func getProperties(ctx context.Context, c *call) ([]any, error) {
	all, err := c.properties(ctx)
	return []any{all}, err
}

// properties are those of the interface that the first argument names; "" is
// any that the object has.
func (c *call) properties(ctx context.Context) (map[string]dbus.Variant, error) {
	iface := c.args[0].(string)
	if iface != "" && !has(c.object.Kind, iface) {
		return nil, protocolError(wire.ErrUnknownInterface, string(c.object.Path)+" has no interface "+iface)
	}
	if iface != "" && iface != ownInterface[c.object.Kind] {
		return map[string]dbus.Variant{}, nil // the standard ones have none
	}
	switch c.object.Kind {
	case wire.KindManager:
		services, err := c.Services(ctx)
		return wire.Health.Encode(c.Health(services)), err
	case wire.KindContext:
		context, err := c.context(ctx)
		return wire.Context.Encode(context), err
	case wire.KindService:
		status, err := c.Status(ctx, c.object.Service)
		return wire.Status.Encode(status), err
	case wire.KindJob:
		job, err := c.Job(ctx, c.object.Job)
		return wire.Job.Encode(job), err
	case wire.KindLogControl:
		return wire.LogControl.Encode(logState(c.server.LogControl)), nil
	}
	return map[string]dbus.Variant{}, nil
}

// context is the context whose object this is.
func (c *call) context(ctx context.Context) (units.ContextStatus, error) {
	name := c.object.Service.Context
	list, err := c.Services(ctx)
	if err != nil {
		return units.ContextStatus{}, err
	}
	for _, one := range contexts(list) {
		if one.Name == name {
			return one, nil
		}
	}
	return units.ContextStatus{}, noContext(name)
}

func noContext(name string) error {
	return protocolError(wire.ErrUnknownObject, "there is no service in context "+name)
}

func introspect(ctx context.Context, c *call) ([]any, error) {
	children, err := c.children(ctx)
	return []any{wire.Introspection(c.object.Kind, children)}, err
}

// children are the names of the objects below this one, sorted. It is an
// error if this one is not there.
func (c *call) children(ctx context.Context) ([]string, error) {
	switch path := c.object.Path; c.object.Kind {
	case wire.KindManager:
		return []string{"context", "job", "service"}, nil
	case wire.KindContext:
		_, err := c.context(ctx)
		return nil, err
	case wire.KindLogControl:
		return nil, nil
	case wire.KindService:
		_, err := c.Status(ctx, c.object.Service)
		return nil, err
	case wire.KindJob:
		_, err := c.Job(ctx, c.object.Job)
		return nil, err
	default:
		if path == wire.JobsPath {
			return nil, nil // the whole history would be too much
		}
		var next []string
		for _, one := range []dbus.ObjectPath{wire.LogControlPath, wire.RootPath} {
			if below, ok := strings.CutPrefix(string(one), strings.TrimSuffix(string(path), "/")+"/"); ok {
				child, _, _ := strings.Cut(below, "/")
				next = append(next, child)
			}
		}
		if next != nil {
			return next, nil
		}
		return c.registered(ctx, c.object.Service.Context)
	}
}

// registered are the labels of a context's services, or, for "", the contexts.
func (c *call) registered(ctx context.Context, context string) ([]string, error) {
	list, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	labels := map[string]bool{}
	for _, s := range list {
		switch {
		case context == "":
			labels[s.Context] = true
		case context == s.Context:
			labels[wire.EscapeLabel(s.Name)] = true
		}
	}
	if context != "" && len(labels) == 0 {
		return nil, noContext(context)
	}
	sorted := slices.Sorted(maps.Keys(labels))
	return sorted[:min(len(sorted), maxChildren)], nil
}
