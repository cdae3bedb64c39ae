package apitest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
)

// Question is what polkit was asked.
type Question struct {
	Sender           string // whose authorisation it is, a unique name on the bus
	Action           string
	Context, Service string // the details
	Runs             string
	Interactive      bool   // it may ask somebody for a password
	ID               string // what CancelCheckAuthorization names
}

// Verdict is what polkit answers.
type Verdict struct {
	Authorized, Challenge bool
	Details               map[string]string
}

// What polkit(8) makes of the results of a rule.
var (
	Yes       = Verdict{Authorized: true}
	No        = Verdict{}
	AuthAdmin = Verdict{Challenge: true}
)

// Polkit is polkit for a private bus. It refuses a question that the real one
// would refuse too, or that is not as hero_proc's have to be.
type Polkit struct {
	mu       sync.Mutex
	rule     func(Question) Verdict
	asked    []Question
	open     map[string]bool
	canceled chan string
}

// StartPolkit takes polkit's name on the bus. Rule answers each question in a
// goroutine of its own and may take its time.
func StartPolkit(t testing.TB, bus *privatebus.Bus, rule func(Question) Verdict) *Polkit {
	t.Helper()
	p := &Polkit{rule: rule, open: map[string]bool{}, canceled: make(chan string, 1024)}
	conn := bus.Conn()
	methods := map[string]any{"CheckAuthorization": p.check, "CancelCheckAuthorization": p.cancel}
	if err := conn.ExportMethodTable(methods, "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority"); err != nil {
		t.Fatal(err)
	}
	reply, err := conn.RequestName("org.freedesktop.PolicyKit1", dbus.NameFlagDoNotQueue)
	if err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("cannot be polkit: %v, %v", reply, err)
	}
	return p
}

// SetRule replaces the rule.
func (p *Polkit) SetRule(rule func(Question) Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// Asked are the questions since the last call.
func (p *Polkit) Asked() []Question {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// Canceled gets the ID of each question that is withdrawn.
func (p *Polkit) Canceled() <-chan string { return p.canceled }

type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

func (p *Polkit) check(who subject, action string, details map[string]string, flags uint32, id string) (Verdict, *dbus.Error) {
	sender, _ := who.Details["name"].Value().(string)
	q := Question{sender, action, details["context"], details["service"], details["runs"], flags == 1, id}
	rule, err := p.ask(q, who, details, flags)
	if err != nil {
		return Verdict{}, dbus.NewError("org.freedesktop.PolicyKit1.Error.Failed", []any{err.Error()})
	}
	verdict := rule(q)
	if verdict.Details == nil {
		verdict.Details = map[string]string{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, id)
	return verdict, nil
}

func (p *Polkit) ask(q Question, who subject, details map[string]string, flags uint32) (func(Question) Verdict, error) {
	known := false
	for _, action := range authz.Actions {
		known = known || action == q.Action
	}
	_, hasContext := details["context"]
	_, hasService := details["service"]
	_, hasRuns := details["runs"]
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case who.Kind != "system-bus-name" || q.Sender == "" || len(who.Details) != 1:
		return nil, fmt.Errorf("subject is %v", who)
	case !known:
		return nil, fmt.Errorf("action %s is not registered", q.Action)
	case !hasContext || !hasService || !hasRuns || len(details) != 3:
		return nil, fmt.Errorf("details are %v", details)
	case flags > 1:
		return nil, fmt.Errorf("flags are %d", flags)
	case q.ID == "" || p.open[q.ID]:
		return nil, fmt.Errorf("cancellation id is %q, which is none or in use", q.ID)
	}
	p.open[q.ID] = true
	p.asked = append(p.asked, q)
	return p.rule, nil
}

func (p *Polkit) cancel(id string) *dbus.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open[id] {
		return dbus.NewError("org.freedesktop.PolicyKit1.Error.Failed", []any{"no such authorization check"})
	}
	p.canceled <- id
	return nil
}

// Grant is a rule that says yes to one action for one service, and no to the rest.
func Grant(action, context, service string) func(Question) Verdict {
	return func(q Question) Verdict {
		if q.Action == action && q.Context == context && q.Service == service {
			return Yes
		}
		return No
	}
}
