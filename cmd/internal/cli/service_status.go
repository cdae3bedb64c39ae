package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show the state of one service, and why it is so",
		ArgsUsage: "NAME",
		Description: `The exit status is 0 when the service is running, degraded, or a one-shot that
has exited with success; 3 when it is not active; 4 when it is not registered.

Example:
   hero_proc service status hero_db`,
		Flags:  []cli.Flag{contextFlag("the service's `CONTEXT`")},
		Action: quick(c.status),
	}
}

func (c *call) status(ctx context.Context, cc *cli.Context) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	s, err := api.Status(ctx, id)
	if err != nil {
		return err
	}
	if !s.State.Active() {
		c.exit = units.ExitNotActive
	}
	c.result["service"] = viewStatus(s)
	if !c.json {
		c.printStatus(s)
	}
	return nil
}

func (c *call) printStatus(s units.Status) {
	head := c.paint(stateColor(s.State), "●") + " " + c.paint(bold, s.ID.String())
	if s.Description != "" {
		head += " - " + printable(s.Description)
	}
	fmt.Fprintln(c.Stdout, head)

	state := c.paint(stateColor(s.State), string(s.State))
	if since := since(s); !since.IsZero() {
		state += fmt.Sprintf(" since %s; %s ago", c.when(since), c.ago(since))
	}
	c.field("Wanted", string(s.Wanted))
	c.field("State", state)
	if s.Reason != "" {
		c.prose("Reason", printable(s.Reason))
	}
	c.lines("Remedy", s.Remedy)
	if s.Stale {
		c.prose("Note", stale(s))
	}
	if s.Unit.Name == "" {
		return // a definition only
	}
	c.printHealth(s)
	c.prose("Unit", unitLine(s.Unit))
	if s.Unit.MainPID != 0 {
		c.field("Main PID", fmt.Sprint(s.Unit.MainPID))
	}
	if s.Unit.InvocationID != "" {
		c.field("Invocation", s.Unit.InvocationID)
	}
	if s.Unit.Restarts > 0 {
		c.field("Restarts", fmt.Sprint(s.Unit.Restarts))
	}
	if s.Unit.CPU > 0 {
		c.field("CPU", s.Unit.CPU.Round(time.Millisecond).String())
	}
	name := "Actions"
	for _, a := range s.Actions {
		c.prose(name, a.Name+": "+unitLine(a.Unit))
		name = ""
	}
	c.field("Logs", "journalctl -u "+s.Unit.Name)
}

// printHealth says what each probe says, and that there is none where that is
// so: nothing is known then, which is not to be taken for well.
func (c *call) printHealth(s units.Status) {
	name := "Health"
	for _, h := range s.Health {
		text := h.Action + ": " + string(h.State)
		if !h.Since.IsZero() {
			text += fmt.Sprintf(" since %s; %s ago", c.when(h.Since), c.ago(h.Since))
		}
		text += ", " + printable(h.Probe)
		switch {
		case h.State == units.HealthHealthy && h.Failures > 0: // too few to be unhealthy
			text += "; since then " + count(int(h.Failures), "failure") + " in a row"
		case h.State == units.HealthHealthy && h.Says != "":
			text += "; since then a failure that does not count"
		}
		if h.Says != "" {
			text += ": " + printable(h.Says)
		}
		if h.Note != "" {
			text += "; " + printable(h.Note)
		}
		c.prose(name, text)
		name = ""
	}
	if len(s.Health) == 0 {
		c.field(name, "no probe")
	}
}

// since is when the service came into its state.
func since(s units.Status) time.Time {
	if s.State.Active() && !s.Unit.ActiveSince.IsZero() {
		return s.Unit.ActiveSince
	}
	return s.Unit.ChangedAt
}

// unitLine is a unit in systemctl's words: active (running).
func unitLine(u units.Unit) string {
	line := u.Name
	switch {
	case !u.Loaded():
		return line + " not loaded"
	case u.Sub != "":
		line += fmt.Sprintf(" %s (%s)", u.Active, u.Sub)
	default:
		line += " " + u.Active
	}
	if u.Result != "" && u.Result != "success" {
		line += ": " + u.Outcome()
	}
	return line
}

// labelWidth is that of the labels on the left of a status or definition.
const labelWidth = 12

func label(name string) string {
	if name == "" {
		return strings.Repeat(" ", labelWidth+len(": "))
	}
	return fmt.Sprintf("%*s: ", labelWidth, name)
}

func (c *call) field(name, value string) { fmt.Fprintln(c.Stdout, label(name)+value) }

func (c *call) prose(name, value string) {
	c.wrapped(label(name), value, label(""))
}

// lines prints each line of a value on its own, as commands to copy need it.
func (c *call) lines(name, value string) {
	for line := range strings.Lines(value) {
		c.field(name, printable(strings.TrimRight(line, "\n")))
		name = ""
	}
}
