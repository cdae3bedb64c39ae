package dbusapi_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var (
	refused      = units.CodeAccessDenied.Info().DBus
	authenticate = units.CodeInteractiveAuthorizationRequired.Info().DBus
)

// nobodys says no to everything.
func nobodys(apitest.Question) apitest.Verdict { return apitest.No }

// about is what the sample's call of a changing method is about: mostly web.
func about(row dbusapi.Row) units.ID {
	switch row.Member {
	case "SetService", "RunJob", wire.FilesMember:
		return units.ID{Context: "core", Name: "other"}
	case "PruneLogs":
		return units.ID{Context: "core"}
	case "Set":
		return units.ID{} // everything
	}
	return web
}

// state is all that a changing call could have changed.
func state(t *testing.T, c *apitest.Controller) string {
	t.Helper()
	ctx := context.Background()
	services, err := c.Services(ctx)
	if err != nil {
		t.Fatal(err)
	}
	job, err := c.Job(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.Logs(ctx, units.LogFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(services, job, logs)
}

// interactively calls a method with the flag that lets polkit ask somebody.
// godbus's own calls drop it.
func interactively(ctx context.Context, conn *dbus.Conn, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	dot := strings.LastIndex(method, ".")
	msg := &dbus.Message{Type: dbus.TypeMethodCall, Flags: dbus.FlagAllowInteractiveAuthorization, Body: args,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(wire.BusName),
			dbus.FieldPath:        dbus.MakeVariant(path),
			dbus.FieldInterface:   dbus.MakeVariant(method[:dot]),
			dbus.FieldMember:      dbus.MakeVariant(method[dot+1:]),
		}}
	if len(args) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(args...))
	}
	return <-conn.SendWithContext(ctx, msg, make(chan *dbus.Call, 1)).Done
}

// One case for each method that changes anything, taken from the table.
func TestEveryChangeIsPolkitsToGrant(t *testing.T) {
	t.Parallel()
	changing := 0
	for _, row := range dbusapi.Rows() {
		if !row.Changes {
			continue
		}
		changing++
		t.Run(row.Interface+"."+row.Member, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, as(1000))
			start(t, s)
			s.Controller.AddLog(units.Event{Source: "hero_proc", Level: units.LevelInfo, Message: "kept"})
			before := state(t, s.Controller)
			conn, ctx := s.Bus.Conn(), testContext(t)
			path, args := sample(row)
			method, id := row.Interface+"."+row.Member, about(row)
			call := func(call func(context.Context, *dbus.Conn, dbus.ObjectPath, string, ...any) *dbus.Call, want string) {
				t.Helper()
				err := call(ctx, conn, path, method, args...).Err
				if got := errorName(err); got != want {
					t.Errorf("error is %q (%v); want %q", got, err, want)
				}
				if want == "" {
					return
				}
				if body := err.(dbus.Error).Body; len(body) != 2 {
					t.Errorf("the refusal has no remedy: %q", body)
				}
				if after := state(t, s.Controller); after != before {
					t.Errorf("it was refused, and changed\n%s\nto\n%s", before, after)
				}
			}

			call(invoke, refused) // without polkit

			polkit := apitest.StartPolkit(t, s.Bus, nobodys)
			question := apitest.Question{Sender: conn.Names()[0], Action: authz.Actions[row.Access], Context: id.Context, Service: id.Name}
			if row.Access == authz.RunJobs {
				question.Runs = "command"
			}
			asked := func(interactive bool) {
				t.Helper()
				got := polkit.Asked()
				if len(got) == 1 {
					got[0].ID = "" // any
				}
				if question.Interactive = interactive; !slices.Equal(got, []apitest.Question{question}) {
					t.Errorf("polkit was asked %+v; want %+v", got, question)
				}
			}
			call(invoke, refused)
			asked(false)
			call(interactively, refused)
			asked(true)

			polkit.SetRule(func(apitest.Question) apitest.Verdict { return apitest.AuthAdmin })
			call(invoke, authenticate)
			call(interactively, refused) // there is nobody to ask

			for _, other := range []units.ID{{Context: id.Context, Name: "another"}, {Context: "another", Name: id.Name}} {
				polkit.SetRule(apitest.Grant(question.Action, other.Context, other.Name))
				call(invoke, refused)
			}
			for _, action := range authz.Actions {
				if action != question.Action {
					polkit.SetRule(apitest.Grant(action, id.Context, id.Name))
					call(invoke, refused)
				}
			}

			polkit.SetRule(apitest.Grant(question.Action, id.Context, id.Name))
			if got := errorName(invoke(ctx, conn, path, method, args...).Err); got == refused || got == authenticate {
				t.Errorf("polkit grants it, and the error is %q", got)
			}
		})
	}
	if changing == 0 {
		t.Fatal("the table has no method that changes anything")
	}
}

