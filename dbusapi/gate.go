package dbusapi

import (
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Bounds of calls in flight, those that wait for a job included. Past
// maxOfUsers the rest is kept for root, so that nobody can lock out the
// administrator.
const (
	maxOfSender = 32
	maxOfUsers  = 512
	maxOfAll    = 1024
)

// gate counts the calls in flight.
type gate struct {
	mu       sync.Mutex
	closed   bool
	all      int
	bySender map[string]int
	inside   sync.WaitGroup
}

func newGate() *gate { return &gate{bySender: map[string]int{}} }

// enter counts a call in, or refuses it. Each call that came in leaves.
func (g *gate) enter(sender string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return units.Errorf(units.CodeCanceled, "hero_proc is stopping")
	case g.bySender[sender] >= maxOfSender:
		return units.Errorf(units.CodeLimitsExceeded, "the caller has %d calls in flight, which is the limit; let some end first", maxOfSender)
	case g.all >= maxOfAll:
		return errCrowded()
	}
	g.all++
	g.bySender[sender]++
	g.inside.Add(1)
	return nil
}

// admit refuses a user while only the room that is kept for root is left.
func (g *gate) admit(uid uint32) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if uid != 0 && g.all > maxOfUsers {
		return errCrowded()
	}
	return nil
}

// count is the number of calls in flight.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all
}

func errCrowded() error {
	return units.Errorf(units.CodeLimitsExceeded, "hero_proc has too many calls in flight; try again later")
}

func (g *gate) leave(sender string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.bySender[sender]--; g.bySender[sender] == 0 {
		delete(g.bySender, sender)
	}
	g.inside.Done()
}

// close refuses all further calls. The channel closes when the last one has left.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	empty := make(chan struct{})
	go func() {
		g.inside.Wait()
		close(empty)
	}()
	return empty
}
