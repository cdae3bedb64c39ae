package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// The exit statuses are a contract with scripts: one table.
func TestExitStatuses(t *testing.T) {
	t.Parallel()
	ok := func(context.Context, []string, io.Writer) error { return nil }
	for _, tt := range []struct {
		args   string
		exit   int
		stdout string // it holds this
		stderr string // it holds this; "" is that there is none
	}{
		{args: "", stdout: "Usage: hero_proc"},
		{args: "help", stdout: "Usage: hero_proc"},
		{args: "--help", stdout: "Usage: hero_proc"},
		{args: "service", stdout: "Usage: hero_proc service COMMAND"},
		{args: "help service start", stdout: "Usage: hero_proc service start NAME..."},
		{args: "service start hero_db -h", stdout: "Usage: hero_proc service start NAME..."},
		{args: "service list", stdout: "core/hero_db"},
		{args: "service list --context lab", stdout: "lab/probe"},
		{args: "service list --context none", stderr: "No registered service is like that"},
		{args: "service status hero_db", stdout: "running since"},
		{args: "service status core/hero_db", stdout: "running since"},
		{args: "service status --context lab probe", exit: 3, stdout: "blocked"},
		{args: "service status worker", exit: 3, stdout: "failed"},
		{args: "service start worker", stdout: "started core/worker\n"},
		{args: "service start worker lab/probe --no-wait", stdout: "asked to start core/worker\nasked to start lab/probe\n"},
		{args: "service stop web", stdout: "stopped core/web\n"},
		{args: "service restart web", stdout: "restarted core/web\n"},
		{args: "service enable lab/probe", stdout: "enabled lab/probe\n"},
		{args: "service disable web --now", stdout: "disabled core/web\nstopped core/web\n"},
		{args: "service remove worker", stdout: "removed core/worker\n"},
		{args: "service logs web -n 5"},
		{args: "log query -n 1", stdout: "error"},
		{args: "log query --source nothing --level warning", stderr: "Nothing of that kind"},
		{args: "health", stdout: "hero_proc: ready"},
		{args: "--version", stdout: "daemon 1.2.3 (systemd 252)"},
		{args: "version", stdout: "daemon 1.2.3 (systemd 252)"},
		{args: "completion fish", stdout: "complete -c hero_proc"},

		{args: "service remove web", exit: 1, stderr: "it is running"},
		{args: "service start cyclic", exit: 4, stderr: `cannot start "core/cyclic": no service "core/cyclic" is registered`},

		{args: "service status nothing", exit: 4, stderr: "hero_proc service list"},
		{args: "service show nothing", exit: 4, stderr: "no service"},
		{args: "service stop nothing", exit: 4, stderr: "no service"},
		{args: "service remove nothing", exit: 4, stderr: "no service"},
		{args: "service enable web nothing", exit: 4, stderr: "no service"},

		{args: "bogus", exit: 2, stderr: "want one of service, action, run, job, context, log, health, analyze, metrics, version, completion"},
		{args: "servce list", exit: 2, stderr: "did you mean service?"},
		{args: "service strat web", exit: 2, stderr: "did you mean start?"},
		{args: "help service strat", exit: 2, stderr: "did you mean start?"},
		{args: "--jsn service list", exit: 2, stderr: "did you mean --json?"},
		{args: "service list --contxt lab", exit: 2, stderr: "did you mean --context?"},
		{args: "service list web", exit: 2, stderr: `unexpected argument "web"`},
		{args: "service list --state bogus", exit: 2, stderr: "running, activating"},
		{args: "service status", exit: 2, stderr: "hero_proc service status --help"},
		{args: "service status a b", exit: 2, stderr: "want the name of one service, got 2"},
		{args: "service status ../etc", exit: 2, stderr: "context is"},
		{args: "service status x/y --context z", exit: 2, stderr: "--context says z"},
		{args: "service start", exit: 2, stderr: "at least one service"},
		{args: "service start web --timeout soon", exit: 2, stderr: `--timeout is "soon"; want a time such as 30s`},
		{args: "service start web --timeout 1", exit: 2, stderr: `--timeout is "1"; want a time such as 30s`},
		{args: "service why web -n many", exit: 2, stderr: `-n is "many"; want a whole number`},
		{args: "service start web --no-wait=soon", exit: 2, stderr: `--no-wait is "soon"; want true, false`},
		{args: "--json=soon service list", exit: 2, stderr: `--json is "soon"; want true, false`},
		{args: "service start web --timeout -1s", exit: 2, stderr: "want 0 or more"},
		{args: "service start web --timeout", exit: 2, stderr: "--timeout needs a value"},
		{args: "service logs web -n", exit: 2, stderr: "-n needs a value"},
		{args: "service set new", exit: 2, stderr: "needs --exec"},
		{args: "service set new --exec /bin/true --ready soon", exit: 2, stderr: "ready"},
		{args: "service set web --memory-max 1G", exit: 2, stderr: "has the actions serve, log"},
		{args: "service set web --file x.json", exit: 2, stderr: "unexpected argument"},
		{args: "service set --file x.json --user me", exit: 2, stderr: "--user has no place beside --file"},
		{args: "service set --file /nonexistent.json", exit: 2, stderr: "cannot read the definition"},
		{args: "service logs web -n -1", exit: 2, stderr: "want 0 or more"},
		{args: "service logs web --since soon", exit: 2, stderr: "how long ago"},
		{args: "service logs web -f --until 1h", exit: 2, stderr: "want one of them"},
		{args: "service logs nothing", exit: 4, stderr: "journalctl -u hero-core-nothing.service"},
		{args: "log query --level loud", exit: 2, stderr: "want error, warning or info"},
		{args: "log query --since soon", exit: 2, stderr: "how long ago"},
		{args: "log query -n 0", exit: 2, stderr: "want 1 to 10000"},
		{args: "completion tcsh", exit: 2, stderr: "want one of bash, zsh, fish"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			m := populated(t)
			r := run(t, m.address, how{exec: ok}, strings.Fields(tt.args)...)
			if r.exit != tt.exit {
				t.Errorf("exit status is %d; want %d", r.exit, tt.exit)
			}
			if !strings.Contains(r.stdout, tt.stdout) {
				t.Errorf("it prints %q; want %q in it", r.stdout, tt.stdout)
			}
			if !strings.Contains(r.stderr, tt.stderr) || (tt.stderr == "") != (r.stderr == "") {
				t.Errorf("it says %q; want %q in it", r.stderr, tt.stderr)
			}
		})
	}
}

