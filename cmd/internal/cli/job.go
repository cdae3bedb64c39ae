package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) jobCommand() *cli.Command {
	return &cli.Command{
		Name:  "job",
		Usage: "look at jobs, those that are over too, and stop what they run",
		Description: `A job is one activation of one action's unit: what a start of a service makes.
It has a NUMBER, which service start --json and job list tell. Jobs stay in the
history when they are over.

Example:
   hero_proc job list --service web
   hero_proc job show 42`,
		Subcommands: []*cli.Command{c.jobListCommand(), c.jobShowCommand(), c.jobLogsCommand(), c.jobCancelCommand()},
	}
}

func (c *call) jobShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show one job, also one that is over",
		ArgsUsage: "NUMBER",
		Description: `It shows the other jobs of its run too: other actions, and further attempts.
PHASE is succeeded, failed, canceled (stopped by somebody, or by a shutdown) or
lost (nothing tells how it ended) once it is over. Numbers are "not counted"
where systemd does not count them: IO needs IOAccounting=yes.
What it printed: hero_proc job logs NUMBER

Example:
   hero_proc job show 42`,
		Action: quick(c.jobShow),
	}
}

func (c *call) jobShow(ctx context.Context, cc *cli.Context) error {
	if cc.NArg() != 1 {
		return usagef(cc, "want the number of one job, got %d", cc.NArg())
	}
	numbers, err := jobNumbers(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	j, err := api.Job(ctx, numbers[0])
	if err != nil {
		return err
	}
	run, err := api.Jobs(ctx, units.JobFilter{Run: j.Run, Limit: units.MaxJobLimit})
	if err != nil {
		return err
	}
	c.result["job"], c.result["run"] = viewJob(j), viewJobs(run)
	if c.json {
		return nil
	}
	c.field("Job", fmt.Sprintf("%d of run %d, attempt %d", j.ID, j.Run, j.Attempt))
	c.field("Service", j.Service.String())
	c.field("Action", j.Action)
	c.field("Unit", j.Unit)
	phase := c.paint(phaseColor(j.Phase), string(j.Phase))
	if j.Phase == units.PhaseFailed {
		phase += ": " + units.Unit{Result: j.Result, ExitCode: j.ExitCode, ExitStatus: j.ExitStatus}.Outcome()
	}
	c.field("Phase", phase)
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"Asked for", j.Created}, {"Ready", j.Started}, {"Ended", j.Ended}} {
		if !t.at.IsZero() {
			c.field(t.name, fmt.Sprintf("%s; %s ago", c.when(t.at), c.ago(t.at)))
		}
	}
	if j.InvocationID != "" {
		c.usage(j.Used)
	}
	if j.MainPID != 0 {
		c.field("Main PID", fmt.Sprint(j.MainPID))
	}
	if j.InvocationID != "" {
		c.field("Invocation", j.InvocationID)
		c.field("Logs", fmt.Sprintf("hero_proc job logs %d", j.ID))
	}
	name := "Same run"
	for _, other := range run {
		if other.ID != j.ID {
			c.prose(name, fmt.Sprintf("job %d: %s, attempt %d, %s", other.ID, other.Action, other.Attempt, other.Phase))
			name = ""
		}
	}
	return nil
}

func (c *call) jobCancelCommand() *cli.Command {
	return &cli.Command{
		Name:      "cancel",
		Usage:     "stop what jobs run",
		ArgsUsage: "NUMBER...",
		Description: `It does not wait for the end. The service is not started again before somebody
asks for it, or the next boot.

Example:
   hero_proc job cancel 42`,
		Action: quick(c.jobCancel),
	}
}

