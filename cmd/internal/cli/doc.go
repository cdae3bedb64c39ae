// Package cli is the command line of hero_proc: it reads the arguments, asks
// the daemon, and prints the answer.
//
// What lives here is the talking with people and scripts: one file a command
// group, the help, the tables, the JSON, the exit statuses, the completions
// and the manual page. What never may: a decision about services (that is the
// daemon's), a word to systemd, a read of the store, os.Exit, or a global
// that a second call in the same process would see.
package cli
