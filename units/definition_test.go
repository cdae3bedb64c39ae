package units

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// loaded says something in every field.
func loaded() Service {
	return Service{
		ID:          ID{Context: "work", Name: "web"},
		Description: "A web server",
		Wanted:      WantedStop,
		Requires:    []string{"core/hero_db", "cache"},
		After:       []string{"log"},
		Wants:       []string{"mail"},
		Conflicts:   []string{"old-web"},
		StayDown:    true,
		Actions: []Action{
			{
				Name:               "serve",
				Exec:               []string{"/usr/bin/web", "--motd", "it's $5; \n%n \\ é", ""},
				Process:            true,
				DependsOn:          []string{"migrate"},
				Env:                map[string]string{"MODE": "fast", "EMPTY": "", "TEXT": "a\nb"},
				Credentials:        map[string]string{"token": "/etc/web/token"},
				User:               "web",
				Group:              "1000",
				WorkingDir:         "/var/lib/web",
				Ready:              ReadyNotify,
				Restart:            RestartAlways,
				RestartDelay:       1500 * time.Millisecond,
				StartLimitBurst:    7,
				StartLimitInterval: 90 * time.Second,
				TimeoutStart:       20 * time.Second,
				TimeoutStop:        5 * time.Second,
				KillSignal:         "SIGINT",
				MemoryMax:          512 << 20,
				CPUQuota:           150,
				TasksMax:           100,
				OpenFiles:          4096,
				LogRateInterval:    10 * time.Second,
				LogRateBurst:       500,
			},
			// All that can be switched off is switched off.
			{Name: "migrate", Exec: []string{"true"}, Ready: ReadyExec},
			{
				Name: "page", Exec: []string{"true"}, Process: true, Ready: "http+unix:/run/web:/health?x=1",
				ReadyInterval: time.Second, ReadyTimeout: 2 * time.Minute, ReadyStatus: 204, ReadyMatch: "it's $5; %n é",
			},
			{
				Name: "cache", Exec: []string{"true"}, Process: true, Ready: "redis://[::1]:6380",
				Credentials: map[string]string{"pass": GeneratedCredential}, ReadyCredential: "pass", StateDir: "web/data",
				Health: "redis+unix:/run/cache", HealthCredential: "pass", OnUnhealthy: UnhealthyWarn, Watchdog: time.Minute,
			},
			{
				Name: "feed", Exec: []string{"true"}, Process: true, Ready: ReadyExec,
				Health: "http://localhost:8080/health", HealthInterval: time.Minute, HealthTimeout: 30 * time.Second, HealthGrace: time.Second,
				HealthFailures: 5, HealthSuccesses: 2, HealthStatus: 204, HealthMatch: "it's $5; %n é",
				OnUnhealthy: UnhealthyRestart, UnhealthyRestarts: 7, UnhealthyWindow: time.Hour,
			},
			{
				Name: "queue", Exec: []string{"true"}, Process: true, Ready: ReadyExec,
				Restarting: Restarting{DelayMax: time.Minute, DelaySteps: 3, NoRetry: true, RetryDelay: 2 * time.Minute, RetryDelayMax: 24 * time.Hour, ResetAfter: time.Hour},
				Preparing:  Preparing{Sockets: []string{"/run/web.sock"}, Ports: []string{"80", "[::1]:8080"}, KillOthers: true},
			},
		},
	}
}

func TestLoadedSaysSomethingInEveryField(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	s := loaded()
	all := []any{s}
	for _, a := range s.Actions {
		all = append(all, a)
	}
	for _, one := range all {
		v := reflect.ValueOf(one)
		for _, f := range reflect.VisibleFields(v.Type()) {
			name := v.Type().Name() + "." + f.Name
			said[name] = said[name] || !v.FieldByIndex(f.Index).IsZero()
		}
	}
	for name, said := range said {
		if !said {
			t.Errorf("%s is empty: the other tests don't see it", name)
		}
	}
}

// Whatever has a field in the struct has a row in the table: a field without
// one would be lost here.
func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	want := loaded()
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	def := want.Encode()
	got, err := DecodeService(def)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("from %v:\n got %+v\nwant %+v", def, got, want)
	}

	text, err := json.Marshal(def)
	if err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeService(read); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("through JSON %s:\n got %+v, %v\nwant %+v", text, got, err, want)
	}
}

