package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// defaultJobs is how many jobs job list shows unless told otherwise.
const defaultJobs = 30

func (c *call) jobListCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the jobs of the history, the newest last",
		ArgsUsage: "[OPTION]...",
		Description: `PHASE is pending while it starts, running once it is ready, and then succeeded,
failed, canceled (somebody stopped it) or lost (how it ended can't be known).
RUN is the start that it is part of; systemd's restarts are further attempts of
the same run. TOOK is until its end, or until now. A TIME is as for log query:
1h30m, 7d, 2026-01-02.

Example:
   hero_proc job list --service web --phase failed --since 7d
   hero_proc job list --live
   hero_proc job list --before 1200     # those before it`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "live", Usage: "only those that are not over, however old"},
			&cli.StringFlag{Name: "context", Usage: "only of services of this `CONTEXT`"},
			&cli.StringFlag{Name: "service", Usage: "only of this `SERVICE`: a name, or CONTEXT/NAME"},
			&cli.StringFlag{Name: "action", Usage: "only of this `ACTION`"},
			&cli.StringFlag{Name: "phase", Usage: "only in this `PHASE`: " + words(units.Phases)},
			&cli.StringFlag{Name: "origin", Usage: "only of runs that this `ORIGIN` asked for: " + words(units.Origins)},
			&cli.StringFlag{Name: "since", Usage: "only those asked for from this `TIME` on"},
			&cli.StringFlag{Name: "until", Usage: "only those asked for up to this `TIME`"},
			&cli.Int64Flag{Name: "run", Usage: "only of the run of this `NUMBER`"},
			&cli.Int64Flag{Name: "before", Usage: "only jobs before the one of this `NUMBER`"},
			&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Value: defaultJobs,
				Usage: fmt.Sprintf("only the last `COUNT`, at most %d; with --live it is all of them unless given", units.MaxJobLimit)},
		},
		Action: quick(c.jobList),
	}
}

// words are the values that a flag can have, as prose.
func words[T ~string](all []T) string {
	texts := wordsOf(all)
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}

func wordsOf[T ~string](all []T) []string {
	texts := make([]string, len(all))
	for i, w := range all {
		texts[i] = string(w)
	}
	return texts
}

func (c *call) jobFilter(cc *cli.Context) (units.JobFilter, error) {
	f := units.JobFilter{
		Live: cc.Bool("live"), Context: cc.String("context"), Action: cc.String("action"),
		Phase: units.Phase(cc.String("phase")), Origin: units.Origin(cc.String("origin")),
		Run: cc.Int64("run"), Before: cc.Int64("before"), Limit: cc.Int("limit"),
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
	for _, name := range []string{"context", "service", "action", "phase", "origin"} {
		if cc.IsSet(name) && cc.String(name) == "" {
			return f, usagef(cc, "--%s is empty", name)
		}
	}
	for _, name := range []string{"run", "before"} {
		if cc.IsSet(name) && cc.Int64(name) < 1 {
			return f, usagef(cc, "--%s is %d; want 1 or more", name, cc.Int64(name))
		}
	}
	switch {
	case f.Phase != "" && !slices.Contains(units.Phases, f.Phase):
		return f, usagef(cc, "--phase is %q; want %s", f.Phase, words(units.Phases))
	case f.Origin != "" && !slices.Contains(units.Origins, f.Origin):
		return f, usagef(cc, "--origin is %q; want %s", f.Origin, words(units.Origins))
	case f.Limit < 1 || f.Limit > units.MaxJobLimit:
		return f, usagef(cc, "--limit is %d; want 1 to %d", f.Limit, units.MaxJobLimit)
	case f.Live && !cc.IsSet("limit"):
		f.Limit = 0
	}
	var err error
	if f.Since, err = c.timeFlag(cc, "since"); err != nil {
		return f, err
	}
	f.Until, err = c.timeFlag(cc, "until")
	return f, err
}

func (c *call) jobList(ctx context.Context, cc *cli.Context) error {
	filter, err := c.jobFilter(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	jobs, err := api.Jobs(ctx, filter)
	if err != nil {
		return err
	}
	c.result["jobs"] = viewJobs(jobs)
	if c.json {
		return nil
	}
	if len(jobs) == 0 {
		c.hint("There is no such job.")
		return nil
	}
	rows := make([][]cell, len(jobs))
	for i, j := range jobs {
		rows[i] = []cell{
			{strconv.FormatInt(j.ID, 10), plain},
			{strconv.FormatInt(j.Run, 10), plain},
			{j.Service.String(), plain},
			{j.Action, plain},
			{string(j.Phase), phaseColor(j.Phase)},
			{c.when(j.Created), plain},
			{c.took(j), plain},
			{ending(j), plain},
		}
	}
	c.table([]string{"JOB", "RUN", "SERVICE", "ACTION", "PHASE", "ASKED FOR", "TOOK", "RESULT"}, rows)
	if len(jobs) == filter.Limit && jobs[0].ID > 1 {
		c.hint("There may be more: --before %d, or a higher --limit.", jobs[0].ID)
	}
	return nil
}

// took is how long a job took, or has taken so far; "" for one that is lost.
func (c *call) took(j units.Job) string {
	switch {
	case !j.Ended.IsZero():
		return brief(j.Ended.Sub(j.Created))
	case j.Phase.Terminal():
		return ""
	default:
		return brief(c.Now().Sub(j.Created))
	}
}

// brief is a span that may be below a second.
func brief(d time.Duration) string {
	if d >= 0 && d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return span(d)
}

// ending is how a job ended, where its phase does not say it all.
func ending(j units.Job) string {
	if j.Phase != units.PhaseFailed && (j.Result == "" || j.Result == "success") {
		return ""
	}
	return units.Unit{Result: j.Result, ExitCode: j.ExitCode, ExitStatus: j.ExitStatus}.Outcome()
}
