// Package probe asks a program whether it is ready: package units says what
// there is to be asked, this package does it.
//
// What lives here is the I/O of each kind of probe, one file a kind, what an
// answer means (a pure function, beside it), and the program hero_proc_probe,
// which asks until the answer is final. What never may: a secret in an answer,
// or anything that makes the program slow to start. It runs at every start of
// a service that has a probe.
package probe
