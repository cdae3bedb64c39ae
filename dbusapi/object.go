package dbusapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
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
	withheld := !authz.SeesSecrets(c.uid)
	if withheld {
		s.Actions = slices.Clone(s.Actions)
		for i := range s.Actions {
			s.Actions[i].Env, s.Actions[i].Credentials = nil, nil
		}
	}
	def := s.Encode()
	if withheld {
		def[wire.EnvWithheld] = true
	}
	out, err := wire.EncodeDefinition(def)
	return []any{out}, err
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
		return nil, protocolError(wire.ErrUnknownProperty, string(c.object.Path)+" has no property "+name)
	}
	return []any{value}, nil
}

func getProperties(ctx context.Context, c *call) ([]any, error) {
	all, err := c.properties(ctx)
	return []any{all}, err
}

func setProperty(context.Context, *call) ([]any, error) {
	return nil, protocolError(wire.ErrPropertyReadOnly, "properties can't be set; a service is changed with SetService")
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
		health, err := c.Health(ctx)
		return wire.Health.Encode(health), err
	case wire.KindService:
		status, err := c.Status(ctx, c.object.Service)
		return wire.Status.Encode(status), err
	case wire.KindJob:
		job, err := c.Job(ctx, c.object.Job)
		return wire.Job.Encode(job), err
	}
	return map[string]dbus.Variant{}, nil
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
		return []string{"job", "service"}, nil
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
		if below, ok := strings.CutPrefix(string(wire.RootPath), strings.TrimSuffix(string(path), "/")+"/"); ok {
			next, _, _ := strings.Cut(below, "/")
			return []string{next}, nil
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
		return nil, protocolError(wire.ErrUnknownObject, "there is no service in context "+context)
	}
	sorted := slices.Sorted(maps.Keys(labels))
	return sorted[:min(len(sorted), maxChildren)], nil
}