func TestEncodeIsOfTypesThatTheBusCarries(t *testing.T) {
	t.Parallel()
	got := loaded().Encode()
	action := got["actions"].([]map[string]any)[0]
	delete(got, "actions")
	want := map[string]any{
		"context": "work", "name": "web", "description": "A web server", "status": "stop",
		"requires": []string{"core/hero_db", "cache"}, "after": []string{"log"},
		"wants": []string{"mail"}, "conflicts": []string{"old-web"}, "restart_with_requires": false,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("service is %v, want %v", got, want)
	}
	wantAction := map[string]any{
		"name": "serve", "exec": []string{"/usr/bin/web", "--motd", "it's $5; \n%n \\ é", ""},
		"depends_on": []string{"migrate"}, "env": map[string]string{"MODE": "fast", "EMPTY": "", "TEXT": "a\nb"},
		"credentials": map[string]string{"token": "/etc/web/token"},
		"user":        "web", "group": "1000", "working_dir": "/var/lib/web", "ready": "notify", "restart": "always",
		"restart_delay": "1.5s", "start_limit_burst": uint32(7), "start_limit_interval": "1m30s",
		"timeout_start": "20s", "timeout_stop": "5s", "kill_signal": "SIGINT", "memory_max": "512M",
		"cpu_quota": "150%", "tasks_max": uint64(100), "open_files": uint64(4096),
		"log_rate_interval": "10s", "log_rate_burst": uint32(500),
	}
	if !reflect.DeepEqual(action, wantAction) {
		t.Errorf("action is %v, want %v", action, wantAction)
	}
}

