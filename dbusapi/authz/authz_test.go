package authz_test

import (
	"fmt"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	denied   = units.CodeAccessDenied
	withAuth = units.CodeInteractiveAuthorizationRequired
	granted  = units.Code("")
)

var (
	changes = []authz.Access{authz.ControlServices, authz.DefineServices, authz.RunJobs, authz.ManageLogs}
	answers = []authz.Answer{authz.Denied, authz.Allowed, authz.Challenge, authz.Absent, authz.Failed}
)

// The decision, with everything that goes into it.
func TestDecide(t *testing.T) {
	t.Parallel()
	every := func(all ...authz.Access) []authz.Access { return all }
	for _, tt := range []struct {
		name        string
		uids        []uint32
		accesses    []authz.Access
		answers     []authz.Answer
		interactive []bool
		asks        bool
		want        units.Code
	}{
		{name: "root may do everything, whatever polkit says", uids: []uint32{0},
			accesses: append(every(authz.RootOnly, authz.Read), changes...), answers: answers, interactive: []bool{false, true}, want: granted},
		{name: "everybody may read, whatever polkit says", uids: []uint32{1, 1000, 65534},
			accesses: every(authz.Read), answers: answers, interactive: []bool{false, true}, want: granted},
		{name: "what says nothing is for root, whatever polkit says", uids: []uint32{1, 1000, 65534},
			accesses: every(authz.RootOnly), answers: answers, interactive: []bool{false, true}, want: denied},
		{name: "an access that is not known is for root", uids: []uint32{1, 1000, 65534},
			accesses: every(authz.ManageLogs+1, -1), answers: answers, interactive: []bool{false, true}, want: denied},
		{name: "a change that polkit grants", uids: []uint32{1, 1000, 65534},
			accesses: changes, answers: []authz.Answer{authz.Allowed}, interactive: []bool{false, true}, asks: true, want: granted},
		{name: "a change that polkit does not grant", uids: []uint32{1, 1000, 65534},
			accesses: changes, answers: []authz.Answer{authz.Denied}, interactive: []bool{false, true}, asks: true, want: denied},
		{name: "a change that takes a password, and nobody may be asked", uids: []uint32{1, 1000, 65534},
			accesses: changes, answers: []authz.Answer{authz.Challenge}, interactive: []bool{false}, asks: true, want: withAuth},
		{name: "a change that takes a password, and there is nobody to ask", uids: []uint32{1, 1000, 65534},
			accesses: changes, answers: []authz.Answer{authz.Challenge}, interactive: []bool{true}, asks: true, want: denied},
		{name: "a change without polkit", uids: []uint32{1, 1000, 65534},
			accesses: changes, answers: []authz.Answer{authz.Absent, authz.Failed}, interactive: []bool{false, true}, asks: true, want: denied},
		{name: "an answer that is not known is no yes", uids: []uint32{1, 1000, 65534},
			accesses: changes, answers: []authz.Answer{authz.Failed + 1, -1}, interactive: []bool{false, true}, asks: true, want: denied},
	} {
		for _, uid := range tt.uids {
			for _, access := range tt.accesses {
				for _, answer := range tt.answers {
					for _, interactive := range tt.interactive {
						r := authz.Request{UID: uid, Access: access, Method: "Do", Interactive: interactive}
						got, err := granted, r.Decide(answer)
						if err != nil {
							got = units.CodeOf(err)
						}
						if got != tt.want || r.NeedsPolkit() != tt.asks {
							t.Errorf("%s: user %d, access %d, answer %d, interactive %v: got %q, asks polkit %v; want %q, %v",
								tt.name, uid, access, answer, interactive, got, r.NeedsPolkit(), tt.want, tt.asks)
						}
					}
				}
			}
		}
	}
}

func TestZeroIsTheStrictest(t *testing.T) {
	t.Parallel()
	var access authz.Access
	var answer authz.Answer
	for _, r := range []authz.Request{{UID: 1000, Access: access}, {UID: 1000, Access: authz.ControlServices}} {
		if err := r.Decide(answer); units.CodeOf(err) != denied {
			t.Errorf("access %d with no answer: error is %v", r.Access, err)
		}
	}
}

func TestRefusalsSayWhatAndWhy(t *testing.T) {
	t.Parallel()
	web := units.ID{Context: "core", Name: "web"}
	for _, tt := range []struct {
		request authz.Request
		answer  authz.Answer
		want    string
	}{
		{authz.Request{Access: authz.ControlServices, Service: web}, authz.Denied,
			`Do of "core/web" is refused to user 1000: polkit does not grant it tf.ourworld.heroproc1.control-services`},
		{authz.Request{Access: authz.ManageLogs, Service: units.ID{Context: "core"}}, authz.Absent,
			`Do of context "core" is refused to user 1000: polkit is not there to ask, so only root may do that`},
		{authz.Request{Access: authz.ManageLogs}, authz.Failed,
			"Do is refused to user 1000: polkit gave no answer, so only root may do that"},
		{authz.Request{}, authz.Allowed,
			"Do is refused to user 1000: only root may do that"},
		{authz.Request{Access: authz.RunJobs}, authz.Challenge,
			"Do is refused to user 1000: somebody has to authenticate for it, and the call does not allow to ask"},
		{authz.Request{Access: authz.RunJobs, Interactive: true}, authz.Challenge,
			"Do is refused to user 1000: somebody has to authenticate for it, and there is no agent to ask with"},
	} {
		tt.request.UID, tt.request.Method = 1000, "Do"
		err := tt.request.Decide(tt.answer)
		if fmt.Sprint(err) != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
		e, ok := err.(*units.Error)
		if !ok || e.Remedy == "" {
			t.Fatalf("%v: has no remedy", err)
		}
		// A rule helps where polkit is there, and is what decides.
		grant := "grant " + authz.Actions[tt.request.Access] + " to user 1000"
		if helps := tt.answer == authz.Denied || tt.answer == authz.Challenge; strings.Contains(e.Remedy, grant) != helps {
			t.Errorf("%v: its remedy is %q; a rule of polkit's helps: %t", err, e.Remedy, helps)
		}
	}
}
