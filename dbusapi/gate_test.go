package dbusapi

import (
	"fmt"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// enter is a call that is let in, as that user's.
func enter(t *testing.T, g *gate, sender string, uid uint32) *visit {
	t.Helper()
	v, err := g.enter(sender)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.admit(uid); err != nil {
		t.Fatal(err)
	}
	return v
}

// refused checks that a call is let in, and refused once its user is known.
func refused(t *testing.T, g *gate, sender string, uid uint32) {
	t.Helper()
	v, err := g.enter(sender)
	if err != nil {
		t.Fatal(err)
	}
	defer v.leave()
	if err := v.admit(uid); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("one call of user %d too many: error is %v", uid, err)
	}
}

func TestGateBoundsASender(t *testing.T) {
	t.Parallel()
	g := newGate()
	for range maxOfSender - 1 {
		enter(t, g, ":1.1", 0)
	}
	last := enter(t, g, ":1.1", 0)
	if _, err := g.enter(":1.1"); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("one call too many: error is %v", err)
	}
	enter(t, g, ":1.2", 0)
	last.leave()
	enter(t, g, ":1.1", 0)
}

func TestGateKeepsRoomForTheOthers(t *testing.T) {
	t.Parallel()
	g := newGate()
	// Calls of which nobody knows yet whose they are take nobody's room.
	for i := range 4 * maxOfUsers {
		if _, err := g.enter(fmt.Sprint("stranger ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxOfUser {
		enter(t, g, fmt.Sprint("a ", i), 1000)
	}
	refused(t, g, "a", 1000)
	for i := range maxOfUsers - maxOfUser {
		enter(t, g, fmt.Sprint("b ", i), 1001)
	}
	refused(t, g, "c", 1002)
	for i := range maxOfRoot {
		enter(t, g, fmt.Sprint("root ", i), 0)
	}
	refused(t, g, "root", 0)
}

func TestGateBoundsWhatIsCarried(t *testing.T) {
	t.Parallel()
	g := newGate()
	carry := func(i, size int) (*visit, error) {
		v, err := g.enter(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		return v, v.carry(size)
	}
	if _, err := carry(0, maxBody+1); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("a message that is too long: error is %v", err)
	}
	var last *visit
	for i := range maxBodies / maxBody {
		v, err := carry(i, maxBody)
		if err != nil {
			t.Fatal(err)
		}
		last = v
	}
	if _, err := carry(100, shortBody+1); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("one long message too many: error is %v", err)
	}
	if _, err := carry(101, shortBody); err != nil {
		t.Errorf("a short message beside the long ones: %v", err)
	}
	last.leave()
	if _, err := carry(102, maxBody); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestGateForgetsWhoLeft(t *testing.T) {
	t.Parallel()
	g := newGate()
	var inside []*visit
	for i := range 10 {
		v := enter(t, g, fmt.Sprint(i), uint32(i%3))
		if err := v.carry(maxBody / 2); err != nil {
			t.Fatal(err)
		}
		inside = append(inside, v)
	}
	stranger, err := g.enter("stranger")
	if err != nil {
		t.Fatal(err)
	}
	written := g.expect()
	empty := g.close()
	if _, err := g.enter("late"); units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("after the end: error is %v", err)
	}
	g.expect()() // nobody waits for what came later
	for _, v := range append(inside, stranger) {
		v.leave()
	}
	select {
	case <-empty:
		t.Error("it says that all is answered, and an answer is still to be written")
	default:
	}
	written()
	<-empty
	if g.all+g.users+g.bodies+len(g.byUser)+len(g.bySender) != 0 {
		t.Errorf("it still counts %+v", g)
	}
}
