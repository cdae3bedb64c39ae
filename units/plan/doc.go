// Package plan decides: what is loaded and started at boot, whether hero_db
// is to be started and how that ended, what a service reads as, and what an
// observation of a unit means for the history.
//
// What lives here are pure functions: all they know comes in as an argument,
// also the time, and each answer carries its reason. What never may: I/O, a
// clock, a goroutine, a logger. Whoever calls them does what they say.
package plan
