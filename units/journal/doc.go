// Package journal reads what PID 1 has written about hero_proc's units: how
// they ended while nobody looked.
//
// What lives here is the one place where the daemon runs a program, and that
// is journalctl(1), from a fixed path, with arguments that nobody else has a
// word in. What never may: what services have printed, and a decision.
package journal