// Every command whose answer is an object, done right and done wrong.
func TestJSON(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		exit int
		keys string
		code units.Code // of error
	}{
		{args: "service list", keys: "schema_version services"},
		{args: "service list --context none", keys: "schema_version services"},
		{args: "service status hero_db", keys: "schema_version service"},
		{args: "service status worker", exit: 3, keys: "schema_version service"},
		{args: "service show hero_db", keys: "definition schema_version"},
		{args: "service set new --exec /bin/true", keys: "did schema_version service"},
		{args: "service set new --exec /bin/true --now", keys: "did schema_version service services"},
		{args: "service start worker", keys: "schema_version services"},
		{args: "service stop web", keys: "schema_version services"},
		{args: "service enable web", keys: "enabled schema_version"},
		{args: "service disable web --now", keys: "disabled schema_version services"},
		{args: "service remove worker", keys: "removed schema_version"},
		{args: "log query", keys: "entries schema_version"},
		{args: "health", keys: "health schema_version"},
		{args: "version", keys: "daemon go platform schema_version systemd version"},
		{args: "service start worker nothing", exit: 4, keys: "error schema_version services", code: units.CodeNoSuchService},
		{args: "service status nothing", exit: 4, keys: "error schema_version", code: units.CodeNoSuchService},
		{args: "service remove web", exit: 1, keys: "error schema_version", code: units.CodeInUse},
		{args: "service strat", exit: 2, keys: "error schema_version", code: units.CodeInvalidArgument},
		{args: "service list --bogus", exit: 2, keys: "error schema_version", code: units.CodeInvalidArgument},
		{args: "service set new --exec /bin/true --status soon", exit: 2, keys: "error schema_version", code: units.CodeInvalidDefinition},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			m := populated(t)
			r := run(t, m.address, how{width: 80, color: true}, append(strings.Fields(tt.args), "--json")...)
			if r.exit != tt.exit {
				t.Errorf("exit status is %d; want %d", r.exit, tt.exit)
			}
			var got struct {
				SchemaVersion int `json:"schema_version"`
				Error         struct{ Code, Message string }
			}
			keys := map[string]json.RawMessage{}
			if err := errors.Join(json.Unmarshal([]byte(r.stdout), &got), json.Unmarshal([]byte(r.stdout), &keys)); err != nil {
				t.Fatalf("it prints %q, not one object: %v", r.stdout, err)
			}
			var names []string
			for k := range keys {
				names = append(names, k)
			}
			slices.Sort(names)
			if strings.Join(names, " ") != tt.keys || got.SchemaVersion != schemaVersion {
				t.Errorf("keys are %v of version %d; want %s of version %d", names, got.SchemaVersion, tt.keys, schemaVersion)
			}
			if got.Error.Code != string(tt.code) || (got.Error.Message == "") != (tt.code == "") {
				t.Errorf("error is %+v; want code %q", got.Error, tt.code)
			}
			if (r.stderr == "") != (tt.code == "") {
				t.Errorf("it says %q; want people to be told of errors and of nothing else", r.stderr)
			}
		})
	}
}

