package units

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func web() Service {
	serve, migrate := NewAction("serve"), NewAction("migrate")
	serve.Exec, serve.Restart, serve.Ready = []string{"/bin/web"}, RestartAlways, "tcp:localhost:80"
	migrate.Exec, migrate.Process, migrate.Restart = []string{"/bin/migrate", "--all"}, false, RestartOnFailure
	migrate.Env, migrate.User, migrate.DependsOn = map[string]string{"A": "1", "B": "2"}, "web", []string{"serve"}
	return Service{ID: ID{"lab", "web"}, Wanted: WantedStart, Actions: []Action{serve, migrate}}
}

func lookUp(id ID) (Service, error) {
	if s := web(); id == s.ID {
		return s, nil
	}
	return Service{}, NoSuchService(id)
}

func TestDecodeRun(t *testing.T) {
	t.Parallel()
	command := newRunAction(DefaultAction)
	command.Exec = []string{"/bin/echo", "a b"}
	limited := command
	limited.MemoryMax, limited.TimeoutStop, limited.Process, limited.Env = 512<<20, time.Second, true, map[string]string{"K": "v"}
	action := newRunAction("migrate")
	action.Exec, action.User, action.Env = []string{"/bin/migrate", "--all"}, "web", map[string]string{"A": "1", "B": "3", "C": "4"}
	primary := newRunAction("serve")
	primary.Exec, primary.User = []string{"/bin/web"}, "nobody"
	for _, c := range []struct {
		name string
		def  map[string]any
		want AdHoc
	}{
		{"a command", map[string]any{"name": "x", "exec": []string{"/bin/echo", "a b"}}, AdHoc{ID{"core", "x"}, command}},
		{"a command line", map[string]any{"name": "x", "context": "lab", "exec": `/bin/echo "a b"`}, AdHoc{ID{"lab", "x"}, command}},
		{"with properties, as text", map[string]any{
			"name": "x", "exec": []any{"/bin/echo", "a b"}, "memory_max": "512M", "timeout_stop": "1s", "is_process": true, "env": map[string]any{"K": "v"},
		}, AdHoc{ID{"core", "x"}, limited}},
		{"an action, its environment added to", map[string]any{"service": "lab/web", "action": "migrate", "env": map[string]string{"B": "3", "C": "4"}}, AdHoc{ID{"lab", "web"}, action}},
		{"the primary action, by another name and as another user", map[string]any{"service": "web", "context": "lab", "name": "once", "user": "nobody"}, AdHoc{ID{"lab", "once"}, primary}},
	} {
		before := len(c.def)
		got, err := DecodeRun(c.def, lookUp)
		if err != nil || !reflect.DeepEqual(got, c.want) || len(c.def) != before {
			t.Errorf("%s: it is\n%+v, %v; want\n%+v", c.name, got, err, c.want)
		}
		again, err := DecodeAdHoc(got.ID, got.Encode())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: what was stored is\n%+v, %v; want\n%+v", c.name, again, err, got)
		}
	}
	if e := web().Actions[1].Env; len(e) != 2 {
		t.Errorf("the service's own environment is %v", e)
	}
}

func TestDecodeRunRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		def  map[string]any
		says string
	}{
		{"nothing", map[string]any{}, "exec is missing"},
		{"no name", map[string]any{"exec": "x"}, "name is"},
		{"a name of runs", map[string]any{"exec": "x", "name": "a-r7"}, "ad-hoc runs"},
		{"a misspelt key", map[string]any{"exec": "x", "name": "x", "memmory_max": "1M"}, `memmory_max is not a field; did you mean "memory_max"?`},
		{"a key of services", map[string]any{"exec": "x", "name": "x", "requires": "y"}, "requires is not a field"},
		{"a key of what gets ready", map[string]any{"exec": "x", "name": "x", "ready": "notify"}, "ready is not a field"},
		{"a wrong value", map[string]any{"exec": "x", "name": "x", "cpu_quota": "lots"}, "cpu_quota is"},
		{"no text", map[string]any{"exec": "x", "name": 7}, "name is a number"},
		{"a credential to generate", map[string]any{"exec": "x", "name": "x", "credentials": map[string]string{"k": "generate"}}, "for services"},
		{"always", map[string]any{"exec": "x", "name": "x", "restart": "always"}, "no process"},
		{"a command and an action", map[string]any{"exec": "x", "service": "lab/web"}, "want one of them"},
		{"an action of nothing", map[string]any{"action": "x"}, "without service"},
		{"no such action", map[string]any{"service": "lab/web", "action": "x"}, "want an action of lab/web: serve or migrate"},
		{"two contexts", map[string]any{"service": "lab/web", "context": "core"}, "want one of them"},
		{"a service that is a list", map[string]any{"service": []string{"web"}}, "service is a list"},
		{"a service that can't be", map[string]any{"service": "a b"}, "can't be a service"},
	} {
		_, err := DecodeRun(c.def, lookUp)
		var def *DefinitionError
		if CodeOf(err) != CodeInvalidDefinition || !errors.As(err, &def) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", c.name, err, c.says)
		}
	}
	if _, err := DecodeRun(map[string]any{"service": "none"}, lookUp); CodeOf(err) != CodeNoSuchService {
		t.Errorf("no such service: %v", err)
	}
	for _, stored := range []string{"", "null", "[]", `{"exec": 7}`, `{"nonsense": 1, "exec": "x"}`} {
		if _, err := DecodeAdHoc(ID{"core", "x"}, stored); CodeOf(err) != CodeInvalidDefinition {
			t.Errorf("stored %q: %v", stored, err)
		}
	}
}

func TestRunFieldsAreThoseOfActions(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range RunFields {
		names = append(names, f.Name)
	}
	for _, f := range ActionFields {
		if f.Name != "name" && slices.Contains(names, f.Name) != slices.Contains(ofRuns, f.Name) {
			t.Errorf("%s: a run has the field: %v", f.Name, slices.Contains(names, f.Name))
		}
	}
}

func TestRunName(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"/usr/bin/python3.11": "python3.11", "echo": "echo", "[": "run", "/": "run", "-x": "x", "g++": "g",
		"a-r7": "run", strings.Repeat("x", 200): strings.Repeat("x", MaxServiceName), "héé": "h", "": "run",
	} {
		if got := RunName(program); got != want {
			t.Errorf("a run of %q is called %q, want %q", program, got, want)
		}
	}
}

func TestShellStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, status int32
		want         int
		ended        bool
	}{{1, 0, 0, true}, {1, 7, 7, true}, {2, 9, 137, true}, {3, 11, 139, true}, {0, 0, 0, false}} {
		if got, ended := (Job{ExitCode: c.code, ExitStatus: c.status}).ShellStatus(); got != c.want || ended != c.ended {
			t.Errorf("code %d, status %d is %d, %v; want %d, %v", c.code, c.status, got, ended, c.want, c.ended)
		}
	}
}
