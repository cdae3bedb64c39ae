package wire

import (
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ToError is an error as it goes over the bus: the name is its code's, the
// body is the message and, where there is one, the remedy. An error of the
// protocol goes as it is. What is internal is not told: the caller learns
// where to look, and the detail is for the daemon's log.
func ToError(err error) *dbus.Error {
	var protocol *dbus.Error
	if errors.As(err, &protocol) {
		return protocol
	}
	var e *units.Error
	if !errors.As(err, &e) || e.Code == units.CodeInternal {
		e = units.Errorf(units.CodeInternal, "hero_proc failed inside; its journal has the detail").
			WithRemedy("journalctl -u hero_proc -e")
	}
	body := []any{Clean(e.Message)}
	if e.Remedy != "" {
		body = append(body, Clean(e.Remedy))
	}
	return dbus.NewError(e.Code.Info().DBus, body)
}

// FromError is the inverse of [ToError]. The error's cause is the error of
// the bus; a name that is not of the table is an internal error.
func FromError(e dbus.Error) *units.Error {
	code := units.CodeInternal
	for _, i := range units.Codes {
		if i.DBus == e.Name {
			code = i.Code
		}
	}
	out := &units.Error{Code: code, Message: e.Error(), Err: e}
	if len(e.Body) > 1 {
		out.Remedy, _ = e.Body[1].(string)
	}
	return out
}

// Clean makes any text fit for the bus. An invalid string is not refused by
// dbus-daemon: it ends the connection of the program that sent it.
func Clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
