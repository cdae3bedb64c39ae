package probe

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe/probetest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// program runs Main, and gives all that it says.
func program(t *testing.T, environ map[string]string, args ...string) (exit int, stdout, stderr string, states []string) {
	t.Helper()
	var out, errs bytes.Buffer
	exit = Main(t.Context(), args, Env{
		Getenv: func(name string) string { return environ[name] },
		Notify: func(state string) { states = append(states, state) },
		Stdout: &out, Stderr: &errs, Version: "1.2.3",
	})
	return exit, out.String(), errs.String(), states
}

func TestMainOnceReady(t *testing.T) {
	t.Parallel()
	exit, stdout, stderr, states := program(t, nil, "exec:true")
	if exit != 0 || stdout != "" || stderr != "" || states != nil {
		t.Errorf("exit %d, %q, %q, %q; want nothing said", exit, stdout, stderr, states)
	}
}

func TestMainSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	marker := filepath.Join(t.TempDir(), "x")
	// The first try fails and leaves what lets the second one succeed.
	exit, _, stderr, states := program(t, nil, "--interval=10ms", "exec:sh -c 'test -e "+marker+" && exit 0; touch "+marker+"; echo not yet; exit 1'")
	want := []string{"STATUS=waiting for exec:sh: exit status 1: not yet", "STATUS="}
	if exit != 0 || stderr != "" || !reflect.DeepEqual(states, want) {
		t.Errorf("exit %d, %q, %q; want %q", exit, stderr, states, want)
	}
}

// Asked once, it says no more than the answer.
func TestMainOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		probe string
		exit  int
		says  []string
	}{
		{"exec:true", 0, nil},
		{"exec:sh -c 'echo not yet; exit 3'", 1, []string{"STATUS=not ready: exit status 3: not yet"}},
		{"exec:/nonexistent", 1, []string{"STATUS=not ready: it can't be executed: no such file or directory"}},
		{"exec:sleep 1000", 1, []string{"STATUS=not ready: it had not ended"}},
	} {
		exit, stdout, _, states := program(t, nil, "--once", "--timeout=200ms", tt.probe)
		if exit != tt.exit || stdout != "" || !reflect.DeepEqual(states, tt.says) {
			t.Errorf("%s: exit %d, %q, %q; want %d, %q", tt.probe, exit, stdout, states, tt.exit, tt.says)
		}
	}
}

func TestMainFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, secret := range map[string]string{"good": "hunter2\n", "wrong": "hunter3", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db := probetest.Redis(t, map[string]string{
		"AUTH hunter2": "+OK\r\n", "AUTH hunter3": "-ERR unknown command `AUTH`, with args beginning with: `hunter3`\r\n",
		"PING": "-LOADING soon\r\n",
	})
	environ := map[string]string{"CREDENTIALS_DIRECTORY": dir}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		environ map[string]string
		args    []string
		want    string // a pattern
	}{
		{"in time", nil, []string{"--timeout=100ms", "--interval=10ms", "unix:/nonexistent"}, `unix:/nonexistent after \d+ms and \d+ tries: no such file or directory`},
		{"at once", nil, []string{"exec:/nonexistent"}, `exec:/nonexistent: it can't be executed: no such file or directory`},
		{"with the right password", environ, []string{"--timeout=100ms", "--interval=10ms", "--credential=good", db}, `redis\+unix:\S+ after 100ms and \d+ tries: LOADING soon`},
		{"with a wrong password", environ, []string{"--credential=wrong", db}, `redis\+unix:\S+: it takes no password \(ERR\), and is sent one`},
		{"with an empty password", environ, []string{"--credential=empty", db}, `the credential "empty" is empty`},
		{"with no such password", environ, []string{"--credential=none", db}, `the credential "none" can't be read: no such file or directory`},
		{"with a password from elsewhere", environ, []string{"--credential=../good", db}, `the unit has no credential "../good"`},
		{"without credentials", nil, []string{"--credential=good", db}, `the unit has no credential "good"`},
		{"because the program has ended", map[string]string{"MAINPID": strconv.Itoa(ended.Process.Pid)}, []string{"exec:sleep 1000"}, `the program has ended while exec:sleep was awaited: it had not ended`},
		{"a bad address", nil, []string{"tcp:x"}, `the probe has no port from 1 to 65535; want tcp:HOST:PORT`},
		{"no probe", nil, nil, `it wants one PROBE, and has 0; see hero_proc_probe --help`},
		{"an unknown option", nil, []string{"--x", "tcp:x:1"}, `flag provided but not defined: -x`},
		{"no time", nil, []string{"--timeout=0", "tcp:x:1"}, `--interval and --timeout have to be more than 0`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			exit, stdout, stderr, states := program(t, tt.environ, tt.args...)
			if exit != 1 || stdout != "" || !regexp.MustCompile(`^hero_proc_probe: not ready: `+tt.want+`\n$`).MatchString(stderr) {
				t.Errorf("exit %d, %q, %q; want %s", exit, stdout, stderr, tt.want)
			}
			if said, want := states[len(states)-1], strings.TrimPrefix(stderr, "hero_proc_probe: "); "STATUS="+want != said+"\n" {
				t.Errorf("the status is %q, want %q", said, want)
			}
			if all := stderr + strings.Join(states, ""); strings.Contains(all, "hunter") {
				t.Errorf("a password is in %q", all)
			}
		})
	}
	_, _, stderr, _ := program(t, map[string]string{"JOURNAL_STREAM": "1:2"}, "tcp:x")
	if !strings.HasPrefix(stderr, "<3>not ready: ") {
		t.Errorf("to the journal it says %q", stderr)
	}
}

