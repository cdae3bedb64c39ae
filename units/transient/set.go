// Package transient turns definitions into the properties of transient units.
//
// What lives here is pure: a definition and the version of systemd go in,
// property names and values of the wire's types come out. What never may: a
// call on the bus, a read of a file, a decision about what is to be started
// (that is plan's).
package transient

// Property is one property of a transient unit as StartTransientUnit takes
// it. Value has the Go type that encodes to the property's D-Bus type:
// org.freedesktop.systemd1(5).
type Property struct {
	Name  string
	Value any
}

// Unit is a unit to be made.
type Unit struct {
	Name       string
	Properties []Property
}

// Set is what one StartTransientUnit call makes, in one transaction: systemd
// makes all of it or nothing. Main is started, and with it what it Wants=;
// the other aux units are only loaded.
type Set struct {
	Main Unit
	Aux  []Unit
}
