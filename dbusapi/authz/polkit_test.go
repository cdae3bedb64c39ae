package authz_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), apitest.Deadline)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for what sends no event.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx := testContext(t)
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

var startWeb = authz.Request{UID: 1000, Sender: ":1.7", Access: authz.ControlServices, Method: "StartService",
	Service: units.ID{Context: "core", Name: "web"}}

// stuck is a polkit that answers nothing before it is released.
func stuck(t *testing.T, bus *privatebus.Bus) (polkit *apitest.Polkit, release func()) {
	t.Helper()
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	return apitest.StartPolkit(t, bus, func(apitest.Question) apitest.Verdict {
		<-released
		return apitest.Yes
	}), release
}

func TestNoAnswerInTimeIsARefusal(t *testing.T) {
	t.Parallel()
	for _, interactive := range []bool{false, true} {
		bus := privatebus.Start(t)
		polkit, release := stuck(t, bus)
		p := authz.NewPolkit()
		p.Hurry(20 * time.Millisecond)
		r := startWeb
		r.Interactive = interactive
		if err := p.Check(testContext(t), bus.Conn(), r); units.CodeOf(err) != units.CodeAccessDenied {
			t.Errorf("interactive %v: error is %v", interactive, err)
		}
		if q := polkit.Asked(); len(q) != 1 || q[0].ID != <-polkit.Canceled() {
			t.Errorf("interactive %v: asked %+v, and it was not withdrawn", interactive, q)
		}
		if p.Open() != 1 {
			t.Errorf("interactive %v: a question that polkit still has is not counted", interactive)
		}
		release()
		eventually(t, "the late answer closes the question", func() bool { return p.Open() == 0 })
	}
}

func TestTheCallersEndIsNoRefusal(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	polkit, _ := stuck(t, bus)
	p, conn := authz.NewPolkit(), bus.Conn()
	ctx, leave := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- p.Check(ctx, conn, startWeb) }()
	eventually(t, "polkit is asked", func() bool { return len(polkit.Asked()) == 1 })
	leave()
	if err := <-done; units.CodeOf(err) != units.CodeCanceled {
		t.Errorf("error is %v", err)
	}
	<-polkit.Canceled()
}

// Whoever asks, and gives up, and asks again, can't flood polkit, nor use up
// the room that the bus has for our calls.
func TestOpenQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	polkit, release := stuck(t, bus)
	p, conn := authz.NewPolkit(), bus.Conn()
	asked := 0
	ask := func(uid uint32) {
		t.Helper()
		ctx, leave := context.WithCancel(testContext(t))
		r := startWeb
		r.UID = uid
		done := make(chan error, 1)
		go func() { done <- p.Check(ctx, conn, r) }()
		eventually(t, "polkit is asked", func() bool { asked += len(polkit.Asked()); return asked == p.Open() && asked > 0 })
		leave()
		if err := <-done; units.CodeOf(err) != units.CodeCanceled {
			t.Fatalf("user %d, question %d: error is %v", uid, asked, err)
		}
	}
	refused := func(uid uint32) {
		t.Helper()
		r := startWeb
		r.UID = uid
		if err := p.Check(testContext(t), conn, r); units.CodeOf(err) != units.CodeLimitsExceeded {
			t.Errorf("user %d, with %d open: error is %v", uid, p.Open(), err)
		}
	}
	for range authz.MaxOfUser {
		ask(1000)
	}
	refused(1000)
	for uid := uint32(1001); p.Open() < authz.MaxOfAll; uid++ {
		for range authz.MaxOfUser {
			ask(uid)
		}
	}
	refused(2000)
	root := startWeb
	root.UID = 0
	if err := p.Check(testContext(t), conn, root); err != nil {
		t.Errorf("root: %v", err)
	}
	release()
	eventually(t, "all questions are closed", func() bool { return p.Open() == 0 })
	if err := p.Check(testContext(t), conn, startWeb); err != nil {
		t.Errorf("once polkit answers again: %v", err)
	}
}

func TestTheEndOfTheBusClosesQuestions(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	polkit, _ := stuck(t, bus)
	p, conn := authz.NewPolkit(), bus.Conn()
	done := make(chan error, 1)
	go func() { done <- p.Check(testContext(t), conn, startWeb) }()
	eventually(t, "polkit is asked", func() bool { return len(polkit.Asked()) == 1 })
	bus.Stop()
	if err := <-done; units.CodeOf(err) != units.CodeAccessDenied {
		t.Errorf("error is %v", err)
	}
	if p.Open() != 0 {
		t.Errorf("%d questions are open", p.Open())
	}
}
