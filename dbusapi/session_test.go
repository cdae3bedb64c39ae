package dbusapi

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"github.com/godbus/dbus/v5"
)

// asked is a session whose bus counts who is asked for, and fails with err.
type asked struct {
	*session
	times int
	err   error
}

func newAsked() *asked {
	a := &asked{}
	server := New(Options{UID: func(context.Context, *dbus.Conn, string) (uint32, error) {
		a.times++
		return 1000, a.err
	}})
	a.session = &session{Server: server, live: context.Background(), senders: map[string]*presence{}}
	return a
}

func (a *asked) leaves(from, name, owner string) {
	a.DeliverSignal(busDaemon, "NameOwnerChanged", &dbus.Signal{Sender: from, Body: []any{name, name, owner}})
}

// call is one call from its begin to its end, with what happens amid it.
func (a *asked) call(t *testing.T, amid func(*presence)) {
	t.Helper()
	p, done := a.attend(":1.7")
	defer done()
	if uid, err := a.whoCalls(p, message{sender: ":1.7"}); uid != 1000 && err == nil {
		t.Errorf("the user is %d", uid)
	}
	amid(p)
}

func TestWhoCallsIsAskedOnce(t *testing.T) {
	t.Parallel()
	nothing := func(*presence) {}
	for _, tt := range []struct {
		name    string
		between func(*asked)
		amid    func(*asked, *presence)
		err     error
		times   int // of two calls
		kept    int // senders, after them
	}{
		{name: "it stays", times: 1, kept: 1},
		{name: "it leaves between the calls", between: func(a *asked) { a.leaves(busDaemon, ":1.7", "") }, times: 2, kept: 1},
		{name: "another one leaves", between: func(a *asked) { a.leaves(busDaemon, ":1.8", "") }, times: 1, kept: 1},
		{name: "a name gets an owner", between: func(a *asked) { a.leaves(busDaemon, ":1.7", ":1.7") }, times: 1, kept: 1},
		{name: "somebody lies", between: func(a *asked) { a.leaves(":1.8", ":1.7", "") }, times: 1, kept: 1},
		{name: "the bus refuses", err: errors.New("no"), times: 2, kept: 0},
		{name: "it leaves amid each call", times: 2, kept: 0, amid: func(a *asked, p *presence) {
			a.leaves(busDaemon, ":1.7", "")
			if p.ctx.Err() == nil {
				t.Error("who has left is still waited for")
			}
		}},
	} {
		a := newAsked()
		a.err = tt.err
		amid := nothing
		if tt.amid != nil {
			amid = func(p *presence) { tt.amid(a, p) }
		}
		a.call(t, amid)
		if tt.between != nil {
			tt.between(a)
		}
		a.call(t, amid)
		if a.times != tt.times || len(a.senders) != tt.kept {
			t.Errorf("%s: the bus was asked %d times, and %d senders are kept; want %d and %d", tt.name, a.times, len(a.senders), tt.times, tt.kept)
		}
	}
}

// A sender that leaves before the bus has told who it is is not kept for ever.
func TestWhoLeavesWhileItIsAskedFor(t *testing.T) {
	t.Parallel()
	a := newAsked()
	p, done := a.attend(":1.7")
	a.leaves(busDaemon, ":1.7", "")
	if _, err := a.whoCalls(p, message{sender: ":1.7"}); err != nil {
		t.Error(err)
	}
	done()
	if len(a.senders) != 0 {
		t.Errorf("%d senders are kept; want none", len(a.senders))
	}
}

// Should the bus never tell that they left, the senders that are known do not
// grow for ever, and no call that is in flight is given up for that.
func TestKnownSendersAreBounded(t *testing.T) {
	t.Parallel()
	a := newAsked()
	inside, done := a.attend("first")
	defer done()
	for i := range 2*maxKnown + 1 {
		p, done := a.attend(fmt.Sprint(i))
		if _, err := a.whoCalls(p, message{}); err != nil {
			t.Fatal(err)
		}
		done()
		if len(a.senders) > maxKnown {
			t.Fatalf("%d senders are kept", len(a.senders))
		}
	}
	if inside.ctx.Err() != nil || a.senders["first"] != inside {
		t.Error("who has a call in flight was forgotten")
	}
}

// Who is known keeps nothing of the message of its first call, which may be long.
func TestKnownSendersKeepNoMessage(t *testing.T) {
	t.Parallel()
	a := newAsked()
	message := ":1.7 and a long message after it"
	sender := message[:4]
	_, done := a.attend(sender)
	defer done()
	for kept := range a.senders {
		if kept != sender || unsafe.StringData(kept) == unsafe.StringData(sender) {
			t.Errorf("%q is kept with what it is a part of", kept)
		}
	}
}