func (c *call) jobCancel(ctx context.Context, cc *cli.Context) error {
	numbers, err := jobNumbers(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	canceled, over := []int64{}, []int64{}
	defer func() { c.result["canceled"], c.result["over"] = canceled, over }()
	for _, n := range numbers {
		job, err := api.Job(ctx, n)
		if err == nil && job.Phase.Terminal() {
			over = append(over, n)
			c.say("job %d is over already (%s); nothing was stopped", n, job.Phase)
			continue
		}
		if err == nil {
			err = api.Cancel(ctx, n)
		}
		if err != nil {
			return fmt.Errorf("cannot cancel job %d: %w", n, err)
		}
		canceled = append(canceled, n)
		c.say("asked to cancel job %d", n)
	}
	return nil
}

// jobNumbers are the jobs that the command's arguments name, at least one.
func jobNumbers(cc *cli.Context) ([]int64, error) {
	if cc.NArg() == 0 {
		return nil, usagef(cc, "want the number of at least one job")
	}
	var numbers []int64
	for _, arg := range cc.Args().Slice() {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 1 {
			return nil, usagef(cc, "%q is not the number of a job", arg)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// jobSince is when the job came into its phase.
func jobSince(j units.Job) time.Time {
	switch {
	case !j.Ended.IsZero():
		return j.Ended
	case !j.Started.IsZero():
		return j.Started
	default:
		return j.Created
	}
}

func phaseColor(p units.Phase) color {
	switch p {
	case units.PhaseRunning, units.PhaseSucceeded:
		return green
	case units.PhasePending, units.PhaseLost:
		return yellow
	case units.PhaseFailed:
		return red
	default:
		return plain
	}
}

func viewJobs(jobs []units.Job) []jobView {
	views := make([]jobView, len(jobs))
	for i, j := range jobs {
		views[i] = viewJob(j)
	}
	return views
}

type jobView struct {
	ID           int64     `json:"id"`
	Run          int64     `json:"run"`
	Context      string    `json:"context"`
	Service      string    `json:"service"`
	Action       string    `json:"action"`
	Unit         string    `json:"unit"`
	Attempt      int       `json:"attempt"`
	Phase        string    `json:"phase"`
	InvocationID string    `json:"invocation_id"`
	MainPID      uint32    `json:"main_pid"`
	Created      time.Time `json:"created,omitzero"`
	Started      time.Time `json:"started,omitzero"`
	Ended        time.Time `json:"ended,omitzero"`
	Result       string    `json:"result"`
	ExitCode     int32     `json:"exit_code"`
	ExitStatus   int32     `json:"exit_status"`
	// null where systemd does not count it
	CPU        *uint64 `json:"cpu_nsec"`
	MemoryPeak *uint64 `json:"memory_peak_bytes"`
	IORead     *uint64 `json:"io_read_bytes"`
	IOWritten  *uint64 `json:"io_written_bytes"`
}

func viewJob(j units.Job) jobView {
	return jobView{
		ID: j.ID, Run: j.Run, Context: j.Service.Context, Service: j.Service.Name, Action: j.Action, Unit: j.Unit,
		Attempt: j.Attempt, Phase: string(j.Phase), InvocationID: j.InvocationID, MainPID: j.MainPID,
		Created: j.Created, Started: j.Started, Ended: j.Ended,
		Result: j.Result, ExitCode: j.ExitCode, ExitStatus: j.ExitStatus,
		CPU: counted(j.Used.CPU), MemoryPeak: counted(j.Used.MemoryPeak),
		IORead: counted(j.Used.IORead), IOWritten: counted(j.Used.IOWritten),
	}
}

// counted is a number for JSON, where null is "not counted".
func counted(n units.Count) *uint64 {
	if !n.Known {
		return nil
	}
	return &n.N
}

// usage shows what a job has used.
func (c *call) usage(u units.Usage) {
	for _, row := range []struct {
		name string
		of   units.Count
		show func(uint64) string
	}{
		{"CPU", u.CPU, func(n uint64) string { return time.Duration(n).Round(time.Millisecond).String() }},
		{"Memory peak", u.MemoryPeak, byteSize},
		{"IO read", u.IORead, byteSize},
		{"IO written", u.IOWritten, byteSize},
	} {
		if row.of.Known {
			c.field(row.name, row.show(row.of.N))
		} else {
			c.field(row.name, "not counted")
		}
	}
}

// byteSize is a number of bytes in systemd's own units: 1K is 1024.
func byteSize(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, i := float64(n), -1
	for f >= 1024 && i < 5 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f%c", f, "KMGTPE"[i])
}
