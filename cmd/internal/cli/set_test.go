package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestSet(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		args   []string
		stdout string
		check  func(units.Service) bool // of core/web, or of what was set
		id     units.ID
	}{
		{
			name: "a new one", id: core("new"), args: []string{"new", "--exec", "/bin/sleep '1 h'"},
			stdout: "registered core/new; it starts at boot. To start it now: hero_proc service start new\n",
			check: func(s units.Service) bool {
				return s.Wanted == units.WantedStart && reflect.DeepEqual(s.Actions[0].Exec, []string{"/bin/sleep", "1 h"})
			},
		},
		{
			name: "of another context", id: units.ID{Context: "lab", Name: "new"}, args: []string{"lab/new", "--exec", "/bin/true", "--status", "stop", "--oneshot"},
			stdout: "registered lab/new; it does not start at boot. To start it now: hero_proc service start lab/new\n",
			check:  func(s units.Service) bool { return !s.Actions[0].Process },
		},
		{
			name: "a definition only", id: core("new"), args: []string{"new", "--status", "spec"},
			stdout: "registered core/new; it is a definition only, nothing starts it\n",
			check:  func(s units.Service) bool { return len(s.Actions) == 0 },
		},
		{
			name: "now", id: core("new"), args: []string{"--now", "new", "--exec", "/bin/true"},
			stdout: "registered core/new\nstarted core/new\n",
			check:  func(s units.Service) bool { return s.Name == "new" },
		},
		{
			name: "every kind of flag", id: core("new"), args: []string{"new", "--exec=/bin/true", "--action", "serve", "--env", "A=1,2", "--env", "B=", "--env", "C=x=y",
				"--requires", "hero_db", "--requires", "lab/probe", "--memory-max", "512M", "--tasks-max", "9", "--cpu-quota", "150%", "--restart-delay", "1.5s", "--credential", "key=/etc/key"},
			stdout: "registered core/new; it starts at boot. To start it now: hero_proc service start new\n",
			check: func(s units.Service) bool {
				a := s.Actions[0]
				return a.Name == "serve" && reflect.DeepEqual(a.Env, map[string]string{"A": "1,2", "B": "", "C": "x=y"}) &&
					reflect.DeepEqual(s.Requires, []string{"hero_db", "lab/probe"}) && a.MemoryMax == 512<<20 && a.TasksMax == 9 &&
					a.CPUQuota == 150 && a.RestartDelay.Seconds() == 1.5 && a.Credentials["key"] == "/etc/key"
			},
		},
		{
			name: "a probe", id: core("new"), args: []string{"new", "--exec=/bin/db", "--ready", "redis://", "--ready-timeout", "1m", "--ready-interval", "1s",
				"--credential", "pass=/etc/pass", "--ready-credential", "pass"},
			stdout: "registered core/new; it starts at boot. To start it now: hero_proc service start new\n",
			check: func(s units.Service) bool {
				a := s.Actions[0]
				return a.Ready == "redis://" && a.ReadyTimeout == time.Minute && a.ReadyInterval == time.Second && a.ReadyCredential == "pass"
			},
		},
		{
			name: "a probe of HTTP", id: core("new"), args: []string{"new", "--exec=/bin/db", "--ready", "http+unix:/run/s:/up", "--ready-status", "204", "--ready-match", "a b"},
			stdout: "registered core/new; it starts at boot. To start it now: hero_proc service start new\n",
			check: func(s units.Service) bool {
				a := s.Actions[0]
				return a.Ready == "http+unix:/run/s:/up" && a.ReadyStatus == 204 && a.ReadyMatch == "a b"
			},
		},
		{
			name: "health", id: core("new"), args: []string{"new", "--exec=/bin/db", "--health", "redis://", "--health-interval", "1s", "--health-timeout", "2s", "--health-grace", "3s",
				"--health-failures", "4", "--health-successes", "5", "--credential", "pass=/etc/pass", "--health-credential", "pass",
				"--on-unhealthy", "restart", "--unhealthy-restarts", "6", "--unhealthy-window", "7m", "--watchdog", "8s"},
			stdout: "registered core/new; it starts at boot. To start it now: hero_proc service start new\n",
			check: func(s units.Service) bool {
				a := s.Actions[0]
				return a.Health == "redis://" && a.HealthInterval == time.Second && a.HealthTimeout == 2*time.Second && a.HealthGrace == 3*time.Second &&
					a.HealthFailures == 4 && a.HealthSuccesses == 5 && a.HealthCredential == "pass" &&
					a.OnUnhealthy == "restart" && a.UnhealthyRestarts == 6 && a.UnhealthyWindow == 7*time.Minute && a.Watchdog == 8*time.Second
			},
		},
		{
			name: "a change of one that runs keeps the rest", id: core("hero_db"), args: []string{"hero_db", "--memory-max", "1G"},
			stdout: "changed core/hero_db; it runs with its old definition until: hero_proc service restart hero_db\n",
			check: func(s units.Service) bool {
				a := s.Actions[0]
				return a.MemoryMax == 1<<30 && a.Env["TOKEN"] == "hunter2" && a.Ready == units.ReadyNotify && s.Description != ""
			},
		},
		{
			name: "a change of one that runs, now, is not applied", id: core("hero_db"), args: []string{"hero_db", "--memory-max", "1G", "--now"},
			stdout: "changed core/hero_db; it runs already, with its old definition. To apply it: hero_proc service restart hero_db\n",
			check:  func(s units.Service) bool { return s.Actions[0].MemoryMax == 1<<30 },
		},
		{
			name: "no change of one that runs, now", id: core("hero_db"), args: []string{"hero_db", "--memory-max", "512M", "--now"},
			stdout: "unchanged core/hero_db; it runs already\n",
			check:  func(s units.Service) bool { return s.Actions[0].MemoryMax == 512<<20 },
		},
		{
			name: "a change that needs no restart", id: core("hero_db"), args: []string{"hero_db", "--description", "x"},
			stdout: "changed core/hero_db; it is running\n",
			check:  func(s units.Service) bool { return s.Description == "x" },
		},
		{
			name: "no change", id: core("hero_db"), args: []string{"hero_db", "--memory-max", "512M"},
			stdout: "unchanged core/hero_db; it is running\n",
			check:  func(s units.Service) bool { return s.Actions[0].MemoryMax == 512<<20 },
		},
		{
			name: "empty empties", id: core("web"), args: []string{"web", "--requires", "", "--action", "log", "--env", ""},
			stdout: "changed core/web; it runs with its old definition until: hero_proc service restart web\n",
			check:  func(s units.Service) bool { return len(s.Requires) == 0 && len(s.Actions) == 2 },
		},
		{
			name: "one of several actions", id: core("web"), args: []string{"web", "--action", "log", "--exec", "/bin/true"},
			stdout: "changed core/web; it runs with its old definition until: hero_proc service restart web\n",
			check: func(s units.Service) bool {
				return s.Actions[0].Exec[0] == "/usr/bin/caddy" && s.Actions[1].Exec[0] == "/bin/true"
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := populated(t)
			r := run(t, m.address, how{}, append([]string{"service", "set"}, tt.args...)...)
			if want := (result{stdout: tt.stdout}); r != want {
				t.Errorf("it gives %+v; want %+v", r, want)
			}
			if s, ok := m.service(tt.id); !ok || !tt.check(s) {
				t.Errorf("registered is now %+v", s)
			}
		})
	}
}

func TestSetFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, json string
		exit       int
		says       string
	}{
		{name: "a definition", json: `{"name": "x", "actions": [{"exec": ["/bin/true", "a b"], "tasks_max": 9, "env": {"A": "1"}, "depends_on": []}]}`, says: "registered core/x"},
		{name: "of another context", json: `{"context": "lab", "name": "x", "status": "spec"}`, says: "registered lab/x"},
		{name: "as show prints it", json: `{"schema_version": 1, "definition": {"name": "x", "status": "spec"}}`, says: "registered core/x"},
		{name: "as a later show prints it", json: `{"schema_version": 2, "definition": {"name": "x", "status": "spec"}}`, exit: 2, says: "schema_version is not 1"},
		{name: "a whole one, not a part", json: `{"name": "hero_db", "memory_max": "1G"}`, exit: 2, says: "memory_max"},
		{name: "unknown keys, each named", json: `{"name": "x", "requieres": "y", "actions": [{"exec": "/bin/true", "memory": 1}]}`, exit: 2, says: "memory"},
		{name: "a key twice", json: "{\"name\": \"x\",\n\"status\": \"spec\",\n\"status\": \"start\"}", exit: 2, says: `line 3: the key "status" stands twice`},
		{name: "null", json: `{"name": "x", "status": null}`, exit: 2, says: "null is no value"},
		{name: "more behind it", json: `{"name": "x", "status": "spec"} {}`, exit: 2, says: "more follows"},
		{name: "a comma too many", json: "{\"name\": \"x\",\n}", exit: 2, says: "line 2"},
		{name: "cut short", json: `{"name": "x", "actions": [`, exit: 2, says: "ends too early"},
		{name: "nothing", json: ``, exit: 2, says: "want one JSON object"},
		{name: "a list", json: `[]`, exit: 2, says: "want one JSON object"},
		{name: "no name", json: `{"status": "spec"}`, exit: 2, says: "service name is"},
		{name: "a name of a wrong type", json: `{"name": 5}`, exit: 2, says: "service name is"},
		{name: "too large", json: `{"name": "` + strings.Repeat("x", maxDefinition) + `"}`, exit: 2, says: "is it the right file?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := populated(t)
			r := run(t, m.address, how{stdin: tt.json}, "service", "set", "--file", "-")
			if r.exit != tt.exit || !strings.Contains(r.stdout+r.stderr, tt.says) {
				t.Errorf("it gives %+v; want exit status %d and %q", r, tt.exit, tt.says)
			}
			var n int
			if m.with(func() { n = len(m.services) }); (n == 6) != (tt.exit == 0) {
				t.Errorf("%d services are registered with exit status %d", n, r.exit)
			}
		})
	}
}

