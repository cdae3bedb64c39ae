package client

import (
	"context"
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const startRemedy = "systemctl start hero_proc\nsystemctl status hero_proc"

// absent are the errors by which the bus says that the daemon is not there
// and can't be started: D-Bus specification, "Message Bus Starting Services".
// NoReply is that it was there when the call was sent.
var absent = []string{
	"org.freedesktop.DBus.Error.ServiceUnknown",
	"org.freedesktop.DBus.Error.NameHasNoOwner",
	"org.freedesktop.DBus.Error.NoServer",
	"org.freedesktop.DBus.Error.NoReply",
	"org.freedesktop.DBus.Error.Disconnected",
	"org.freedesktop.DBus.Error.TimedOut", // of the activation; a call's is Timeout
}

// Prefixes of such errors: of the bus's own activation, and of systemd's.
const (
	spawnPrefix   = "org.freedesktop.DBus.Error.Spawn."
	systemdPrefix = "org.freedesktop.systemd1."
)

// fromBus is a call's error as a *units.Error.
func fromBus(err error) error {
	var e dbus.Error
	var long dbus.InvalidMessageError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return units.Errorf(units.CodeTimeout, "hero_proc did not answer in time: %w", err).
			WithRemedy("systemctl status hero_proc")
	case errors.Is(err, context.Canceled):
		return units.Errorf(units.CodeCanceled, "the call was given up: %w", err)
	case errors.As(err, &long):
		return units.Errorf(units.CodeLimitsExceeded, "the call can't be sent: %w", err)
	case !errors.As(err, &e):
		return notRunning("the connection to the bus broke: %w", err)
	}
	for _, name := range absent {
		if e.Name == name {
			return notRunning("hero_proc is not running: %w", e)
		}
	}
	if strings.HasPrefix(e.Name, spawnPrefix) || strings.HasPrefix(e.Name, systemdPrefix) {
		return notRunning("hero_proc could not be started: %w", e)
	}
	known := wire.FromError(e)
	if known.Code == units.CodeAccessDenied && known.Remedy == "" {
		// The bus refused it, by its policy, in words for its own developers.
		known.Message, known.Remedy = "only root may do that", "run it again with sudo"
	}
	return known
}

func notRunning(format string, err error) error {
	return units.Errorf(units.CodeNotRunning, format, err).WithRemedy(startRemedy)
}

func noSuchJob(job int64) error {
	return units.Errorf(units.CodeNoSuchJob, "there is no job %d", job)
}

// garbled is for an answer that is not what this version of the client knows.
func garbled(err error) error {
	return units.Errorf(units.CodeInternal, "cannot read hero_proc's answer: %w", err).
		WithRemedy("see that hero_proc and hero_proc_server are of one version: hero_proc version")
}
