package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) logCommand() *cli.Command {
	return &cli.Command{
		Name:  "log",
		Usage: "look at what hero_proc itself has reported",
		Description: `These are hero_proc's own reports. What a service prints: hero_proc service logs

Example:
   hero_proc log query --level error --since 1h`,
		Subcommands: []*cli.Command{c.queryCommand(), c.pruneCommand()},
	}
}

func (c *call) queryCommand() *cli.Command {
	return &cli.Command{
		Name:      "query",
		Usage:     "print reports, the newest last",
		ArgsUsage: "[OPTION]...",
		Description: `Each is one line, and below it the commands that mend what it reports. A TIME is
2026-01-02T15:04:05Z, "2026-01-02 15:04:05" or 2026-01-02 of the local time, or
how long ago it was: 90s, 1h30m, 7d.

Example:
   hero_proc log query --source hero_proc.auto_start_db --level error
   hero_proc log query --since 1h -n 20`,
		Flags: append(selectFlags(),
			&cli.StringFlag{Name: "level", Usage: "only of this `LEVEL` and more severe ones: error, warning or info"},
			&cli.BoolFlag{Name: "exact", Usage: "only of exactly that --level"},
			&cli.StringFlag{Name: "since", Usage: "only from this `TIME` on"},
			&cli.StringFlag{Name: "until", Usage: "only up to this `TIME`"},
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Usage: fmt.Sprintf("only the last `COUNT`, at most %d", units.MaxLogLimit), Value: 100},
		),
		Action: quick(c.query),
	}
}

func (c *call) query(ctx context.Context, cc *cli.Context) error {
	filter, err := c.logFilter(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	entries, err := api.Logs(ctx, filter)
	if err != nil {
		return err
	}
	views := make([]logView, len(entries))
	for i, e := range entries {
		views[i] = viewLog(e)
		if !c.json {
			c.printLog(e)
		}
	}
	c.result["entries"] = views
	if len(entries) == 0 {
		c.hint("Nothing of that kind was reported.")
	}
	return nil
}

// selectFlags are the flags that select reports, whatever is done with them.
func selectFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "source", Usage: "only of this `SOURCE` and those below it, such as hero_proc.auto_start_db"},
		&cli.StringFlag{Name: "context", Usage: "only about services of this `CONTEXT`"},
		&cli.StringFlag{Name: "service", Usage: "only about this `SERVICE`: a name, or CONTEXT/NAME"},
	}
}

// selected is what they say.
func selected(cc *cli.Context) (units.LogFilter, error) {
	f := units.LogFilter{
		Source:  cc.String("source"),
		Level:   units.Level(cc.String("level")),
		Context: cc.String("context"),
	}
	if err := noArgs(cc); err != nil {
		return f, err
	}
	if f.Service = cc.String("service"); strings.Contains(f.Service, "/") {
		id, err := serviceID(cc, f.Service)
		if err != nil {
			return f, err
		}
		f.Context, f.Service = id.Context, id.Name
	}
	for _, name := range []string{"source", "level", "context", "service"} {
		if cc.IsSet(name) && cc.String(name) == "" {
			return f, usagef(cc, "--%s is empty", name)
		}
	}
	if f.Level != "" && !slices.Contains(units.Levels, f.Level) {
		return f, usagef(cc, "--level is %q; want %s", f.Level, words(units.Levels))
	}
	return f, nil
}

func (c *call) logFilter(cc *cli.Context) (units.LogFilter, error) {
	f, err := selected(cc)
	if err != nil {
		return f, err
	}
	if f.Exact = cc.Bool("exact"); f.Exact && f.Level == "" {
		return f, usagef(cc, "--exact is about a --level, and there is none")
	}
	f.Limit = cc.Int("lines")
	if f.Limit < 1 || f.Limit > units.MaxLogLimit {
		return f, usagef(cc, "-n is %d; want 1 to %d", f.Limit, units.MaxLogLimit)
	}
	if f.Since, err = c.timeFlag(cc, "since"); err != nil {
		return f, err
	}
	f.Until, err = c.timeFlag(cc, "until")
	return f, err
}

// timeFlag is the time that a flag says; zero when it is not set.
func (c *call) timeFlag(cc *cli.Context, name string) (time.Time, error) {
	return timeFlagAt(cc, name, c.Now())
}

func timeFlagAt(cc *cli.Context, name string, now time.Time) (time.Time, error) {
	if !cc.IsSet(name) {
		return time.Time{}, nil
	}
	t, ok := parseTime(cc.String(name), now)
	if !ok {
		return t, usagef(cc, "--%s is %q; want 2026-01-02T15:04:05Z, \"2026-01-02 15:04:05\", 2026-01-02, or how long ago: 90s, 1h30m, 7d",
			name, cc.String(name))
	}
	return t, nil
}

// maxDays keeps days below what a time.Duration can hold, which is 292 years.
const maxDays = 100 * 365

// parseTime reads a time: RFC 3339, a local date and time, a local date, or
// a duration before now, which knows days (d) too.
func parseTime(s string, now time.Time) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, true
	}
	for _, layout := range []string{timeFormat, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, true
		}
	}
	s = strings.TrimSuffix(strings.TrimSpace(s), " ago")
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil && d >= 0 && d <= maxDays*time.Hour {
			return now.Add(-24 * d), true
		}
	}
	d, err := time.ParseDuration(s)
	return now.Add(-d), err == nil && d >= 0
}

// printLog prints one report: a line to grep for, then the commands to copy.
func (c *call) printLog(e units.LogEntry) {
	parts := []string{c.when(e.Time), c.paint(levelColor(e.Level), string(e.Level)), printable(e.Source)}
	if e.Service.Name != "" {
		parts = append(parts, e.Service.String())
	}
	if e.Code != "" {
		parts = append(parts, string(e.Code))
	}
	c.wrapped("", strings.Join(parts, " ")+": "+printable(e.Message), "    ")
	for line := range strings.Lines(e.Remedy) {
		fmt.Fprintf(c.Stdout, "    %s\n", c.paint(bold, printable(strings.TrimRight(line, "\n"))))
	}
}