// What is shown is what can be set: a way to copy a service and to back it up.
func TestShowAndSetAgain(t *testing.T) {
	t.Parallel()
	from, to := populated(t), newMachine(t)
	for _, name := range []string{"hero_db", "web", "lab/probe"} {
		shown := run(t, from.address, how{}, "service", "show", name, "--json")
		file := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(file, []byte(shown.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := run(t, to.address, how{}, "service", "set", "--file", file); r.exit != 0 {
			t.Fatalf("set of what show printed: %+v", r)
		}
		id, err := units.ParseRef("core", name)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := from.service(id)
		if got, _ := to.service(id); !reflect.DeepEqual(got, want) {
			t.Errorf("%s came over as %+v; want %+v", name, got, want)
		}
	}
}

// Every key of a definition has a flag, and no flag is without its key.
func TestEveryKeyHasAFlag(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fields []field
		keys   []units.Field
		other  []string // keys that are given in another way
	}{
		{"service", serviceFields, units.ServiceFields, []string{"context", "name", "actions"}},
		{"action", actionFields, units.ActionFields, []string{"name"}},
	} {
		got, want := map[string]bool{}, map[string]bool{}
		for _, f := range tt.fields {
			got[f.key] = true
		}
		for _, k := range tt.keys {
			want[k.Name] = true
		}
		for _, k := range tt.other {
			delete(want, k)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: flags are for %v; want %v", tt.name, got, want)
		}
	}
}

// What has the old definition of a service is said as it is.
func TestStale(t *testing.T) {
	t.Parallel()
	const until = " its old definition until: hero_proc service restart web"
	for _, tt := range []struct{ active, sub, other, want string }{
		{"active", "running", "inactive", "runs with" + until},
		{"reloading", "reload", "inactive", "runs with" + until},
		{"activating", "auto-restart", "inactive", "waits to be restarted, with" + until},
		{"activating", "start-post", "inactive", "starts with" + until},
		{"deactivating", "stop-sigterm", "inactive", "has its old definition until its next start"},
		{"inactive", "dead", "inactive", "has its old definition until its next start"},
		{"inactive", "dead", "active", "has actions that run with" + until},
	} {
		s := units.Status{ID: core("web"), Unit: units.Unit{Load: "loaded", Active: tt.active, Sub: tt.sub}}
		s.Actions = []units.ActionStatus{{Unit: s.Unit}, {Unit: units.Unit{Load: "loaded", Active: tt.other}}}
		if got := stale(s); got != tt.want {
			t.Errorf("%s (%s), another %s: %q; want %q", tt.active, tt.sub, tt.other, got, tt.want)
		}
	}
	waits := units.Status{ID: core("web"), Stale: true, Unit: units.Unit{Active: "activating", Sub: "auto-restart"}}
	if got, want := next(waits, false), "; it waited to be restarted, and is started now with its new definition"; got != want {
		t.Errorf("after a set it says %q; want %q", got, want)
	}
}