// A context that the arguments name in another way than by themselves.
func TestWhatPolkitIsAskedAbout(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, as(1000))
	polkit := apitest.StartPolkit(t, s.Bus, nobodys)
	type dict = map[string]dbus.Variant
	v := dbus.MakeVariant
	for _, tt := range []struct {
		name   string
		path   dbus.ObjectPath
		method string
		args   []any
		want   []units.ID // none: it is not asked
		runs   string
		err    string
	}{
		{name: "definition in a context", path: wire.RootPath, method: wire.ManagerInterface + ".SetService",
			args: []any{dict{"name": v("x"), "context": v("lab")}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "x"}}, err: refused},
		{name: "definition laid over another", path: wire.RootPath, method: wire.ManagerInterface + ".SetService",
			args: []any{dict{"name": v("x"), "context": v("lab")}, wire.FlagMerge}, want: []units.ID{{Context: "lab", Name: "x"}}, err: refused},
		{name: "definition of nothing", path: wire.RootPath, method: wire.ManagerInterface + ".SetService",
			args: []any{dict{}, uint64(0)}, err: units.CodeInvalidDefinition.Info().DBus},
		{name: "run of a command", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"name": v("x"), "context": v("lab"), "exec": v("true")}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "x"}}, runs: "command", err: refused},
		{name: "run of an action", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("lab/web"), "action": v("main"), "name": v("harmless")}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "action main", err: refused},
		{name: "run of the primary action, by another name", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("web"), "context": v("lab"), "name": v("harmless"), "action": v("")}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "action", err: refused},
		{name: "run of an action with another env", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("lab/web"), "action": v("main"), "env": v(map[string]string{"LD_PRELOAD": "/tmp/evil.so"})}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "command", err: refused},
		{name: "run of an action with another user", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("lab/web"), "action": v("main"), "user": v("root")}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "command", err: refused},
		{name: "run of an action with another working_dir", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("lab/web"), "action": v("main"), "working_dir": v("/tmp")}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "command", err: refused},
		{name: "run of an action with another credentials", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("lab/web"), "action": v("main"), "credentials": v(map[string]string{"key": "/etc/shadow"})}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "command", err: refused},
		{name: "run of an action with another is_process", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("lab/web"), "action": v("main"), "is_process": v(true)}, uint64(0)}, want: []units.ID{{Context: "lab", Name: "web"}}, runs: "command", err: refused},
		{name: "run of a command that takes the name of a service", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"name": v("web"), "action": v("main"), "exec": v("true")}, uint64(0)}, want: []units.ID{web}, runs: "command", err: refused},
		{name: "run of no service", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v(""), "name": v("harmless")}, uint64(0)}, err: units.CodeInvalidDefinition.Info().DBus},
		{name: "run of what is no action", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("web"), "action": v("main) as the harmless job (")}, uint64(0)}, err: units.CodeInvalidDefinition.Info().DBus},
		{name: "run of an action that is no text", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"service": v("web"), "action": v(7)}, uint64(0)}, err: units.CodeInvalidDefinition.Info().DBus},
		{name: "run of nothing", path: wire.RootPath, method: wire.ManagerInterface + ".RunJob",
			args: []any{dict{"exec": v("true")}, uint64(0)}, err: units.CodeInvalidDefinition.Info().DBus},
		{name: "service that there is not", path: wire.RootPath, method: wire.ManagerInterface + ".StartService",
			args: []any{"lab", "gone", uint64(0)}, want: []units.ID{{Context: "lab", Name: "gone"}}, err: refused},
		{name: "no name of a service", path: wire.RootPath, method: wire.ManagerInterface + ".StartService",
			args: []any{"lab", "a b", uint64(0)}, err: units.CodeInvalidArgument.Info().DBus},
		{name: "no name of a context", path: wire.RootPath, method: wire.ManagerInterface + ".StartService",
			args: []any{"", "web", uint64(0)}, err: units.CodeInvalidArgument.Info().DBus},
		{name: "property of a service", path: wire.ServicePath(web), method: wire.PropertiesInterface + ".Set",
			args: []any{wire.ServiceInterface, "State", v("x")}, want: []units.ID{web}, err: refused},
		{name: "property of a job that there is not", path: wire.JobPath(7), method: wire.PropertiesInterface + ".Set",
			args: []any{wire.JobInterface, "Phase", v("x")}, err: units.CodeNoSuchJob.Info().DBus},
		{name: "log of a context", path: wire.RootPath, method: wire.ManagerInterface + ".PruneLogs",
			args: []any{dict{"context": v("lab"), "level": v("info")}, uint64(0)}, want: []units.ID{{Context: "lab"}}, err: refused},
		{name: "log of all contexts", path: wire.RootPath, method: wire.ManagerInterface + ".PruneLogs",
			args: []any{dict{"level": v("info")}, uint64(0)}, want: []units.ID{{}}, err: refused},
		{name: "log of no context", path: wire.RootPath, method: wire.ManagerInterface + ".PruneLogs",
			args: []any{dict{"context": v("")}, uint64(0)}, err: units.CodeInvalidArgument.Info().DBus},
		{name: "log level", path: wire.LogControlPath, method: wire.PropertiesInterface + ".Set",
			args: []any{wire.LogControlInterface, "LogLevel", v("debug")}, want: []units.ID{{}}, err: refused},
		{name: "reading", path: wire.RootPath, method: wire.ManagerInterface + ".ListServices"},
	} {
		if got := errorName(invoke(testContext(t), s.Bus.Conn(), tt.path, tt.method, tt.args...).Err); got != tt.err {
			t.Errorf("%s: error is %q; want %q", tt.name, got, tt.err)
		}
		var got []units.ID
		for _, q := range polkit.Asked() {
			got = append(got, units.ID{Context: q.Context, Name: q.Service})
			if q.Runs != tt.runs {
				t.Errorf("%s: polkit was told that it runs %q; want %q", tt.name, q.Runs, tt.runs)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: polkit was asked about %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestRootNeedsNoPolkit(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	polkit := apitest.StartPolkit(t, s.Bus, nobodys)
	start(t, s)
	for _, row := range dbusapi.Rows() {
		if row.Member == "Wait" {
			continue // until the job is over
		}
		path, args := sample(row)
		if got := errorName(interactively(testContext(t), s.Bus.Conn(), path, row.Interface+"."+row.Member, args...).Err); got == refused || got == authenticate {
			t.Errorf("%s.%s: error is %q", row.Interface, row.Member, got)
		}
	}
	if asked := polkit.Asked(); len(asked) > 0 {
		t.Errorf("polkit was asked %+v", asked)
	}
}

// Environments and credentials are shown to who may define that service, and
// nobody is asked for a password.
func TestSecretsAreForWhoMayDefine(t *testing.T) {
	t.Parallel()
	define := authz.Actions[authz.DefineServices]
	yes := func(apitest.Question) apitest.Verdict { return apitest.Yes }
	for _, tt := range []struct {
		name string
		uid  uint32
		rule func(apitest.Question) apitest.Verdict // nil: there is no polkit
		sees bool
	}{
		{name: "root", uid: 0, rule: nobodys, sees: true},
		{name: "root without polkit", uid: 0, sees: true},
		{name: "user who may define everything", uid: 1000, rule: yes, sees: true},
		{name: "user who may define the service", uid: 1000, rule: apitest.Grant(define, "core", "web"), sees: true},
		{name: "user who may define another", uid: 1000, rule: apitest.Grant(define, "core", "other")},
		{name: "user who may control the service", uid: 1000, rule: apitest.Grant(authz.Actions[authz.ControlServices], "core", "web")},
		{name: "user who would have to authenticate", uid: 1000, rule: func(apitest.Question) apitest.Verdict { return apitest.AuthAdmin }},
		{name: "user without polkit", uid: 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := apitest.Start(t, as(tt.uid))
			set(t, s, web.Name)
			var polkit *apitest.Polkit
			if tt.rule != nil {
				polkit = apitest.StartPolkit(t, s.Bus, tt.rule)
			}
			c := s.Client()
			c.AllowInteraction()
			def, err := c.Definition(testContext(t), web)
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprint(def)
			for _, secret := range []string{"hunter2", "/etc/key"} {
				if strings.Contains(text, secret) != tt.sees {
					t.Errorf("got %s; want secrets: %v", text, tt.sees)
				}
			}
			if _, withheld := def[wire.EnvWithheld]; withheld == tt.sees {
				t.Errorf("%s is %v; want %v", wire.EnvWithheld, withheld, !tt.sees)
			}
			kept, err := s.Controller.Definition(context.Background(), web)
			if err != nil || kept.Actions[0].Env["PASSWORD"] != "hunter2" {
				t.Errorf("the controller itself has %v left, %v", kept.Actions[0].Env, err)
			}
			if polkit != nil {
				for _, q := range polkit.Asked() {
					if q.Interactive {
						t.Errorf("polkit may ask for a password: %+v", q)
					}
				}
			}
		})
	}
}

func TestClientLetsPolkitAskOrNot(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, as(1000))
	set(t, s, web.Name)
	polkit := apitest.StartPolkit(t, s.Bus, func(q apitest.Question) apitest.Verdict {
		if q.Interactive {
			return apitest.Yes // somebody has typed a password
		}
		return apitest.AuthAdmin
	})
	batch, person := s.Client(), s.Client()
	person.AllowInteraction()
	if _, err := batch.Start(testContext(t), web); units.CodeOf(err) != units.CodeInteractiveAuthorizationRequired {
		t.Errorf("a client without a user: error is %v", err)
	}
	if _, err := person.Start(testContext(t), web); err != nil {
		t.Errorf("a client with a user: %v", err)
	}
	if asked := polkit.Asked(); len(asked) != 2 || asked[0].Interactive || !asked[1].Interactive {
		t.Errorf("polkit was asked %+v", asked)
	}
}

// Who leaves takes the question along: nobody is to type a password for it.
func TestWhoLeavesWithdrawsTheQuestion(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, as(1000))
	set(t, s, web.Name)
	asked, answer := make(chan apitest.Question, 1), make(chan struct{})
	defer close(answer)
	polkit := apitest.StartPolkit(t, s.Bus, func(q apitest.Question) apitest.Verdict {
		asked <- q
		<-answer
		return apitest.Yes
	})
	caller := s.Bus.Conn()
	go interactively(testContext(t), caller, wire.RootPath, wire.ManagerInterface+".StartService", "core", "web", uint64(0))
	q := receive(t, asked)
	caller.Close()
	if got := receive(t, polkit.Canceled()); got != q.ID {
		t.Errorf("the question %q was withdrawn; want %q", got, q.ID)
	}
	if status, err := s.Controller.Status(context.Background(), web); err != nil || status.State != units.StateInactive {
		t.Errorf("the service is %s, %v; want it left alone", status.State, err)
	}
	alive(t, s)
}
