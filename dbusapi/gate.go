package dbusapi

import (
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Bounds of calls in flight, those that wait for a job included. Users and root
// are counted apart, so that nobody can lock out the administrator, and one
// user can't lock out the others.
const (
	maxOfSender = 32
	maxOfUser   = 256 // of one user who is not root
	maxOfUsers  = 512 // of all of them
	maxOfRoot   = 512
)

// Bounds of what the calls in flight bring along, in bytes of their messages: in
// memory it is up to twenty times that. What a short call brings counts for
// nothing, so that an administrator's get in while somebody sends long ones.
const (
	maxBody   = 1 << 20
	shortBody = 4 << 10
	maxBodies = 8 << 20
)

// gate counts the calls in flight.
type gate struct {
	mu       sync.Mutex
	closed   bool
	all      int
	bodies   int // bytes
	users    int
	byUser   map[uint32]int
	bySender map[string]int
	expected sync.WaitGroup
}

func newGate() *gate { return &gate{byUser: map[uint32]int{}, bySender: map[string]int{}} }

// visit is one call in flight.
type visit struct {
	gate   *gate
	sender string
	body   int
	uid    uint32
	known  bool // uid is, and is counted
}

// enter counts a call in, or refuses it. Each call that came in leaves. Whose
// it is is not known yet: until then the senders' own limit is all that there
// is, or else a crowd of strangers would keep root out.
func (g *gate) enter(sender string) (*visit, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return nil, units.Errorf(units.CodeCanceled, "hero_proc is stopping")
	case g.bySender[sender] >= maxOfSender:
		return nil, units.Errorf(units.CodeLimitsExceeded, "the caller has %d calls in flight, which is the limit; let some end first", maxOfSender)
	}
	g.all++
	g.bySender[sender]++
	return &visit{gate: g, sender: sender}, nil
}

// carry counts the bytes of the call's message in, or refuses them.
func (v *visit) carry(size int) error {
	if size <= shortBody {
		return nil
	}
	if size > maxBody {
		return units.Errorf(units.CodeLimitsExceeded, "the message is longer than %d bytes", maxBody)
	}
	g := v.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bodies+size > maxBodies {
		return errCrowded()
	}
	g.bodies += size
	v.body = size
	return nil
}

// admit counts the call in as that user's, or refuses it.
func (v *visit) admit(uid uint32) error {
	g := v.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	most := maxOfUser
	if uid == 0 {
		most = maxOfRoot
	} else if g.users >= maxOfUsers {
		return errCrowded()
	}
	if g.byUser[uid] >= most {
		return errCrowded()
	}
	v.uid, v.known = uid, true
	g.byUser[uid]++
	if uid != 0 {
		g.users++
	}
	return nil
}

func (v *visit) leave() {
	g := v.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	g.bodies -= v.body
	forget(g.bySender, v.sender)
	if v.known {
		forget(g.byUser, v.uid)
		if v.uid != 0 {
			g.users--
		}
	}
}

// forget counts one down, and keeps no zero.
func forget[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
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

// expect keeps the gate from being done with closing until an answer is written.
// That is later than its call leaves, or else who has many in flight would be
// refused the next one that it sends when it has the answer.
func (g *gate) expect() (written func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return func() {}
	}
	g.expected.Add(1)
	return g.expected.Done
}

// close refuses all further calls. The channel closes when the last answer that
// was expected is written.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	empty := make(chan struct{})
	go func() {
		g.expected.Wait()
		close(empty)
	}()
	return empty
}
