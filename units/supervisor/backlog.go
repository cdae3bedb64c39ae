package supervisor

import (
	"maps"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// backlog is what systemd's signals have marked and nobody has read yet. It is
// for the goroutine of the boot and the main loop alone.
type backlog struct {
	names map[string]bool
	rest  units.Changes // all but the names
	storm plan.Storm
	timer *time.Timer
}

func newBacklog() backlog {
	b := backlog{names: map[string]bool{}, timer: time.NewTimer(time.Hour)}
	b.timer.Stop()
	return b
}

// add adds what changed, and sets when it is due. The loss of the connection,
// and what asks for everything to be read again, waits for nothing.
func (b *backlog) add(c units.Changes, now time.Time) {
	for _, name := range c.Units {
		b.names[name] = true
	}
	if b.rest.Jobs == nil {
		b.rest.Jobs = c.Jobs
	} else {
		maps.Copy(b.rest.Jobs, c.Jobs)
	}
	b.rest.All, b.rest.Lost, b.rest.Back = b.rest.All || c.All, b.rest.Lost || c.Lost, b.rest.Back || c.Back
	wait := b.storm.Wait(c.Units, now)
	if c.All || c.Lost || c.Back {
		wait = 0
	}
	b.timer.Reset(wait)
}

// brace says that many units are going to change.
func (b *backlog) brace(now time.Time) {
	b.timer.Reset(b.storm.Begin(now))
}

// due has a value when the backlog is to be read.
func (b *backlog) due() <-chan time.Time { return b.timer.C }

func (b *backlog) empty() bool { return len(b.names) == 0 }

// take empties the backlog.
func (b *backlog) take() units.Changes {
	c := b.rest
	c.Units = slices.Sorted(maps.Keys(b.names))
	b.rest = units.Changes{}
	clear(b.names)
	return c
}
