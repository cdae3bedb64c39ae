// Command hero_proc_probe asks a program whether it is ready, until it is; or,
// before it starts, sees to it that what it will listen on is free. systemd runs
// it for services that ask for that; see hero_proc_probe(8).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/notes"
	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/prepare"
	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/probe"
)

// version is set by the linker: -X main.version=1.2.3.
var version = "devel"

func main() {
	// Whichever signal a unit's kill_signal is.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGABRT, syscall.SIGALRM, syscall.SIGPWR, syscall.SIGUSR1, syscall.SIGUSR2)
	defer stop()
	// Without a service manager it does nothing.
	notify := func(state string) { _, _ = daemon.SdNotify(false, state) }
	if len(os.Args) > 1 && os.Args[1] == prepare.Word {
		env := prepare.Env{Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr, Notify: notify}
		if os.Geteuid() == 0 {
			env.Notes = notes.Dir
		}
		os.Exit(prepare.Main(ctx, os.Args[2:], env))
	}
	os.Exit(probe.Main(ctx, os.Args[1:], probe.Env{
		Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr, Version: version, Notify: notify,
	}))
}
