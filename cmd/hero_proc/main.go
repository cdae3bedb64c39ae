// Command hero_proc is the command line of hero_proc. It calls package cli
// and exits with what that returns; everything else is there.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/cli"
)

// version is set by the linker: -X main.version=1.2.3.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the program at once, as people expect.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], cli.SystemEnv(version)))
}
