package systemd

import (
	"context"
	"encoding/hex"
	"errors"

	sddbus "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// underWay is how many questions are asked before the first answer is waited
// for: below what the bus lets a connection have, see maxCalls.
const underWay = 96

// Identify gives listed units what tells one activation, and one definition,
// from another: InvocationID, Restarts and Digest. It is for many units at once,
// where all of each would be some 350 properties; it asks for three, and does
// not wait for one answer before it asks on.
func (m *Manager) Identify(ctx context.Context, listed []units.Unit) error {
	for len(listed) > 0 {
		n := min(len(listed), underWay/3)
		if err := m.call(ctx, "identify units", func(ctx context.Context, s *session) error {
			return s.identify(ctx, listed[:n])
		}); err != nil {
			return err
		}
		listed = listed[n:]
	}
	return nil
}

func (s *session) identify(ctx context.Context, listed []units.Unit) error {
	answers := make([]struct{ invocation, restarts, fields *dbus.Call }, len(listed))
	for i, u := range listed {
		// What isn't there would be loaded by the question.
		if u.Loaded() {
			object := s.conn.Object(systemdName, unitsPath+"/"+dbus.ObjectPath(sddbus.PathBusEscape(u.Name)))
			get := func(iface, name string) *dbus.Call {
				return object.GoWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, nil, systemdName+"."+iface, name)
			}
			answers[i].invocation, answers[i].restarts, answers[i].fields = get("Unit", "InvocationID"), get("Service", "NRestarts"), get("Service", "LogExtraFields")
		}
	}
	var failed error
	for i, a := range answers {
		if a.invocation == nil {
			continue
		}
		var id []byte
		var fields [][]byte
		err := errors.Join(answer(a.invocation, &id), answer(a.restarts, &listed[i].Restarts), answer(a.fields, &fields))
		if failed == nil {
			failed = err
		}
		listed[i].InvocationID, listed[i].Digest = hex.EncodeToString(id), transient.DigestOf(fields)
	}
	return failed
}

// answer waits for the value of a property.
func answer(call *dbus.Call, value any) error {
	<-call.Done
	var v dbus.Variant
	if err := call.Store(&v); err != nil {
		return err
	}
	return v.Store(value)
}
