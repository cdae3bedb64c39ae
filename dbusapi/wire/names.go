package wire

import "github.com/godbus/dbus/v5"

// BusName is the well-known name of the daemon on the system bus.
const BusName = "tf.ourworld.HeroProc1"

// RootPath is the object that has [ManagerInterface].
const RootPath dbus.ObjectPath = "/tf/ourworld/HeroProc1"

// Interfaces of our own.
const (
	ManagerInterface = BusName + ".Manager"
	ServiceInterface = BusName + ".Service"
	ContextInterface = BusName + ".Context"
	JobInterface     = BusName + ".Job"
)

// Interfaces of the D-Bus specification, "Standard Interfaces".
const (
	PropertiesInterface     = "org.freedesktop.DBus.Properties"
	IntrospectableInterface = "org.freedesktop.DBus.Introspectable"
	PeerInterface           = "org.freedesktop.DBus.Peer"
	ObjectManagerInterface  = "org.freedesktop.DBus.ObjectManager"
)

// What systemctl's service-log-level talks to: org.freedesktop.LogControl1(5).
const (
	LogControlInterface                 = "org.freedesktop.LogControl1"
	LogControlPath      dbus.ObjectPath = "/org/freedesktop/LogControl1"
	// SyslogIdentifier is what the daemon's journal entries have.
	SyslogIdentifier = "hero_proc"
)

// Flags of methods. A flag that a method does not know is refused.
const (
	// FlagMerge of SetService: the definition is laid over what is
	// registered, instead of replacing it.
	FlagMerge uint64 = 1
	// FlagStop of RemoveService, and of a service's Remove: stop the service first.
	FlagStop uint64 = 1
	// FlagEverything of PruneLogs: an empty filter is meant.
	FlagEverything uint64 = 1
	// FlagHistory of ListJobs: those that are over too.
	FlagHistory uint64 = 1
)

// EnvWithheld is the key that stands in a definition in place of its
// environments and credentials when the caller may not see them.
const EnvWithheld = "env_withheld"

// Errors of the protocol itself, from the D-Bus specification. They are about
// the call, not about services, so they are not rows of [units.Codes].
const (
	ErrUnknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	ErrUnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	ErrUnknownMethod    = "org.freedesktop.DBus.Error.UnknownMethod"
	ErrUnknownProperty  = "org.freedesktop.DBus.Error.UnknownProperty"
	ErrPropertyReadOnly = "org.freedesktop.DBus.Error.PropertyReadOnly"
)
