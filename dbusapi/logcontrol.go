package dbusapi

import (
	"context"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// LogControl is the daemon's own log, as org.freedesktop.LogControl1(5) shows
// it. Its methods are called in many goroutines at once.
type LogControl interface {
	// LogLevel is one of syslog's: emerg, alert, crit, err, warning, notice,
	// info, debug.
	LogLevel() string
	// SetLogLevel takes any of them; another one is a [units.CodeInvalidArgument].
	SetLogLevel(level string) error
	// LogTarget is journal or console.
	LogTarget() string
}

// noLogControl is for a daemon that has none.
type noLogControl struct{}

func (noLogControl) LogLevel() string  { return "info" }
func (noLogControl) LogTarget() string { return "console" }
func (noLogControl) SetLogLevel(string) error {
	return units.Errorf(units.CodeRefused, "this daemon's log level can't be set")
}

func logState(l LogControl) wire.LogControlState {
	return wire.LogControlState{Level: l.LogLevel(), Target: l.LogTarget(), Identifier: wire.SyslogIdentifier}
}

// setProperty sets the log's level; there is nothing else to set.
func setProperty(ctx context.Context, c *call) ([]any, error) {
	all, err := c.properties(ctx)
	if err != nil {
		return nil, err
	}
	name, value := c.args[1].(string), c.args[2].(dbus.Variant)
	switch _, has := all[name]; {
	case !has:
		return nil, c.noProperty(name)
	case c.object.Kind != wire.KindLogControl || name != "LogLevel":
		return nil, protocolError(wire.ErrPropertyReadOnly, name+" can't be set; a service is changed with SetService")
	}
	level, ok := value.Value().(string)
	if !ok {
		return nil, units.Errorf(units.CodeInvalidArgument, "LogLevel is of type s, and the value of type %s", value.Signature())
	}
	return nil, c.server.LogControl.SetLogLevel(level)
}
