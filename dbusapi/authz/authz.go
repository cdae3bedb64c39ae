// Package authz decides who may call what.
//
// What lives here is the decision, from who calls, what the method does and
// what polkit says, and the asking of polkit. What never may: the method
// itself, a look into its arguments, or an answer that is kept for later.
//
// Everybody may read. Root may do everything, polkit or not. For the rest
// polkit(8) decides, by an action for each kind of change and with the names
// of the context and of the service, and what is run, as details, so that a
// rule can grant one service or one context.
package authz

import (
	"fmt"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Access is what a method does. Its zero value is the strictest, so that a
// method that says nothing is not open.
type Access int

const (
	// RootOnly is what no action of polkit's grants.
	RootOnly Access = iota
	// Read alters nothing, and shows nothing that is secret.
	Read
	// ControlServices starts, stops and restarts what is registered.
	ControlServices
	// DefineServices alters what is registered, and shows environments and
	// credentials. Who may define a service is as good as root: a definition
	// says which program runs, as which user.
	DefineServices
	// RunJobs runs programs that are not registered; also as good as root.
	RunJobs
	// ManageLogs deletes from the log, or alters what gets into it.
	ManageLogs
)

// Actions are the actions of polkit that the changes take. The installed
// policy file has each of them.
var Actions = map[Access]string{
	ControlServices: "tf.ourworld.heroproc1.control-services",
	DefineServices:  "tf.ourworld.heroproc1.define-services",
	RunJobs:         "tf.ourworld.heroproc1.run-jobs",
	ManageLogs:      "tf.ourworld.heroproc1.manage-logs",
}

// Request is who wants to do what.
type Request struct {
	UID    uint32
	Sender string // the caller's unique name on the bus
	Access Access
	Method string // for messages
	// Service is what the call is about. Where it is about all services of a
	// context its Name is "", where about all there are both are.
	Service units.ID
	// Runs says what a run executes: "command" is one of the caller's own, which
	// calls it Service, or an action of Service with changes of the caller's;
	// "action", or "action NAME", is just what is registered of Service. It is ""
	// for what runs nothing else than what is registered.
	Runs string
	// Interactive says that the caller lets polkit ask somebody for a password.
	Interactive bool
}

// NeedsPolkit says whether polkit is to be asked. Where it isn't, its answer
// counts for nothing.
func (r Request) NeedsPolkit() bool {
	_, known := Actions[r.Access]
	return known && r.UID != 0
}

// Answer is what polkit says.
type Answer int

const (
	// Denied is a plain no, of the rules or of who was asked for a password.
	Denied Answer = iota
	Allowed
	// Challenge is: not before somebody has authenticated, and nobody was
	// asked to.
	Challenge
	// Absent is that there is no polkit to ask.
	Absent
	// Failed is that polkit gave no answer, or none in time.
	Failed
)

// Decide is nil if the request is granted, else an error with
// [units.CodeAccessDenied] or [units.CodeInteractiveAuthorizationRequired].
func (r Request) Decide(answer Answer) error {
	if r.UID == 0 || r.Access == Read || r.NeedsPolkit() && answer == Allowed {
		return nil
	}
	code, why, remedy := units.CodeAccessDenied, "", "run it again with sudo"
	switch {
	case !r.NeedsPolkit():
		why = "only root may do that"
	case answer == Challenge && !r.Interactive:
		code, why = units.CodeInteractiveAuthorizationRequired, "somebody has to authenticate for it, and the call does not allow to ask"
	case answer == Challenge:
		why = "somebody has to authenticate for it, and there is no agent to ask with"
	case answer == Absent:
		why = "polkit is not there to ask, so only root may do that"
	case answer == Failed:
		why = "polkit gave no answer, so only root may do that"
		remedy += "\nsystemctl status polkit"
	default:
		why = "polkit does not grant it " + Actions[r.Access]
	}
	if r.NeedsPolkit() && answer != Absent && answer != Failed {
		remedy += fmt.Sprintf("\nor have root grant %s to user %d, as in /usr/share/doc/hero-proc/examples/50-hero_proc.rules", Actions[r.Access], r.UID)
	}
	return units.Errorf(code, "%s is refused to user %d: %s", r.what(), r.UID, why).WithRemedy(remedy)
}

// what names the call in a message.
func (r Request) what() string {
	switch {
	case r.Service.Name != "":
		return fmt.Sprintf("%s of %q", r.Method, r.Service)
	case r.Service.Context != "":
		return fmt.Sprintf("%s of context %q", r.Method, r.Service.Context)
	}
	return r.Method
}
