package units

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type m = map[string]any

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100<<10)
	act := func(key string, v any) m { return m{"name": "x", "actions": []any{m{"exec": "true", key: v}}} }
	svc := func(key string, v any) m { return m{"name": "x", "status": "spec", key: v} }
	for _, tt := range []struct {
		name string
		def  m
		want []string // problems, or how they begin
	}{
		{"nothing", nil, []string{`name is ""; want 1 to 100 of`, `actions is empty; want at least one, or the status "spec"`}},
		{"context", svc("context", "A-b"), []string{`context is "A-b"; want 1 to 64 of a-z, 0-9 and _`}},
		{"name of a run", svc("name", "x-r1"), []string{`name is "x-r1"; names that end in -r and digits are those of ad-hoc runs`}},
		{"name of another type", svc("name", 1), []string{`name is a number; want a service's name`}},
		{"description of two lines", svc("description", "a\nb"), []string{`description has control characters; want one line without any`}},
		{"description that continues a line", svc("description", `a\`), []string{`description ends in a backslash; want none there`}},
		{"description with a blank at its end", svc("description", `a `), []string{`description begins or ends with white space; want none there`}},
		{"description in Latin-1", svc("description", "\xe9"), []string{`description is not valid UTF-8; want UTF-8`}},
		{"long description", svc("description", long), []string{`description has 102400 bytes; want at most 256`}},
		{"status", svc("status", "on"), []string{`status is "on"; want "start", "stop", "ignore" or "spec"`, `actions is empty; want`}},
		{"unknown, near a field", svc("requries", "x"), []string{`requries is not a field; did you mean "requires"?`}},
		{"unknown, near none", svc("colour", "x"), []string{`colour is not a field; want one of context, name, description, status, requires, after, wants, conflicts, restart_with_requires, actions`}},
		{"unknown, and strange", svc("a\x00\xff", "x"), []string{`"a\x00\xff" is not a field; want one of`}},
		{"unknown in an action", act("exce", "x"), []string{`actions[main].exce is not a field; did you mean "exec"?`}},
		{"remove outside a change", act("remove", true), []string{`actions[main].remove is not a field; want one of`}},
		{"no name for a service", svc("requires", []string{"a", "b c"}), []string{`requires[1] can't be a service: service name is "b c"; want`}},
		{"no name for a context", svc("after", "A/b"), []string{`after[0] can't be a service: context is "A"; want`}},
		{"list of numbers", svc("wants", []any{1}), []string{`wants is a list that holds a number; want a list of names, or one name`}},
		{"itself", svc("requires", "core/x"), []string{`requires[0] is the service itself; want another one`}},
		{"a service twice", svc("wants", []string{"a", "core/a"}), []string{`wants[1] is "core/a", which was named before; want each service once`}},
		{"requires and conflicts", m{"name": "x", "status": "spec", "requires": "a", "conflicts": "core/a"}, []string{`conflicts[0] is "core/a", which requires names too; want it in one of them`}},
		{"wants and conflicts", m{"name": "x", "status": "spec", "wants": "a", "conflicts": "a"}, []string{`conflicts[0] is "core/a", which wants names too; want it in one of them`}},
		{"too many services", svc("after", slices.Repeat([]string{"a"}, 257)), []string{`after has 257 entries; want at most 256`, `after[1] is "core/a", which was named before`}},
		{"actions of another type", m{"name": "x", "actions": "true"}, []string{`actions is text; want a list of actions`}},
		{"an action of another type", m{"name": "x", "actions": []any{nil}}, []string{`actions is a list that holds nothing; want a list of actions`}},
		{"too many actions", m{"name": "x", "actions": slices.Repeat([]any{m{}}, 65)}, []string{`actions has 65 entries; want at most 64`}},
		{"actions without names", m{"name": "x", "actions": []any{m{"exec": "a"}, m{"exec": ""}}}, []string{
			`actions[0].name is ""; want 1 to 64 of`, `actions[1].name is ""; want 1 to 64 of`, `actions[1].exec is missing; want a command line, or a list of arguments`,
		}},
		{"actions of one name", m{"name": "x", "actions": []any{m{"name": "a", "exec": "a"}, m{"name": "a", "exec": "b"}}}, []string{`actions[1].name is "a", as is that of actions[0]; want another one`}},
		{"unfinished quote", act("exec", "a 'b"), []string{`actions[main].exec can't be split: the quote ' at byte 3 is not closed; want`}},
		{"relative program", act("exec", "bin/true"), []string{`actions[main].exec[0] can't be a program; want an absolute path without quotes and backslashes, or a file name that systemd looks up`}},
		{"program that is a directory", act("exec", "/bin/"), []string{`actions[main].exec[0] can't be a program; want`}},
		{"program that reads as a flag", act("exec", "-true"), []string{`actions[main].exec[0] can't be a program; want`}},
		{"quote in a program's path", act("exec", []string{`/bin/a"b`}), []string{`actions[main].exec[0] can't be a program; want`}},
		{"empty program", act("exec", []string{""}), []string{`actions[main].exec[0] can't be a program; want`}},
		{"NUL in an argument", act("exec", []string{"a", "b\x00"}), []string{`actions[main].exec[1] is not text; want UTF-8 without NUL`}},
		{"long arguments", act("exec", []string{"a", long}), []string{`actions[main].exec has 102403 bytes; want at most 65536`}},
		{"is_process", act("is_process", "yes"), []string{`actions[main].is_process is text; want true or false`}},
		{"unknown action", act("depends_on", "b"), []string{`actions[main].depends_on[0] is "b", which is no action of the service; want one of main`}},
		{"action of itself", act("depends_on", "main"), []string{`actions[main].depends_on[0] is the action itself; want another one`}},
		{"name of a variable", act("env", m{"1A": "x"}), []string{`actions[main].env[1A] is not a variable's name; want A-Z, a-z, 0-9 and _, not starting with a digit`}},
		{"NUL in a variable", act("env", m{"A": "x\x00"}), []string{`actions[main].env[A] is not text; want UTF-8 without NUL`}},
		{"number in a variable", act("env", m{"A": 1}), []string{`actions[main].env is a map that holds a number; want a map of names to text`}},
		{"long environment", act("env", m{"A": long}), []string{`actions[main].env has 102403 bytes; want at most 65536`}},
		{"name of a credential", act("credentials", m{"../a": "/x"}), []string{`actions[main].credentials["../a"] is not a credential's name; want`}},
		{"relative credential", act("credentials", m{"a": "x"}), []string{`actions[main].credentials[a] is not an absolute path without "//", "." and ".."; want one`}},
		{"no path for a credential", act("credentials", m{"a": ""}), []string{`actions[main].credentials[a] is empty; want an absolute path`}},
		{"blank in a credential's path", act("credentials", m{"a": "/x y"}), []string{`actions[main].credentials[a] has a space, a quote or a backslash, which systemd can't load a credential from; want a path without`}},
		{"absolute state directory", act("state_dir", "/var/lib/a"), []string{`actions[main].state_dir is not a path below /var/lib; want names of`}},
		{"state directory elsewhere", act("state_dir", "a/../../b"), []string{`actions[main].state_dir is not a path below /var/lib; want names of`}},
		{"state directory of ours", act("state_dir", "hero_proc/credentials"), []string{`actions[main].state_dir is below /var/lib/hero_proc, which is not for services; want another one`}},
		{"state directory of systemd's", act("state_dir", "private"), []string{`actions[main].state_dir is below /var/lib/private, which is not for services; want another one`}},
		{"long state directory", act("state_dir", long), []string{`actions[main].state_dir is not a path below /var/lib; want names of`}},
		{"user", act("user", "a b"), []string{`actions[main].user is "a b"; want a name of 1 to 31 of`}},
		{"user that is none", act("user", "65535"), []string{`actions[main].user is "65535"; want a name of`}},
		{"group in octal", act("group", "010"), []string{`actions[main].group is "010"; want a name of`}},
		{"relative directory", act("working_dir", "a"), []string{`actions[main].working_dir is not an absolute path without "//", "." and ".."; want one`}},
		{"roundabout directory", act("working_dir", "/a/../b"), []string{`actions[main].working_dir is not an absolute path`}},
		{"directory that sets something", act("working_dir", "/a\nUser=root"), []string{`actions[main].working_dir has control characters; want one line without any`}},
		{"long directory", act("working_dir", "/"+long), []string{`actions[main].working_dir is too long; want at most 4095 bytes, and 255 between slashes`}},
		{"ready", act("ready", "htpp"), []string{`actions[main].ready is "htpp"; want exec, notify, tcp:HOST:PORT, `}},
		{"ready that isn't text", act("ready", 80), []string{`actions[main].ready is a number; want exec, notify, tcp:HOST:PORT, `}},
		{"restart", act("restart", "never"), []string{`actions[main].restart is "never"; want "no", "on-failure" or "always"`}},
		{"one-shot that is always restarted", m{"name": "x", "actions": []any{m{"exec": "a", "is_process": false, "restart": "always"}}}, []string{`actions[main].restart is "always"; want "no" or "on-failure", since the action is no process`}},
		{"one-shot that notifies", m{"name": "x", "actions": []any{m{"exec": "a", "is_process": false, "ready": "notify"}}}, []string{`actions[main].ready is "notify"; want "exec", since the action is no process`}},
		{"duration without a unit", act("timeout_stop", 5), []string{`actions[main].timeout_stop is a number; want a duration such as "1.5s" or "1m30s"`}},
		{"duration of another language", act("timeout_stop", "5min"), []string{`actions[main].timeout_stop is "5min"; want a duration`}},
		{"duration that rounds to 0", act("timeout_stop", "5us"), []string{`actions[main].timeout_stop is 5µs; want whole milliseconds, up to 8760h0m0s`}},
		{"negative duration", act("restart_delay", "-1s"), []string{`actions[main].restart_delay is -1s; want whole milliseconds`}},
		{"signal", act("kill_signal", "TERM"), []string{`actions[main].kill_signal is "TERM"; want one of SIGABRT, `}},
		{"size", act("memory_max", "1.5G"), []string{`actions[main].memory_max is "1.5G"; want a number of bytes, or a size`}},
		{"size beyond 64 bits", act("memory_max", "99999999T"), []string{`actions[main].memory_max is "99999999T"; want`}},
		{"size beyond use", act("memory_max", "2000000T"), []string{`actions[main].memory_max is too large; want at most 1152921504606846976`}},
		{"negative size", act("memory_max", -1), []string{`actions[main].memory_max is -1; want`}},
		{"fraction", act("tasks_max", 1.5), []string{`actions[main].tasks_max is 1.5; want a number`}},
		{"too many", act("tasks_max", float64(1<<40)), []string{`actions[main].tasks_max is too large; want at most 4194304`}},
		{"beyond 32 bits", act("start_limit_burst", uint64(1<<32)), []string{`actions[main].start_limit_burst is too large; want at most 1048576`}},
		{"percentage", act("cpu_quota", "half"), []string{`actions[main].cpu_quota is "half"; want a percentage such as`}},
		{"percentage beyond use", act("cpu_quota", uint64(1<<40)), []string{`actions[main].cpu_quota is too large; want at most 1048576`}},
		{"true for a number", act("open_files", true), []string{`actions[main].open_files is true or false; want a number (0 or "infinity": systemd's default)`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := DecodeService(tt.def)
			got := problemsOf(t, err)
			for i, want := range tt.want {
				if i >= len(got) || !strings.HasPrefix(got[i], want) {
					t.Fatalf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
			}
			if tt.name != "too many services" && len(got) != len(tt.want) {
				t.Errorf("and there are more:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestDecodeNamesEveryField(t *testing.T) {
	t.Parallel()
	_, err := DecodeService(m{
		"name": "a b", "status": "on", "requries": "x", "after": 1,
		"actions": []any{m{"name": "web", "exec": "a/b", "restart": "maybe"}, m{"exec": "true", "user": "-"}},
	})
	want := `the definition is invalid:
after is a number; want a list of names, or one name;
requries is not a field; did you mean "requires"?;
name is "a b"; want 1 to 100 of A-Z, a-z, 0-9, _, . and -, not starting with . or -;
status is "on"; want "start", "stop", "ignore" or "spec";
actions[web].exec[0] can't be a program; want an absolute path without quotes and backslashes, or a file name that systemd looks up;
actions[web].restart is "maybe"; want "no", "on-failure" or "always";
actions[1].name is ""; want 1 to 64 of A-Z, a-z, 0-9, _, . and -, not starting with . or -;
actions[1].user is "-"; want a name of 1 to 31 of A-Z, a-z, 0-9, _, . and -, starting with a letter or _, or a number`
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
}

func TestDependsOnCycles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		deps map[string][]string // a to d
		want []string
	}{
		{"a diamond is none", map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}, nil},
		{"of two", map[string][]string{"a": {"b"}, "b": {"a"}}, []string{`actions[b].depends_on[0] closes a cycle (a, b, a); want an order that begins somewhere`}},
		{"that a doesn't belong to", map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, []string{`actions[d].depends_on[0] closes a cycle (b, c, d, b); want an order that begins somewhere`}},
		{"two of them", map[string][]string{"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, []string{
			`actions[b].depends_on[0] closes a cycle (a, b, a); want an order that begins somewhere`,
			`actions[d].depends_on[0] closes a cycle (c, d, c); want an order that begins somewhere`,
		}},
		{"named twice", map[string][]string{"a": {"b", "b"}}, []string{`actions[a].depends_on[1] is "b", which was named before; want each action once`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := Service{ID: ID{"core", "x"}, Wanted: WantedStart}
			for _, name := range []string{"a", "b", "c", "d"} {
				a := NewAction(name)
				a.Exec, a.DependsOn = []string{"true"}, tt.deps[name]
				s.Actions = append(s.Actions, a)
			}
			err := s.Validate()
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if got := problemsOf(t, err); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestValidateOfWhatCodeMade(t *testing.T) {
	t.Parallel()
	s := loaded()
	s.Actions[0].Ready = ""
	s.Actions[0].RestartDelay = -time.Second
	s.Actions[1].Exec = nil
	want := []string{
		`actions[serve].ready is missing; want exec, notify, tcp:HOST:PORT, unix:PATH, http://HOST[:PORT][/PATH], https://HOST[:PORT][/PATH], http+unix:SOCKET[:/PATH], redis://[HOST[:PORT]], redis+unix:PATH or exec:COMMAND`,
		`actions[serve].restart_delay is -1s; want whole milliseconds, up to 8760h0m0s`,
		`actions[migrate].exec is missing; want a command line, or a list of arguments`,
	}
	if got := problemsOf(t, s.Validate()); !reflect.DeepEqual(got, want) {
		t.Errorf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What people keep in these fields is nobody else's business.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, action := range []m{
		{"exec": "true", "env": "TOKEN=" + secret},
		{"exec": "true", "env": m{"TOKEN=" + secret: ""}},
		{"exec": "true", "env": m{"1": secret + "\x00"}},
		{"exec": "true", "env": []any{"TOKEN=" + secret}},
		{"exec": "true", "credentials": m{"token": secret}},
		{"exec": "true", "credentials": secret},
		{"exec": "a/b --token '" + secret},
		{"exec": []string{"./x --token " + secret, "\x00" + secret}},
		{"exec": "true", "ready": secret},
		{"exec": "true", "ready": "redis://:" + secret + "@localhost"},
		{"exec": "true", "ready": "redis://" + secret + "@@localhost"},
		{"exec": "true", "ready": "http://me:" + secret + "@localhost:x/"},
		{"exec": "true", "ready": "tcp:" + secret},
		{"exec": "true", "ready": "unix:" + secret},
		{"exec": "true", "ready": "exec:./" + secret + " '"},
		{"exec": "true", "ready": "redis://", "ready_status": 200, "ready_match": secret},
		{"exec": "true", "is_process": false, "ready": "http://localhost/" + secret},
	} {
		_, err := DecodeService(m{"name": "x", "actions": []any{action}})
		if err == nil || strings.Contains(fmt.Sprintf("%v %#v", err, problemsOf(t, err)), secret) {
			t.Errorf("error for %v is %v", action, err)
		}
	}
}

// Any local user may send anything.
func TestErrorsStayShort(t *testing.T) {
	t.Parallel()
	def := m{"name": strings.Repeat("n", 1<<20)}
	for i := range 10000 {
		def[fmt.Sprintf("%d%s", i, strings.Repeat("k", 1000))] = i
	}
	_, err := DecodeService(def)
	if got := len(problemsOf(t, err)); got != maxProblems {
		t.Errorf("%d problems, want %d", got, maxProblems)
	}
	if text := err.Error(); len(text) > 20000 || !strings.HasSuffix(text, ";\nand 9952 more") {
		t.Errorf("the message has %d bytes and ends in %q", len(text), text[max(0, len(text)-80):])
	}
}
