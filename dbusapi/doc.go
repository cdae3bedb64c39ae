// Package dbusapi serves hero_proc on D-Bus: it decodes a call, checks who
// calls, asks the controller, and answers.
//
// What lives here is the connection, the method table, and the bounds that
// keep the daemon alive whatever a local user sends. What never may: a
// decision about services (the controller's), a name or a conversion (wire's),
// or an import of the store, the supervisor or systemd.
package dbusapi
