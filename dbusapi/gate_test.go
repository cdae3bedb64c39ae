package dbusapi

import (
	"fmt"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestGateBoundsASender(t *testing.T) {
	t.Parallel()
	g := newGate()
	for i := range maxOfSender {
		if err := g.enter(":1.1"); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	if err := g.enter(":1.1"); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("one call too many: error is %v", err)
	}
	if err := g.enter(":1.2"); err != nil {
		t.Errorf("another sender: %v", err)
	}
	g.leave(":1.1")
	if err := g.enter(":1.1"); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestGateKeepsRoomForRoot(t *testing.T) {
	t.Parallel()
	g := newGate()
	for i := range maxOfUsers {
		if err := g.enter(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if err := g.admit(1000); err != nil {
			t.Fatalf("call %d of a user: %v", i+1, err)
		}
	}
	if err := g.enter("one more"); err != nil {
		t.Fatal(err)
	}
	if err := g.admit(1000); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("a user where only root's room is left: error is %v", err)
	}
	if err := g.admit(0); err != nil {
		t.Errorf("root: %v", err)
	}
	for i := range maxOfAll - maxOfUsers - 1 {
		if err := g.enter(fmt.Sprint("root ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.enter("too many"); units.CodeOf(err) != units.CodeLimitsExceeded {
		t.Errorf("one call too many: error is %v", err)
	}
}

func TestGateForgetsWhoLeft(t *testing.T) {
	t.Parallel()
	g := newGate()
	for i := range 10 {
		if err := g.enter(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	empty := g.close()
	if err := g.enter("late"); units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("after the end: error is %v", err)
	}
	select {
	case <-empty:
		t.Error("it says that all have left, and they have not")
	default:
	}
	for i := range 10 {
		g.leave(fmt.Sprint(i))
	}
	<-empty
	if g.all != 0 || len(g.bySender) != 0 {
		t.Errorf("it still counts %d calls and %d senders", g.all, len(g.bySender))
	}
}
