// Package probe asks a program how it is: package units says what there is to
// be asked, this package does it, for the prober and for the daemon.
//
// What lives here is the I/O of each kind of probe, one file a kind, and what
// an answer means (a pure function, beside it). What never may: a secret in an
// answer, or anything that makes the prober slow to start. It runs at every
// start of a service that has a probe.
package probe