func TestNoDaemon(t *testing.T) {
	t.Parallel()
	bus := privatebus.Start(t)
	for _, tt := range []struct {
		args string
		exit int
	}{
		{"service list", 1},
		{"service start web", 1},
		{"service set web --exec /bin/true", 1},
		{"log query", 1},
		{"health", 1},
		{"version", 0},
		{"completion bash", 0},
		{"service start", 2},
	} {
		r := run(t, bus.Address, how{}, strings.Fields(tt.args)...)
		if r.exit != tt.exit {
			t.Errorf("%s: exit status is %d; want %d", tt.args, r.exit, tt.exit)
		}
		if says := strings.Contains(r.stderr, "systemctl start hero_proc"); says != (tt.exit == 1) {
			t.Errorf("%s: it says %q", tt.args, r.stderr)
		}
	}
	if r := run(t, bus.Address, how{}, "version"); !strings.Contains(r.stdout, "daemon: hero_proc is not running") {
		t.Errorf("version prints %q; want it to tell that the daemon is not there", r.stdout)
	}
	// The shell's Tab waits for nothing and says nothing.
	if r := run(t, bus.Address, how{}, "__complete", "service", "start", ""); r != (result{}) {
		t.Errorf("completion of names gives %+v; want nothing", r)
	}
}

func TestUnprivileged(t *testing.T) {
	t.Parallel()
	m := populated(t, unprivileged)
	for _, args := range []string{
		"service set web --description x", "service remove web", "service start web", "service stop web",
		"service restart web", "service enable web", "service disable web",
	} {
		r := run(t, m.address, how{}, strings.Fields(args)...)
		if r.exit != units.ExitFailed || !strings.Contains(r.stderr, "sudo") {
			t.Errorf("%s: exit status %d, %q; want %d and a word of sudo", args, r.exit, r.stderr, units.ExitFailed)
		}
	}
	for _, args := range [][]string{{"service", "show", "hero_db"}, {"service", "show", "hero_db", "--json"}} {
		r := run(t, m.address, how{}, args...)
		if r.exit != 0 || strings.Contains(r.stdout+r.stderr, "hunter2") {
			t.Errorf("%v: %+v; want the definition without its environment", args, r)
		}
		if args[len(args)-1] != "--json" && !strings.Contains(r.stderr, "sudo hero_proc service show hero_db") {
			t.Errorf("%v says %q; want it to tell how to see the rest", args, r.stderr)
		}
	}
	// What was shown incomplete must not replace what is complete.
	shown := run(t, m.address, how{}, "service", "show", "hero_db", "--json")
	root := populated(t)
	r := run(t, root.address, how{stdin: shown.stdout}, "service", "set", "--file", "-")
	if r.exit != units.ExitUsage || root.services[core("hero_db")].Actions[0].Env["TOKEN"] != "hunter2" {
		t.Errorf("set of a definition without its environment: %+v; want it refused", r)
	}
}

// A slip of the finger must not put a secret into a terminal's scrollback or
// a CI log.
func TestErrorsTellNoSecret(t *testing.T) {
	t.Parallel()
	m := populated(t)
	for _, tt := range []struct {
		name, stdin string
		args        []string
	}{
		{name: "no name", args: []string{"service", "set", "x", "--exec", "/bin/true", "--env", "hunter2"}},
		{name: "an empty name", args: []string{"service", "set", "x", "--exec", "/bin/true", "--env", "=hunter2"}},
		{name: "a bad name", args: []string{"service", "set", "x", "--exec", "/bin/true", "--env", "A B=hunter2"}},
		{name: "a control character", args: []string{"service", "set", "x", "--exec", "/bin/true", "--env", "A=hunter2\x00"}},
		{name: "another mistake beside it", args: []string{"service", "set", "x", "--exec", "/bin/true", "--env", "A=hunter2", "--ready", "soon"}},
		{name: "a file with a mistake", stdin: `{"name":"x","actions":[{"exec":"/bin/true","env":{"A":"hunter2","A":"b"}}]}`, args: []string{"service", "set", "--file", "-"}},
		{name: "a file with env of a wrong type", stdin: `{"name":"x","actions":[{"exec":"/bin/true","env":["A=hunter2"]}]}`, args: []string{"service", "set", "--file", "-"}},
		{name: "a file cut short", stdin: `{"name":"x","actions":[{"env":{"A":"hunter2`, args: []string{"service", "set", "--file", "-"}},
	} {
		for _, args := range [][]string{tt.args, append([]string{"--json"}, tt.args...)} {
			r := run(t, m.address, how{stdin: tt.stdin}, args...)
			if r.exit != units.ExitUsage || strings.Contains(r.stdout+r.stderr, "hunter2") {
				t.Errorf("%s: %+v; want exit status %d and nothing of the value", tt.name, r, units.ExitUsage)
			}
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var commands []string
	app := (&call{}).app()
	walk(app.Name, app.Commands, func(path string, _ *cli.Command) { commands = append(commands, path) })
	if len(commands) < 15 {
		t.Fatalf("the app has only the commands %v", commands)
	}
	for _, path := range commands {
		words := append(strings.Fields(path)[1:], "--help")
		r := run(t, "unix:path=/nonexistent", how{}, words...)
		if r.exit != 0 || r.stderr != "" {
			t.Errorf("%s --help: exit status %d, %q", path, r.exit, r.stderr)
		}
		for _, want := range []string{path + " - ", "Usage: " + path, "\nExample:\n   "} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("%s --help prints %q; want %q in it", path, r.stdout, want)
			}
		}
		for line := range strings.Lines(r.stdout) {
			// An example is not broken.
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > helpWidth+8 {
				t.Errorf("%s --help has a line of %d columns: %q", path, n, line)
			}
		}
	}
}
