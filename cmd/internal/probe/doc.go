// Package probe is the program hero_proc_probe, which asks a program whether
// it is ready until the answer is final, or once how it is. How that is asked,
// and what an answer means, package units/probe knows.
//
// What never may live here: a secret in what it says, or anything that makes
// it slow to start.
package probe
