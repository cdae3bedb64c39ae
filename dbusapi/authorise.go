package dbusapi

import (
	"context"
	"errors"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// authorise is nil if the caller may make the call. It looks at nothing but
// the message, and at what can't change, so that what is granted is what is
// done. ctx ends when the caller leaves.
func (c *call) authorise(ctx context.Context, m *method) error {
	r := c.request(m.access, m.member)
	r.Interactive = c.msg.Flags&dbus.FlagAllowInteractiveAuthorization != 0
	if r.NeedsPolkit() {
		looking, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		var err error
		if r.Service, r.Runs, err = c.subject(looking, m); err != nil {
			return ended(err, callTimeout)
		}
	}
	return c.check(ctx, r)
}

// seesSecrets says whether the caller may see the environments and
// credentials of a service: that is whoever may define it. Nobody is asked for
// a password: without one there is an answer too.
func (c *call) seesSecrets(ctx context.Context, id units.ID) (bool, error) {
	r := c.request(authz.DefineServices, "GetDefinition")
	r.Service = id
	err := c.check(ctx, r)
	if err == nil {
		return true, nil
	}
	if code := units.CodeOf(err); code == units.CodeAccessDenied || code == units.CodeInteractiveAuthorizationRequired {
		return false, nil
	}
	return false, err
}

func (c *call) request(access authz.Access, method string) authz.Request {
	return authz.Request{UID: c.uid, Sender: c.msg.sender, Access: access, Method: method}
}

func (c *call) check(ctx context.Context, r authz.Request) error {
	err := c.polkit.Check(ctx, c.msg.conn, r)
	// The caller is told that there was no answer; why is for the log. It is
	// no warning: any user could fill the journal with those.
	if cause := errors.Unwrap(err); cause != nil {
		c.log.Debug("polkit can't be asked, so it counts as refused", "error", cause)
	}
	return err
}

// subject is what the call is about, as polkit's rules see it. A name that is
// none is refused here: it would be shown to who is asked for a password. runs
// is as in [authz.Request].
func (c *call) subject(ctx context.Context, m *method) (id units.ID, runs string, err error) {
	if c.object.Kind == wire.KindJob {
		job, err := c.Job(ctx, c.object.Job)
		return job.Service, "", err
	}
	id = c.object.Service // none, for objects that are neither a service nor a context
	for i, a := range m.in {
		switch a.name {
		case "context":
			id.Context = c.args[i].(string)
			if err := units.CheckContextName(id.Context); err != nil {
				return units.ID{}, "", units.Errorf(units.CodeInvalidArgument, "context %w", err)
			}
		case "name":
			id.Name = c.args[i].(string)
			if err := units.CheckServiceName(id.Name); err != nil {
				return units.ID{}, "", units.Errorf(units.CodeInvalidArgument, "service name %w", err)
			}
		case "definition":
			id, err = definedBy(c.args[i].(map[string]dbus.Variant))
			return id, "", err
		case "run":
			return ranBy(c.args[i].(map[string]dbus.Variant))
		case "filter":
			filter, err := wire.DecodeFilter(c.args[i].(map[string]dbus.Variant))
			return units.ID{Context: filter.Context}, "", err
		}
	}
	return id, "", nil
}

// definedBy is the service that a definition defines.
func definedBy(def map[string]dbus.Variant) (units.ID, error) {
	id := units.ID{Context: units.DefaultContext}
	for key, part := range map[string]*string{"context": &id.Context, "name": &id.Name} {
		value, given := def[key]
		if !given {
			continue
		}
		var text bool
		if *part, text = value.Value().(string); !text {
			return units.ID{}, units.Errorf(units.CodeInvalidDefinition, "%s is of type %s; want s", key, value.Signature())
		}
	}
	if err := id.Check(); err != nil {
		return units.ID{}, units.Errorf(units.CodeInvalidDefinition, "%w", err)
	}
	return id, nil
}
