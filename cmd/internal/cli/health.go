package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) healthCommand() *cli.Command {
	return &cli.Command{
		Name:      "health",
		Usage:     "show how the daemon is, and how many services are in which state",
		ArgsUsage: "",
		Description: `The exit status is 1 when the daemon does not answer or is still booting its
services. Services that failed do not change it: see hero_proc service list.

Example:
   hero_proc health`,
		Action: quick(c.health),
	}
}

func (c *call) health(ctx context.Context, cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	h, err := api.Health(ctx)
	if err != nil {
		return err
	}
	view := viewHealth(h)
	view.HeroDBNow = heroDBNow(ctx, api)
	c.result["health"] = view
	ready := c.paint(green, "ready")
	if !h.Ready {
		c.exit = units.ExitFailed
		ready = c.paint(yellow, "booting its services")
	}
	if c.json {
		return nil
	}
	c.field("hero_proc", ready)
	c.field("Version", fmt.Sprintf("%s, systemd %d", h.Version, h.Systemd))
	if !h.Started.IsZero() {
		c.field("Started", fmt.Sprintf("%s; %s ago", c.when(h.Started), c.ago(h.Started)))
	}
	db := h.HeroDB + " at the last boot"
	if h.HeroDBReason != "" {
		db += ": " + printable(h.HeroDBReason)
	}
	if view.HeroDBNow != "" && view.HeroDBNow != h.HeroDB {
		db = view.HeroDBNow + " now; " + db
	}
	c.prose("hero_db", db)
	var counts []string
	for _, s := range states {
		if n := h.Services[s]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, c.paint(stateColor(s), string(s))))
		}
	}
	if len(counts) == 0 {
		counts = []string{"none is registered"}
	}
	c.prose("Services", strings.Join(counts, ", "))
	if h.LogsDropped > 0 {
		c.field("Dropped", fmt.Sprintf("%d reports did not fit the log table; the journal has them", h.LogsDropped))
	}
	return nil
}

// heroDBNow is what hero_db reads as, which is another thing than how it was at
// the boot; "" is not known.
func heroDBNow(ctx context.Context, api API) string {
	s, err := api.Status(ctx, units.ID{Context: units.DefaultContext, Name: units.HeroDB})
	switch {
	case units.CodeOf(err) == units.CodeNoSuchService:
		return "not-registered"
	case err != nil:
		return ""
	}
	return string(s.State)
}

func (c *call) versionCommand() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the version of this program, and that of the daemon when it runs",
		ArgsUsage: "",
		Description: `Example:
   hero_proc version`,
		Action: c.version,
	}
}

// version works without the daemon, so it tells of it only what it can learn.
func (c *call) version(cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	c.result["version"] = c.Version
	c.result["go"] = runtime.Version()
	c.result["platform"] = runtime.GOOS + "/" + runtime.GOARCH
	c.say("hero_proc %s (%s, %s/%s)", c.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)

	ctx, cancel := context.WithTimeout(cc.Context, callTimeout)
	defer cancel()
	api, err := c.connect(ctx)
	if err != nil {
		c.say("daemon: %s", explain(err).Message)
		return nil
	}
	h, err := api.Health(ctx)
	if err != nil {
		c.say("daemon: %s", explain(err).Message)
		return nil
	}
	c.result["daemon"] = h.Version
	c.result["systemd"] = h.Systemd
	c.say("daemon %s (systemd %d)", h.Version, h.Systemd)
	return nil
}
