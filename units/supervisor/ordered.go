package supervisor

import (
	"context"
	"sync/atomic"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ordered numbers the readings of units: many goroutines read, and what was
// asked for first may be told last.
type ordered struct {
	Systemd
	clock atomic.Uint64
}

func (o *ordered) Unit(ctx context.Context, name string) (units.Unit, error) {
	asked := o.moment()
	u, err := o.Systemd.Unit(ctx, name)
	u.Reading = asked
	return u, err
}

// moment is now: later than every moment before.
func (o *ordered) moment() uint64 { return o.clock.Add(1) }