// systemd signals the program and the prober when the unit is stopped.
func TestMainOfAUnitThatIsStopped(t *testing.T) {
	t.Parallel()
	main := exec.Command("/bin/sleep", "1000")
	if err := main.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, signal := context.WithCancel(t.Context())
	environ := map[string]string{"MAINPID": strconv.Itoa(main.Process.Pid)}
	waits, ended := make(chan string, 1), make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		ended <- Main(ctx, []string{"unix:/nonexistent"}, Env{
			Getenv: func(name string) string { return environ[name] },
			Notify: func(state string) { waits <- state },
			Stderr: &errs,
		})
	}()
	if got, want := <-waits, "STATUS=waiting for unix:/nonexistent: no such file or directory"; got != want {
		t.Errorf("status is %q, want %q", got, want)
	}
	signal()
	if err := main.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = main.Wait() // it was killed
	if got := <-waits; got != "STATUS=" {
		t.Errorf("status is %q, want none", got)
	}
	if exit := <-ended; exit != 0 || errs.Len() > 0 {
		t.Errorf("exit %d, %q", exit, errs.String())
	}
}

func TestMainInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	exit := Main(ctx, []string{"unix:/nonexistent"}, Env{Getenv: func(string) string { return "" }, Notify: func(string) {}, Stderr: &errs})
	if got := errs.String(); exit != 1 || !strings.HasPrefix(got, "hero_proc_probe: not ready: interrupted while unix:/nonexistent was awaited: ") {
		t.Errorf("exit %d, %q", exit, got)
	}
}

func TestMainHelps(t *testing.T) {
	t.Parallel()
	exit, stdout, _, _ := program(t, nil, "--help")
	if exit != 0 || !strings.Contains(stdout, "  redis://[HOST[:PORT]]\n") || strings.Contains(stdout, "notify") {
		t.Errorf("exit %d:\n%s", exit, stdout)
	}
	if exit, stdout, _, _ := program(t, nil, "--version"); exit != 0 || stdout != "hero_proc_probe 1.2.3\n" {
		t.Errorf("exit %d: %q", exit, stdout)
	}
}

// What a unit is given, the program takes.
func TestParseTakesWhatAUnitHas(t *testing.T) {
	t.Parallel()
	for _, ready := range []units.Ready{"tcp:localhost:1", "http+unix:/s:/x", "redis://", "exec:a 'b c'"} {
		a := units.NewAction("main")
		a.Exec, a.Ready = []string{"true"}, ready
		s := units.Service{ID: units.ID{Context: "core", Name: "x"}, Wanted: units.WantedStart, Actions: []units.Action{a}}
		p, err := units.ParseProbe(string(ready))
		if err != nil {
			t.Fatal(err)
		}
		switch p.Kind {
		case units.ProbeHTTP:
			s.Actions[0].ReadyStatus, s.Actions[0].ReadyMatch = 204, "--x $y; z"
		case units.ProbeRedis:
			s.Actions[0].Credentials, s.Actions[0].ReadyCredential = map[string]string{"p": "/p"}, "p"
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, property := range transient.Service(s, s.Digest(), 257)[0].Properties {
			if property.Name != "ExecStartPostEx" {
				continue
			}
			argv := property.Value.([]transient.CommandEx)[0].Args
			environ := map[string]string{"CREDENTIALS_DIRECTORY": t.TempDir()}
			if err := os.WriteFile(filepath.Join(environ["CREDENTIALS_DIRECTORY"], "p"), []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := parse(argv[1:], Env{Getenv: func(name string) string { return environ[name] }})
			want := call{interval: units.DefaultReadyInterval, timeout: units.DefaultReadyTimeout, question: probe.Question{Probe: p}}
			switch p.Kind {
			case units.ProbeHTTP:
				want.question.Status, want.question.Match = 204, "--x $y; z"
			case units.ProbeRedis:
				want.question.Password, want.credential = "secret", "p"
			}
			if err != nil || !reflect.DeepEqual(c, want) {
				t.Errorf("%q: %+v, %v; want %+v", argv, c, err, want)
			}
		}
	}
}
