package dbusapi

import (
	"context"
	"log/slog"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// method is a row of the method table. The introspection XML and the bus
// policy say the same as the table; a test holds them together.
type method struct {
	iface, member string
	in, out       arguments
	access        authz.Access
	handle        func(context.Context, *call) ([]any, error)
	waits         bool // it answers when a job does, or the caller leaves
}

// argument is an argument's name and its D-Bus type.
type argument struct{ name, sig string }

type arguments []argument

func (as arguments) signature() (s string) {
	for _, a := range as {
		s += a.sig
	}
	return s
}

// What methods take and answer.
var (
	nothing = arguments{}
	flags   = argument{"flags", "t"}
	service = arguments{{"context", "s"}, {"name", "s"}}
	act     = arguments{{"context", "s"}, {"name", "s"}, flags}
	theJob  = arguments{{"job", "o"}}
)

// methods is the method table.
var methods = []method{
	{wire.ManagerInterface, "ListServices", nothing, arguments{{"services", "aa{sv}"}}, authz.Read, bulk(listServices), false},
	{wire.ManagerInterface, "ListServicesFiltered", arguments{{"filter", "a{sv}"}, flags}, arguments{{"services", "aa{sv}"}}, authz.Read, bulk(listServicesFiltered), false},
	{wire.ManagerInterface, "GetService", service, arguments{{"service", "o"}}, authz.Read, getService, false},
	{wire.ManagerInterface, "SetService", arguments{{"definition", "a{sv}"}, flags}, nothing, authz.DefineServices, setService, false},
	{wire.ManagerInterface, "RemoveService", act, nothing, authz.DefineServices, removeService, false},
	{wire.ManagerInterface, "StartService", act, theJob, authz.ControlServices, control(Controller.Start), false},
	{wire.ManagerInterface, "StopService", act, theJob, authz.ControlServices, control(Controller.Stop), false},
	{wire.ManagerInterface, "RestartService", act, theJob, authz.ControlServices, control(Controller.Restart), false},
	{wire.ManagerInterface, "RunJob", arguments{{"run", "a{sv}"}, flags}, theJob, authz.RunJobs, runJob, false},
	{wire.ManagerInterface, wire.FilesMember, arguments{{"run", "a{sv}"}, {"stdin", "h"}, {"stdout", "h"}, {"stderr", "h"}, flags}, theJob, authz.RunJobs, runJobWithFiles, false},
	{wire.ManagerInterface, "GetJob", arguments{{"id", "t"}, flags}, theJob, authz.Read, getJob, false},
	{wire.ManagerInterface, "ListJobs", arguments{{"filter", "a{sv}"}, flags}, arguments{{"jobs", "aa{sv}"}}, authz.Read, bulk(listJobs), false},
	{wire.ManagerInterface, "ListContexts", arguments{flags}, arguments{{"contexts", "aa{sv}"}}, authz.Read, bulk(listContexts), false},
	{wire.ManagerInterface, "ListDependencies", arguments{flags}, arguments{{"dependencies", "aa{sv}"}}, authz.Read, bulk(listDependencies), false},
	{wire.ManagerInterface, "ExplainService", act, arguments{{"explanation", "a{sv}"}}, authz.Read, bulk(explainService), false},
	{wire.ManagerInterface, "AnalyzeBoot", arguments{flags}, arguments{{"analysis", "a{sv}"}}, authz.Read, bulk(analyzeBoot), false},
	{wire.ManagerInterface, "QueryLogs", arguments{{"filter", "a{sv}"}}, arguments{{"entries", "aa{sv}"}}, authz.Read, bulk(queryLogs), false},
	{wire.ManagerInterface, "PruneLogs", arguments{{"filter", "a{sv}"}, flags}, arguments{{"deleted", "t"}}, authz.ManageLogs, pruneLogs, false},
	{wire.ManagerInterface, "Metrics", nothing, arguments{{"text", "s"}}, authz.Read, bulk(metrics), false},

	{wire.ObjectManagerInterface, "GetManagedObjects", nothing, arguments{{"objpath_interfaces_and_properties", "a{oa{sa{sv}}}"}}, authz.Read, bulk(getManagedObjects), false},

	{wire.ServiceInterface, "Start", arguments{flags}, theJob, authz.ControlServices, controlThis(Controller.Start), false},
	{wire.ServiceInterface, "Stop", arguments{flags}, theJob, authz.ControlServices, controlThis(Controller.Stop), false},
	{wire.ServiceInterface, "Restart", arguments{flags}, theJob, authz.ControlServices, controlThis(Controller.Restart), false},
	{wire.ServiceInterface, "Remove", arguments{flags}, nothing, authz.DefineServices, removeThis, false},
	{wire.ServiceInterface, "GetDefinition", arguments{flags}, arguments{{"definition", "a{sv}"}}, authz.Read, getDefinition, false},

	{wire.JobInterface, "Cancel", arguments{flags}, nothing, authz.ControlServices, cancel, false},
	{wire.JobInterface, "Wait", arguments{flags}, arguments{{"job", "a{sv}"}}, authz.Read, wait(Controller.Wait), true},
	{wire.JobInterface, "WaitReady", arguments{flags}, arguments{{"job", "a{sv}"}}, authz.Read, wait(Controller.WaitReady), true},

	{wire.PropertiesInterface, "Get", arguments{{"interface_name", "s"}, {"property_name", "s"}}, arguments{{"value", "v"}}, authz.Read, getProperty, false},
	{wire.PropertiesInterface, "GetAll", arguments{{"interface_name", "s"}}, arguments{{"props", "a{sv}"}}, authz.Read, getProperties, false},
	{wire.PropertiesInterface, "Set", arguments{{"interface_name", "s"}, {"property_name", "s"}, {"value", "v"}}, nothing, authz.ManageLogs, setProperty, false},

	{wire.IntrospectableInterface, "Introspect", nothing, arguments{{"xml_data", "s"}}, authz.Read, introspect, false},
}

// ownInterface is the interface that an object of that kind has beside the
// standard ones.
var ownInterface = map[wire.Kind]string{
	wire.KindManager:    wire.ManagerInterface,
	wire.KindContext:    wire.ContextInterface,
	wire.KindService:    wire.ServiceInterface,
	wire.KindJob:        wire.JobInterface,
	wire.KindLogControl: wire.LogControlInterface,
}

// has says that an object of that kind has the interface.
func has(kind wire.Kind, iface string) bool {
	switch iface {
	case wire.PropertiesInterface, wire.IntrospectableInterface, wire.PeerInterface:
		return true
	case wire.ObjectManagerInterface:
		return kind == wire.KindManager
	}
	return iface == ownInterface[kind]
}

// find is the row for a call. With no interface, it is that of the first
// interface that has the member: D-Bus specification, "Message Types".
func find(o wire.Object, iface, member string) (*method, error) {
	if o.Kind == wire.KindNone {
		return nil, protocolError(wire.ErrUnknownObject, "there is no object "+string(o.Path))
	}
	if iface != "" && !has(o.Kind, iface) {
		return nil, protocolError(wire.ErrUnknownInterface, string(o.Path)+" has no interface "+iface)
	}
	for i := range methods {
		m := &methods[i]
		if m.member == member && (m.iface == iface || iface == "") && has(o.Kind, m.iface) {
			return m, nil
		}
	}
	return nil, protocolError(wire.ErrUnknownMethod, string(o.Path)+" has no method "+member)
}

func protocolError(name, message string) error {
	return dbus.NewError(name, []any{wire.Clean(message)})
}

// call is an authorised call. The types of its arguments are those of the table.
type call struct {
	Controller
	server *Server
	object wire.Object
	uid    uint32
	args   []any
	files  []int // descriptors that came with it; they are closed when it ends
	held   *held

	// For what is decided in the middle of the call.
	msg    message
	polkit *authz.Polkit
	log    *slog.Logger
}

// service is the service that the first two arguments name.
func (c *call) service() (units.ID, error) {
	id := units.ID{Context: c.args[0].(string), Name: c.args[1].(string)}
	return id, id.Check()
}

// flags are those of the last argument. known is all that there are.
func (c *call) flags(known uint64) (uint64, error) {
	flags := c.args[len(c.args)-1].(uint64)
	if extra := flags &^ known; extra != 0 {
		return 0, units.Errorf(units.CodeInvalidArgument, "flags are %#x; want none but %#x", flags, known)
	}
	return flags, nil
}
