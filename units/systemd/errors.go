package systemd

import (
	"context"
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var errNoConnection = errors.New("the connection to the bus is lost, and being made again")

// failure says what could not be done and why, with the code that a caller
// can act on. What systemd itself answers is a refusal; anything that kept
// the answer away is not.
func failure(what string, err error) error {
	var known *units.Error
	if errors.As(err, &known) {
		return err
	}
	return units.Errorf(codeOf(err), "cannot %s: %w", what, err)
}

func codeOf(err error) units.Code {
	var answer dbus.Error
	var format dbus.FormatError
	var invalid dbus.InvalidMessageError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return units.CodeTimeout
	case errors.Is(err, context.Canceled):
		return units.CodeCanceled
	case errors.As(err, &format), errors.As(err, &invalid):
		return units.CodeRefused // what can't be sent, such as a string with a NUL
	case !errors.As(err, &answer):
		return units.CodeUnavailable // the connection broke
	}
	const prefix = "org.freedesktop.DBus.Error."
	switch name := strings.TrimPrefix(answer.Name, prefix); name {
	case "Timeout", "TimedOut":
		return units.CodeTimeout
	case "NoReply", "ServiceUnknown", "NameHasNoOwner", "Disconnected", "NoServer":
		return units.CodeUnavailable
	default:
		if strings.HasPrefix(name, "Spawn.") {
			return units.CodeUnavailable // the bus tried to activate PID 1
		}
		return units.CodeRefused
	}
}

// isDBus says that an error is the D-Bus error of that name.
func isDBus(err error, name string) bool {
	var answer dbus.Error
	return errors.As(err, &answer) && answer.Name == name
}