func TestDecodeDefaults(t *testing.T) {
	t.Parallel()
	got, err := DecodeService(map[string]any{"name": "web", "actions": []any{map[string]any{"exec": "web --port 80"}}})
	if err != nil {
		t.Fatal(err)
	}
	action := NewAction("main")
	action.Exec = []string{"web", "--port", "80"}
	want := Service{ID: ID{"core", "web"}, Wanted: WantedStart, Actions: []Action{action}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	brief := map[string]any{"context": "core", "name": "web", "status": "start", "actions": []map[string]any{
		{"name": "main", "exec": []string{"web", "--port", "80"}},
	}}
	if def := got.Encode(); !reflect.DeepEqual(def, brief) {
		t.Errorf("encoded it is %v, want %v", def, brief)
	}
}

func TestDecodeTakesWhatPeopleWrite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field string
		value any
		want  func(a *Action)
	}{
		{"exec", "a 'b c'", func(a *Action) { a.Exec = []string{"a", "b c"} }},
		{"exec", []any{"a", "b"}, func(a *Action) { a.Exec = []string{"a", "b"} }},
		{"ready", "redis://", func(a *Action) { a.Ready = "redis://" }},
		{"ready_timeout", "0", func(*Action) {}},
		{"ready_status", 0, func(*Action) {}},
		{"env", map[string]any{"A": "b"}, func(a *Action) { a.Env = map[string]string{"A": "b"} }},
		{"env", map[string]any{}, func(*Action) {}},
		{"depends_on", []any{}, func(*Action) {}},
		{"restart", "", func(*Action) {}},
		{"restart_delay", "0", func(a *Action) { a.RestartDelay = 0 }},
		{"restart_delay", "1m30s", func(a *Action) { a.RestartDelay = 90 * time.Second }},
		{"memory_max", 1048576, func(a *Action) { a.MemoryMax = 1 << 20 }},
		{"memory_max", "64K", func(a *Action) { a.MemoryMax = 64 << 10 }},
		{"memory_max", "3G", func(a *Action) { a.MemoryMax = 3 << 30 }},
		{"memory_max", "1T", func(a *Action) { a.MemoryMax = 1 << 40 }},
		{"memory_max", "1000", func(a *Action) { a.MemoryMax = 1000 }},
		{"memory_max", "infinity", func(*Action) {}},
		{"cpu_quota", "150%", func(a *Action) { a.CPUQuota = 150 }},
		{"cpu_quota", float64(150), func(a *Action) { a.CPUQuota = 150 }},
		{"cpu_quota", "50", func(a *Action) { a.CPUQuota = 50 }},
		{"tasks_max", int8(9), func(a *Action) { a.TasksMax = 9 }},
		{"tasks_max", uint16(9), func(a *Action) { a.TasksMax = 9 }},
		{"tasks_max", "9", func(a *Action) { a.TasksMax = 9 }},
		{"open_files", "infinity", func(*Action) {}},
		{"log_rate_burst", 0, func(a *Action) { a.LogRateBurst = 0 }},
		{"user", "4294967294", func(a *Action) { a.User = "4294967294" }},
		{"user", "john.doe", func(a *Action) { a.User = "john.doe" }},
	} {
		t.Run(fmt.Sprintf("%s %v", tt.field, tt.value), func(t *testing.T) {
			t.Parallel()
			got, err := DecodeService(map[string]any{"name": "x", "actions": []any{map[string]any{"exec": "true", tt.field: tt.value}}})
			if err != nil {
				t.Fatal(err)
			}
			want := NewAction("main")
			want.Exec = []string{"true"}
			tt.want(&want)
			if !reflect.DeepEqual(got.Actions[0], want) {
				t.Errorf("got %+v, want %+v", got.Actions[0], want)
			}
			if again, err := DecodeService(got.Encode()); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("encoded and decoded: %+v, %v", again, err)
			}
		})
	}
	s, err := DecodeService(map[string]any{"name": "x", "status": "spec", "requires": "hero_db"})
	if err != nil || !reflect.DeepEqual(s.Requires, []string{"hero_db"}) {
		t.Errorf("a sole name for a list: %v, %v", s.Requires, err)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	base := loaded().Digest()
	if again := loaded().Digest(); again != base {
		t.Errorf("the digest of the same is %s and %s", base, again)
	}
	// It is in units that run: a change of it would make them all look stale.
	early := loaded()
	early.Actions = early.Actions[:2] // what the first version knew
	if got, want := early.Digest(), "f2cc5624c2540270c4a8959b3a695001"; got != want {
		t.Errorf("digest is %s, was %s in earlier versions", got, want)
	}
	for _, tt := range []struct {
		name   string
		change func(s *Service)
		same   bool
	}{
		{"wanted status", func(s *Service) { s.Wanted = WantedStart }, true},
		{"description", func(s *Service) { s.Description = "" }, true},
		{"name", func(s *Service) { s.Name = "other" }, false},
		{"requires", func(s *Service) { s.Requires = nil }, false},
		{"a variable", func(s *Service) { s.Actions[0].Env = map[string]string{"MODE": "slow"} }, false},
		{"an argument", func(s *Service) { s.Actions[1].Exec = []string{"true", "x"} }, false},
		{"a default", func(s *Service) { s.Actions[1].RestartDelay = DefaultRestartDelay }, false},
		{"a probe", func(s *Service) { s.Actions[2].Ready = "http+unix:/run/web:/" }, false},
		{"a probe's time", func(s *Service) { s.Actions[2].ReadyTimeout = 0 }, false},
		{"the watchdog", func(s *Service) { s.Actions[3].Watchdog = 0 }, false},
		// What hero_proc itself does needs no restart.
		{"a probe of health", func(s *Service) { s.Actions[4].Health = "tcp:localhost:8080" }, true},
		{"all about health", func(s *Service) {
			a := &s.Actions[4]
			a.Health, a.HealthInterval, a.HealthTimeout, a.HealthGrace, a.HealthFailures, a.HealthSuccesses = "", 0, 0, 0, 0, 0
			a.HealthStatus, a.HealthMatch, a.OnUnhealthy, a.UnhealthyRestarts, a.UnhealthyWindow = 0, "", "", 0, 0
			s.Actions[3].HealthCredential = ""
		}, true},
		{"one action less", func(s *Service) { s.Actions = s.Actions[:1] }, false},
	} {
		s := loaded()
		tt.change(&s)
		if same := s.Digest() == base; same != tt.same {
			t.Errorf("after a change of %s the digest is the same: %t", tt.name, same)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	one := func() Service {
		a := NewAction("serve")
		a.Exec = []string{"web"}
		a.Env = map[string]string{"A": "1", "B": "2"}
		return Service{ID: ID{"work", "web"}, Wanted: WantedStart, Requires: []string{"a", "b"}, Actions: []Action{a}}
	}
	two := func() Service {
		s := one()
		b := NewAction("main")
		b.Exec = []string{"side"}
		s.Actions = append(s.Actions, b)
		return s
	}
	none := func() Service { return Service{ID: ID{"work", "web"}, Wanted: WantedSpec} }
	for _, tt := range []struct {
		name  string
		base  func() Service
		patch m
		want  func(s *Service)
	}{
		{"nothing", one, m{}, func(*Service) {}},
		{"a key that it has", one, m{"status": "stop"}, func(s *Service) { s.Wanted = WantedStop }},
		{"a key that it has not", one, m{"after": "c"}, func(s *Service) { s.After = []string{"c"} }},
		{"its own name", one, m{"context": "work", "name": "web"}, func(*Service) {}},
		{"a list is replaced whole", one, m{"requires": []string{"c"}}, func(s *Service) { s.Requires = []string{"c"} }},
		{"a list is emptied", one, m{"requires": []string{}}, func(s *Service) { s.Requires = nil }},
		{"env is replaced whole", one, m{"actions": []any{m{"name": "serve", "env": m{"C": "3"}}}}, func(s *Service) { s.Actions[0].Env = map[string]string{"C": "3"} }},
		{"the sole action without its name", one, m{"actions": []any{m{"user": "web"}}}, func(s *Service) { s.Actions[0].User = "web" }},
		{"an action by its name", two, m{"actions": []any{m{"name": "main", "user": "web"}}}, func(s *Service) { s.Actions[1].User = "web" }},
		{"a new action", one, m{"actions": []any{m{"name": "main", "exec": "side"}}}, func(s *Service) { *s = two() }},
		{"a first action without a name", none, m{"status": "start", "actions": []any{m{"exec": "x"}}}, func(s *Service) {
			a := NewAction("main")
			a.Exec = []string{"x"}
			s.Wanted, s.Actions = WantedStart, []Action{a}
		}},
		{"an action less", two, m{"actions": []any{m{"name": "main", "remove": true}}}, func(s *Service) { s.Actions = s.Actions[:1] }},
		{"remove = false", two, m{"actions": []any{m{"name": "main", "remove": false}}}, func(*Service) {}},
		{"one out, one in", one, m{"actions": []any{m{"name": "serve", "remove": true}, m{"name": "new", "exec": "x"}}}, func(s *Service) {
			a := NewAction("new")
			a.Exec = []string{"x"}
			s.Actions = []Action{a}
		}},
		{"no actions given", one, m{"actions": []any{}}, func(*Service) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := fmt.Sprint(tt.patch)
			want := tt.base()
			tt.want(&want)
			base := tt.base()
			got, err := MergeService(base, tt.patch)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
			if !reflect.DeepEqual(base, tt.base()) || fmt.Sprint(tt.patch) != before {
				t.Error("it changed what it was given")
			}
		})
	}
	for _, tt := range []struct {
		name  string
		base  func() Service
		patch m
		want  string
	}{
		{"another name", one, m{"name": "x"}, `name is "x"; want "web", or nothing: a service can't be renamed`},
		{"another context", one, m{"context": "x"}, `context is "x"; want "work", or nothing: a service can't be moved`},
		{"an action without a name, of two", two, m{"actions": []any{m{"exec": "web"}}}, `actions[2].name is ""; want 1 to 64 of A-Z, a-z, 0-9, _, . and -, not starting with . or -`},
		{"the last action out", one, m{"actions": []any{m{"name": "serve", "remove": true}}}, `actions is empty; want at least one, or the status "spec"`},
		{"an unknown action out", one, m{"actions": []any{m{"name": "x", "remove": true}}}, `actions[0].name is "x"; want the name of an action that is there to be removed`},
		{"out, and changed", one, m{"actions": []any{m{"name": "serve", "remove": true, "user": "x"}}}, `actions[0].remove is true; want nothing but the name beside it`},
		{"remove = 1", one, m{"actions": []any{m{"name": "serve", "remove": 1}}}, `actions[0].remove is a number; want true or false`},
		{"an action twice", one, m{"actions": []any{m{"name": "serve"}, m{"name": "serve"}}}, `actions[1].name is "serve", which was given before; want each action once`},
		{"no list", one, m{"actions": "x"}, `actions is text; want a list of actions`},
		{"nothing for an action", one, m{"actions": []map[string]any{nil, nil}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := MergeService(tt.base(), tt.patch)
			if got := problemsOf(t, err); tt.want != "" && !reflect.DeepEqual(got, []string{tt.want}) {
				t.Errorf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// problemsOf is what an error says of a definition, one string a field.
func problemsOf(t *testing.T, err error) []string {
	t.Helper()
	var d *DefinitionError
	if CodeOf(err) != CodeInvalidDefinition || !errors.As(err, &d) {
		t.Fatalf("error is %v (code %s), want one of code %s with a DefinitionError", err, CodeOf(err), CodeInvalidDefinition)
	}
	var all []string
	for _, p := range d.Problems {
		all = append(all, p.Field+" "+p.Message)
		if !strings.Contains(err.Error(), p.Field+" "+p.Message) {
			t.Errorf("the message %q leaves out %q", err, p.Field)
		}
	}
	return all
}

func TestFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	for what, fields := range map[string][]Field{"service": ServiceFields, "action": ActionFields} {
		seen := map[string]bool{}
		for _, f := range fields {
			if f.Name == "" || f.Type == "" || !strings.HasSuffix(f.Doc, ".") || seen[f.Name] {
				t.Errorf("%s: %+v wants a name of its own, a type, and a sentence", what, f)
			}
			seen[f.Name] = true
		}
	}
	// One table row a struct field, those of embedded ones too.
	for _, c := range []struct {
		rows []Field
		of   reflect.Type
	}{{ServiceFields, reflect.TypeFor[Service]()}, {ActionFields, reflect.TypeFor[Action]()}} {
		want := slices.DeleteFunc(reflect.VisibleFields(c.of), func(f reflect.StructField) bool { return f.Anonymous })
		if len(c.rows) != len(want) {
			t.Errorf("%d fields of a %s, want %d", len(c.rows), c.of.Name(), len(want))
		}
	}
}

func FuzzDecodeService(f *testing.F) {
	full, err := json.Marshal(loaded().Encode())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(full),
		`{}`, `{"name":"x","status":"spec"}`,
		`{"name":"x","actions":[{"exec":"a 'b'"}]}`,
		`{"name":"x","actions":[{"name":"a","exec":["a"],"depends_on":"b"},{"name":"b","exec":"b","depends_on":["a"]}]}`,
		`{"name":"x","actions":[{"exec":"a","memory_max":1e300,"cpu_quota":-1,"restart_delay":"1ns","env":{"A":1}}]}`,
		`{"name":"x","actions":[{"exec":"a","ready":"redis://","ready_timeout":"1m","credentials":{"p":"/p"},"ready_credential":"p"}]}`,
		`{"name":"x","actions":[{"exec":"a","ready":"http+unix:/s:/a?b","ready_status":"200","ready_match":"x","ready_interval":"1s"}]}`,
		`{"name":"x","actions":[{"exec":"a","ready":"exec:a 'b'"}]}`, `{"name":"x","actions":[{"exec":"a","ready":"tcp:[::1]:1"}]}`,
		`{"name":null,"actions":[null],"requires":[1],"nmae":"x"}`,
		`{"name":"x","requires":"y","conflicts":["core/y"],"actions":{}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var def map[string]any
		if json.Unmarshal([]byte(text), &def) != nil {
			return
		}
		given := maps.Clone(def)
		s, err := DecodeService(def)
		if !reflect.DeepEqual(def, given) {
			t.Error("it changed what it was given")
		}
		if err != nil {
			if len(problemsOf(t, err)) == 0 {
				t.Errorf("%v names no field", err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("decoded, and then invalid: %v", err)
		}
		again, err := DecodeService(s.Encode())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("encoded and decoded: %+v, %v\nwas %+v", again, err, s)
		}
		if merged, err := MergeService(s, def); err != nil || !reflect.DeepEqual(merged, s) {
			t.Errorf("merged with itself: %+v, %v\nwas %+v", merged, err, s)
		}
		if again.Digest() != s.Digest() {
			t.Error("its digest changed")
		}
	})
}
