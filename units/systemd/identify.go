package systemd

import (
	"context"
	"encoding/hex"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// underWay is how many questions wait for their answers at a time: with
// maxCalls, below what the bus lets a connection have.
const underWay = 64

// Identify gives listed units what tells one activation, and one definition,
// from another: InvocationID and Digest. It is for many units at once, where
// all of each would be some 350 properties; it asks for two, and asks on before
// the answers are there.
func (m *Manager) Identify(ctx context.Context, listed []units.Unit) error {
	return m.call(ctx, "identify units", func(ctx context.Context, s *session) error { return s.identify(ctx, listed) })
}

func (s *session) identify(ctx context.Context, listed []units.Unit) error {
	answers := make(chan *dbus.Call, underWay)
	waiting := make(map[*dbus.Call]func(*dbus.Call) error, underWay)
	take := func() error {
		call := <-answers // godbus ends each, at the latest with ctx
		store := waiting[call]
		delete(waiting, call)
		return store(call)
	}
	var failed error
	for i := range listed {
		u := &listed[i]
		// What isn't there would be loaded by the question.
		if !u.Loaded() {
			continue
		}
		object := s.conn.Object(systemdName, unitPath(u.Name))
		ask := func(iface, name string, store func(*dbus.Call) error) {
			for len(waiting) >= underWay {
				if err := take(); failed == nil {
					failed = err
				}
			}
			waiting[object.GoWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, answers, systemdName+"."+iface, name)] = store
		}
		ask("Unit", "InvocationID", func(call *dbus.Call) error {
			id, err := answer[[]byte](call)
			u.InvocationID = hex.EncodeToString(id)
			return err
		})
		ask("Service", "LogExtraFields", func(call *dbus.Call) error {
			fields, err := answer[[][]byte](call)
			u.Digest = transient.DigestOf(fields)
			return err
		})
	}
	for len(waiting) > 0 {
		if err := take(); failed == nil {
			failed = err
		}
	}
	return failed
}

// answer is that to a question for one property.
func answer[T any](call *dbus.Call) (v T, err error) {
	var variant dbus.Variant
	if err := call.Store(&variant); err != nil {
		return v, err
	}
	return v, variant.Store(&v)
}
