package probe

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe"
)

// outcome is how a wait has ended.
type outcome struct {
	probe.Answer // the last one
	tries        int
	took         time.Duration
}

// firstPause is the part of the interval that the first pause takes. Each takes
// twice as long as the one before, up to the interval: most programs are ready
// soon, and others wait for them.
const firstPause = 16

// wait asks until the answer is final or ctx ends. It tells each answer that
// is not what the one before was.
func wait(ctx context.Context, interval time.Duration, ask func(context.Context) probe.Answer, tell func(probe.Answer)) outcome {
	began := time.Now()
	var o outcome
	for next := interval / firstPause; ; next = min(2*next, interval) {
		o.tries++
		a := ask(ctx)
		// A try that was cut short says less than the one before it.
		if a.State != probe.NotYet || !over(ctx) || o.tries == 1 {
			if a != o.Answer {
				tell(a)
			}
			o.Answer = a
		}
		o.took = time.Since(began)
		if a.State != probe.NotYet || over(ctx) {
			return o
		}
		pause := time.NewTimer(next)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		if over(ctx) {
			o.took = time.Since(began)
			return o
		}
	}
}

// over says that ctx has ended, or is about to: the network knows its deadline,
// and may be earlier to say that it has passed.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

var errEnded = errors.New("the program has ended")

// lookout is how often it is looked whether the program still runs.
const lookout = 100 * time.Millisecond

// whileAlive is a context that ends, with errEnded, when the process does.
// systemd waits for the prober even when there is nobody left to get ready.
func whileAlive(ctx context.Context, pid int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	process, err := os.FindProcess(pid) // a pidfd: no later process is mistaken for it
	if err != nil {
		cancel(errEnded)
		return ctx, func() {}
	}
	go func() {
		defer func() { _ = process.Release() }()
		tick := time.NewTicker(lookout)
		defer tick.Stop()
		for {
			// EPERM is of one that runs, as somebody else.
			if err := process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
				cancel(errEnded)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
