// Package wire is what hero_proc's API looks like on D-Bus: its names and
// paths, its introspection XML, its errors, and the one conversion between
// domain values and a{sv} that server and client share.
//
// What lives here is names, tables and pure conversions, and the dialling of a
// bus that both ends need. What never may: a decision about who may call what
// (that is authz's), a method's meaning (the server's), or a second spelling
// of anything.
package wire
