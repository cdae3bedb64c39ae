package supervisor_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// slowList is a systemd whose next listing is held back, and that tells of those
// after it.
type slowList struct {
	supervisor.Systemd
	armed                atomic.Bool
	held, release, again chan struct{}
}

func (s *slowList) Units(ctx context.Context) ([]units.Unit, error) {
	if s.armed.Swap(false) {
		close(s.held)
		<-s.release
	} else {
		select {
		case s.again <- struct{}{}:
		default:
		}
	}
	return s.Systemd.Units(ctx)
}

// Who has taken what was touched reads what is there since, and not what somebody
// else has begun to read before.
func TestWhatWasTouchedIsReadAnew(t *testing.T) {
	w := newWorld(t)
	s := &slowList{held: make(chan struct{}), release: make(chan struct{}), again: make(chan struct{})}
	w.wrap = func(of supervisor.Systemd) supervisor.Systemd { s.Systemd = of; return s }
	d := w.boot()
	s.armed.Store(true)
	read := func() { _, _ = d.Services(t.Context()) }
	go read()
	<-s.held
	d.TakeTouched()
	go read()
	select {
	case <-s.again:
	case <-time.After(10 * time.Second):
		t.Error("it has joined a reading that had begun before")
	}
	close(s.release)
}
