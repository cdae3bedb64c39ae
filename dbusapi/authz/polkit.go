package authz

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// polkit on the bus: the reference manual of polkit, "D-Bus API".
const (
	polkitName      = "org.freedesktop.PolicyKit1"
	polkitPath      = "/org/freedesktop/PolicyKit1/Authority"
	polkitInterface = polkitName + ".Authority"

	allowUserInteraction uint32 = 1
)

// How long polkit has for its answer. In the second case a person types a password.
const (
	answerTimeout      = 10 * time.Second
	interactiveTimeout = 2 * time.Minute
)

// Bounds of the questions that polkit has not answered yet, given-up ones
// included. A connection to the bus has room for 128 (dbus-daemon(1),
// max_replies_per_connection).
const (
	maxOfUser = 32
	maxOfAll  = 96
)

// Polkit asks polkit. It keeps no answer: the rules may change at any time.
type Polkit struct {
	patience, interactivePatience time.Duration

	mu      sync.Mutex
	all     int
	byUser  map[uint32]int
	counter uint64 // for the names of questions
}

// NewPolkit makes one with no question open.
func NewPolkit() *Polkit {
	return &Polkit{patience: answerTimeout, interactivePatience: interactiveTimeout, byUser: map[uint32]int{}}
}

// subject is who is to be authorised. polkit finds out itself which user and
// which process has that name on the bus.
type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// Check is nil if the request is granted, else an error: that of
// [Request.Decide] with its cause, or [units.CodeLimitsExceeded], or
// [units.CodeCanceled] when ctx ended first. polkit is asked over conn.
func (p *Polkit) Check(ctx context.Context, conn *dbus.Conn, r Request) error {
	if !r.NeedsPolkit() {
		return r.Decide(Failed)
	}
	name, err := p.open(r.UID)
	if err != nil {
		return err
	}
	answer, cause := p.ask(ctx, conn, r, name)
	if ctx.Err() != nil {
		return units.Errorf(units.CodeCanceled, "given up: the caller left, or hero_proc is stopping")
	}
	err = r.Decide(answer)
	var refused *units.Error
	if errors.As(err, &refused) {
		refused.Err = cause
	}
	return err
}

// ask asks the question of that name, which is open, and sees to it that it is
// closed. When ctx ends or the time is up, the question is withdrawn.
func (p *Polkit) ask(ctx context.Context, conn *dbus.Conn, r Request, name string) (Answer, error) {
	timeout, flags := p.patience, uint32(0)
	if r.Interactive {
		timeout, flags = p.interactivePatience, allowUserInteraction
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	polkit := conn.Object(polkitName, polkitPath)
	// The call has no deadline of its own: the question is open until polkit
	// answers, or the connection ends.
	call := polkit.Go(polkitInterface+".CheckAuthorization", 0, make(chan *dbus.Call, 1),
		subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(r.Sender)}},
		Actions[r.Access],
		map[string]string{"context": r.Service.Context, "service": r.Service.Name, "runs": r.Runs},
		flags, name)
	select {
	case <-call.Done:
		p.close(r.UID)
		return read(call)
	case <-ctx.Done():
	}
	polkit.Go(polkitInterface+".CancelCheckAuthorization", dbus.FlagNoReplyExpected, nil, name)
	go func() {
		<-call.Done
		p.close(r.UID)
	}()
	return Failed, ctx.Err()
}

// read is what the answer of CheckAuthorization, or its error, comes to.
func read(call *dbus.Call) (Answer, error) {
	var result struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	err := call.Store(&result)
	var refused dbus.Error
	switch {
	case errors.As(err, &refused) && absent(refused.Name):
		return Absent, err
	case err != nil:
		return Failed, err
	case result.Authorized:
		return Allowed, nil
	case result.Challenge:
		return Challenge, nil
	}
	return Denied, nil
}

// absent says that an error of the bus means that polkit is not installed, or
// can't be started: D-Bus specification, "Message Bus Starting Services". The
// last prefix is for what systemd refuses, such as a masked unit.
func absent(name string) bool {
	return name == "org.freedesktop.DBus.Error.ServiceUnknown" ||
		name == "org.freedesktop.DBus.Error.NameHasNoOwner" ||
		strings.HasPrefix(name, "org.freedesktop.DBus.Error.Spawn.") ||
		strings.HasPrefix(name, "org.freedesktop.systemd1.")
}

// open counts a question of that user's, or refuses it, and names it: for
// CancelCheckAuthorization, and unique on our connection.
func (p *Polkit) open(uid uint32) (name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byUser[uid] >= maxOfUser || p.all >= maxOfAll {
		return "", units.Errorf(units.CodeLimitsExceeded, "polkit has too many questions of ours to answer; try again later")
	}
	p.all++
	p.byUser[uid]++
	p.counter++
	return strconv.FormatUint(p.counter, 10), nil
}

func (p *Polkit) close(uid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.byUser[uid]--; p.byUser[uid] == 0 {
		delete(p.byUser, uid)
	}
}
