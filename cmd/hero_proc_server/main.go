// Command hero_proc_server is the hero_proc daemon. systemd starts it; see
// hero_proc_server(8).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/daemon"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(daemon.Main(ctx, os.Args[1:], os.Environ(), version, os.Stdout, os.Stderr))
}
