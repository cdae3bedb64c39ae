// Package daemon puts the daemon together: it is the one place that knows the
// store, systemd, the supervisor and the API at once.
//
// What lives here are the order in which they start and stop, the environment,
// and what systemd wants of a service (sd_notify, watchdog, journal). What
// never may: a decision about a service, which is plan's.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	sdaemon "github.com/coreos/go-systemd/v22/daemon"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sync/errgroup"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/store"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/journal"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
)

// logQueueSize is how many events may wait for the logs table.
const logQueueSize = 1024

// failurePause is how long a daemon that can't go on waits before it ends.
const failurePause = 2 * time.Second

// connectTimeout bounds one try to reach systemd at the start. D-Bus
// activation gives the daemon 25 s to take its name.
const (
	connectTimeout = 10 * time.Second
	connectRetry   = time.Second
)

const usage = `Usage: hero_proc_server [--help | --version]

The hero_proc daemon: it keeps the services that are registered in its store
running, as units of systemd. systemd starts it (systemctl start hero_proc);
hero_proc talks to it. It takes no options: see /etc/default/hero_proc and
hero_proc_server(8).
`

// Main runs the daemon until ctx ends and returns its exit status.
func Main(ctx context.Context, args, environ []string, version string, stdout, stderr io.Writer) int {
	switch strings.Join(args, " ") {
	case "":
	case "--help", "-h":
		fmt.Fprint(stdout, usage)
		return units.ExitDone
	case "--version":
		fmt.Fprintln(stdout, "hero_proc_server", version)
		return units.ExitDone
	default:
		fmt.Fprintf(stderr, "hero_proc_server: takes no arguments, got %q\n\n%s", args, usage)
		return units.ExitUsage
	}
	control := newLogControl(os.Getenv("JOURNAL_STREAM") != "")
	logger := newLogger(stderr, control)
	if err := run(ctx, environ, version, logger, control); err != nil {
		logger.Error("cannot go on", "error", err)
		// systemd starts it again at once, as it must after a crash. What can't
		// go on would only fail again.
		if sent, _ := sdaemon.SdNotify(false, "STATUS=Failed: "+err.Error()); sent {
			select {
			case <-time.After(failurePause):
			case <-ctx.Done():
			}
		}
		return units.ExitFailed
	}
	return units.ExitDone
}

func run(ctx context.Context, environ []string, version string, logger *slog.Logger, control logControl) (err error) {
	settings, warnings := readSettings(environ)
	for _, w := range warnings {
		logger.Warn(w)
	}
	notify("STATUS=Opening the store")
	connected, hangUp := connectMeanwhile(ctx, logger)
	defer hangUp()
	db, found, err := store.Open(ctx, settings.stateDir, store.Options{Logger: logger})
	if err != nil {
		// The one fatal error; but what was found on the way is told.
		for _, e := range append(found, unusable(err)) {
			if err := (systemJournal{logger}).Send(e); err != nil {
				logger.Error("cannot journal an event, ignoring", "code", e.Code, "error", err)
			}
		}
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	queue := store.NewLogQueue(db, logQueueSize)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, queue.Close(ctx))
	}()

	notify("STATUS=Connecting to systemd")
	manager, err := connected()
	if err != nil {
		return nil // ctx is over
	}
	defer manager.Close() // before the store, which hangUp comes after

	watchdog, err := sdaemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("cannot read the watchdog's interval, ignoring: it is off", "error", err)
	}
	sup := supervisor.New(supervisor.Options{
		Store: db, Systemd: manager, Journal: systemJournal{logger}, Past: journal.Reader{}, Queue: queue, Notes: runtimeNotes{},
		Notify: notify, Watchdog: watchdog, Policy: settings.policy, Ask: ask, Found: found,
		Version: version, Logger: logger, Now: time.Now,
	})
	if err := sup.Load(ctx); err != nil {
		return err
	}
	api := dbusapi.New(dbusapi.Options{Controller: sup, Logger: logger, LogControl: control})

	// Whichever ends first, with an error or because ctx does, ends the other.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return api.Run(ctx) })
	group.Go(func() error {
		select {
		case <-api.Ready():
			return sup.Run(ctx)
		case <-ctx.Done():
			return nil
		}
	})
	return group.Wait()
}

// connectMeanwhile connects to systemd while the store is opened: the one waits
// for the bus, the other one for the disk.
func connectMeanwhile(ctx context.Context, logger *slog.Logger) (connected func() (*systemd.Manager, error), hangUp func()) {
	ctx, cancel := context.WithCancel(ctx)
	var manager *systemd.Manager
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		manager, err = connect(ctx, logger)
	}()
	return func() (*systemd.Manager, error) {
			<-done
			return manager, err
		}, func() {
			cancel()
			<-done
			if manager != nil {
				manager.Close()
			}
		}
}

// connect connects to systemd, for as long as it takes: without it nothing can
// be done, and ending would only begin it all over again.
func connect(ctx context.Context, logger *slog.Logger) (*systemd.Manager, error) {
	for {
		try, cancel := context.WithTimeout(ctx, connectTimeout)
		manager, err := systemd.Connect(try, systemd.Options{Logger: logger, Dial: dial})
		cancel()
		if err == nil || ctx.Err() != nil {
			return manager, err
		}
		logger.Warn("cannot connect to systemd, trying again", "error", err)
		select {
		case <-time.After(connectRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unusable is the event for the one fatal error.
func unusable(err error) units.Event {
	return units.Event{
		Source: units.SourceStore, Code: units.EventStoreUnusable, Level: units.LevelError,
		Message: "hero_proc can't go on without its store: " + err.Error(),
		Remedy:  units.RemedyOf(err, "systemctl status hero_proc\ndf -h /var/lib/hero_proc\nls -la /var/lib/hero_proc"),
	}
}

// dial is the adapter's connection. godbus's own can be crashed by any message of
// any local user, and makes a value of each property of a unit.
func dial(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	return wire.DialKeeping(ctx, "", wire.MaxMessage, systemd.ReadProperties, append(opts, dbus.WithContext(ctx))...)
}

// ask asks a probe that needs nothing but the network.
func ask(ctx context.Context, check units.HealthCheck) (well bool, says string) {
	a := probe.Try(ctx, probe.Question{Probe: check.Probe, Status: int(check.Status), Match: check.Match})
	return a.State == probe.Ready, a.Says
}

// notify tells systemd a state: sd_notify(3). Without a service manager it does nothing.
func notify(state string) {
	_, _ = sdaemon.SdNotify(false, state)
}
