// Package units is hero_proc's domain: contexts, services, actions, runs and
// jobs, their names, their validation, the states that they can be in, and the
// tables of errors and events that everything else shares.
//
// What lives here is plain data and pure functions of it. What never may: I/O,
// a clock, a goroutine, or an import of anything but the standard library.
package units
