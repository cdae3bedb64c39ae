package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) jobLogsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "show what one job has printed",
		ArgsUsage: "NUMBER [OPTION]...",
		Description: `It is exactly that job's: of no other activation of its unit, and with what
systemd says of it. With -f it ends when the job has. For who may read it, and
for --json, see service logs.

Example:
   hero_proc job logs 42
   hero_proc job logs 42 -f`,
		Flags:  journalFlags(),
		Action: waiting(c.jobLogs),
	}
}

func (c *call) jobLogs(ctx context.Context, cc *cli.Context) error {
	if cc.NArg() != 1 {
		return usagef(cc, "want the number of one job, got %d", cc.NArg())
	}
	numbers, err := jobNumbers(cc)
	if err != nil {
		return err
	}
	argv, err := c.journalArgs(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.mayReadJournal(fmt.Sprintf("hero_proc job logs %d", numbers[0])); err != nil {
		return err
	}
	follow := cc.Bool("follow")
	job, err := activated(ctx, api, numbers[0], follow)
	switch {
	case err != nil:
		return err
	case job.InvocationID == "" && job.Phase.Terminal():
		c.hint("Job %d has printed nothing: it never came to run.", job.ID)
		return nil
	case job.InvocationID == "":
		c.hint("Job %d has printed nothing yet: it waits to be run.", job.ID)
		return nil
	}
	// What processes of the activation say, and what systemd says of it.
	// systemd.journal-fields(7); everybody can send a field with no underscore.
	of := []string{"_SYSTEMD_INVOCATION_ID=" + job.InvocationID, "+", "_PID=1", "INVOCATION_ID=" + job.InvocationID}
	if follow && !job.Phase.Terminal() {
		return c.followJob(ctx, api, job.ID, argv, of)
	}
	near, err := c.near(ctx, job)
	if err != nil {
		return err
	}
	for _, stream := range streams(late(job, near)) {
		of = append(of, "+", stream)
	}
	return c.journal(ctx, append(once(argv), of...), nil)
}

// once is journalctl that does not follow: of what is over there is nothing to come.
func once(argv []string) []string {
	return slices.DeleteFunc(slices.Clone(argv), func(arg string) bool { return arg == "--follow" })
}

// lookAgain is how often it is looked whether a job has come to run.
const lookAgain = 200 * time.Millisecond

// activated is the job, once it runs or is over if that is to be awaited.
func activated(ctx context.Context, api API, number int64, await bool) (units.Job, error) {
	for {
		job, err := api.Job(ctx, number)
		if err != nil || !await || job.InvocationID != "" || job.Phase.Terminal() {
			return job, err
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return job, ctx.Err()
		}
	}
}

// How the end of what a job has printed is known: the journal's last line of
// it is printed, and for a while nothing follows. At most lastLines is waited.
const (
	silence   = 250 * time.Millisecond
	lastLines = 5 * time.Second
)

// followJob prints what comes until the job is over and its last line was
// printed.
func (c *call) followJob(ctx context.Context, api API, number int64, argv, of []string) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	out := &watched{out: c.Stdout}
	done := make(chan error, 1)
	go func() { done <- c.journal(following, slices.Concat(argv, of), out) }()
	over := make(chan error, 1)
	var job units.Job
	go func() {
		var err error
		job, err = api.Wait(following, number)
		over <- err
	}()
	select {
	case err := <-done: // Ctrl-C, or what journalctl has to say
		return err
	case err := <-over:
		if err != nil {
			stop()
			<-done
			if ctx.Err() != nil {
				return nil // Ctrl-C
			}
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lastLines)
	defer cancel()
	look := time.NewTicker(silence)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
		case <-look.C:
			if !out.silent(silence) || !c.printed(ctx, out, argv, of) {
				continue
			}
		}
		stop()
		if err := <-done; err != nil {
			return err
		}
		return c.printLate(ctx, job, argv, out)
	}
}

// printed says that the last line that the journal has was printed.
func (c *call) printed(ctx context.Context, out *watched, argv, of []string) bool {
	var last bytes.Buffer
	if err := c.journal(ctx, slices.Concat(once(argv), []string{"--lines=1", "--quiet", "--no-pager"}, of), &last); err != nil {
		return false
	}
	if c.json { // each journalctl has its own order of the fields
		return out.has(cursor.Find(last.Bytes()))
	}
	return out.ends(last.Bytes())
}

// cursor is the field of an entry that no other entry has.
var cursor = regexp.MustCompile(`"__CURSOR" *: *"[^"]*"`)

// maxTail is how much of the end of what was printed is kept to compare with.
const maxTail = 64 << 10

// watched passes on what is written, and knows how that ended and when.
type watched struct {
	out io.Writer

	mu   sync.Mutex
	tail []byte
	at   time.Time
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = time.Now()
	w.tail = append(w.tail, p...)
	if over := len(w.tail) - maxTail; over > 0 {
		w.tail = bytes.Clone(w.tail[over:])
	}
	return w.out.Write(p)
}

func (w *watched) silent(d time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.at) >= d
}

func (w *watched) has(text []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.tail, text)
}

func (w *watched) ends(text []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.HasSuffix(w.tail, text[max(0, len(text)-maxTail):])
}
