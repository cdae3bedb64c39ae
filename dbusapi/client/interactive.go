package client

import (
	"context"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
)

// InteractiveTimeout takes the place of [CallTimeout] where somebody may be
// asked for a password: the daemon gives them two minutes.
const InteractiveTimeout = 2*time.Minute + CallTimeout

// AllowInteraction lets polkit ask the user for a password where a call needs
// one. Without it such a call ends with
// [units.CodeInteractiveAuthorizationRequired]. It is for programs with a user
// in front of them, and is called before the first call.
func (c *Client) AllowInteraction() { c.interactive = true }

// send is dbus.Object.CallWithContext, but for the flag that says that
// somebody may be asked: godbus v5.2.4 drops it.
func (c *Client) send(ctx context.Context, conn *dbus.Conn, path dbus.ObjectPath, method string, in []any) *dbus.Call {
	dot := strings.LastIndex(method, ".")
	msg := &dbus.Message{Type: dbus.TypeMethodCall, Body: in, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(wire.BusName),
		dbus.FieldPath:        dbus.MakeVariant(path),
		dbus.FieldInterface:   dbus.MakeVariant(method[:dot]),
		dbus.FieldMember:      dbus.MakeVariant(method[dot+1:]),
	}}
	if c.interactive {
		msg.Flags = dbus.FlagAllowInteractiveAuthorization
	}
	if len(in) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(in...))
	}
	return <-conn.SendWithContext(ctx, msg, make(chan *dbus.Call, 1)).Done
}
