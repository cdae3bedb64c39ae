// Package prepare sees to it, before a service starts, that what it will listen
// on is free: hero_proc_probe(8), prepare.
//
// What lives here is what systemd runs as ExecStartPre= of services that declare
// sockets or ports, so that it holds for every start, whether the daemon is
// there or not. Who has them is taken from what nobody can forge: numbers in
// /proc, and sock_diag(7). Stale sockets are removed, and whoever has one is
// named, or ended if the definition says so. What never may: a look at what was
// not declared.
package prepare
