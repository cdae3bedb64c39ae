package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// journalctl notes how it is called, and prints what it is given.
type journalctl struct {
	mu    sync.Mutex
	calls [][]string
	print string
	// follow is run in the place of one that follows.
	follow func(ctx context.Context, stdout io.Writer) error
}

func (j *journalctl) exec(ctx context.Context, argv []string, stdout io.Writer) error {
	j.mu.Lock()
	j.calls = append(j.calls, argv)
	j.mu.Unlock()
	if j.follow != nil && slices.Contains(argv, "--follow") {
		return j.follow(ctx, stdout)
	}
	if stdout != nil {
		fmt.Fprint(stdout, j.print)
	}
	return nil
}

func TestServiceLogsRunsJournalctl(t *testing.T) {
	t.Parallel()
	m := populated(t)
	for _, tt := range []struct{ args, want string }{
		{"service logs hero_db", "--unit=hero-core-hero_db.service --unit=hero-core-hero_db@*.service"},
		{"service logs web", "--unit=hero-core-web.service --unit=hero-core-web@log.service --unit=hero-core-web@*.service"},
		{"service logs web --action serve", "--unit=hero-core-web.service"},
		{"service logs core/web --action log", "--unit=hero-core-web@log.service"},
		{"service logs web --action gone", "--unit=hero-core-web@gone.service"},
		{"service logs hero_db -f -n 20", "--follow --lines=20 --unit=hero-core-hero_db.service --unit=hero-core-hero_db@*.service"},
		{"service logs hero_db --lines 0 --since 1h --until 2026-01-02",
			"--lines=0 --since=2026-01-02 14:04:05.000000 UTC --until=2026-01-02 00:00:00.000000 UTC --unit=hero-core-hero_db.service --unit=hero-core-hero_db@*.service"},
		{"service logs hero_db --json", "--output=json --all --unit=hero-core-hero_db.service --unit=hero-core-hero_db@*.service"},
	} {
		j := &journalctl{}
		r := run(t, m.address, how{exec: j.exec}, strings.Fields(tt.args)...)
		if got := strings.Join(j.calls[0], " "); r.exit != 0 || got != "journalctl --quiet "+tt.want {
			t.Errorf("%s runs %q with %+v; want %q", tt.args, got, r, tt.want)
		}
	}
	// What was printed is there when the daemon is not.
	j := &journalctl{}
	if r := run(t, "unix:path=/nonexistent", how{exec: j.exec}, "service", "logs", "web"); r.exit != 0 || len(j.calls) != 1 ||
		strings.Join(j.calls[0], " ") != "journalctl --quiet --unit=hero-core-web.service --unit=hero-core-web@*.service" {
		t.Errorf("without a daemon it gives %+v and runs %q", r, j.calls)
	}
}

func TestJobLogsRunsJournalctl(t *testing.T) {
	t.Parallel()
	const of = "_SYSTEMD_INVOCATION_ID=abababababababababababababababab + _PID=1 INVOCATION_ID=abababababababababababababababab"
	for _, tt := range []struct {
		args, host, want, stderr string
		exit                     int
	}{
		{args: "41", want: "journalctl --quiet " + of},
		{args: "41 -n 5", want: "journalctl --quiet --lines=5 " + of},
		{args: "42", stderr: "Job 42 has printed nothing yet"},
		{args: "43", stderr: "Job 43 has printed nothing: it never came to run."},
		{args: "43 -f", stderr: "Job 43 has printed nothing: it never came to run."},
		{args: "99", stderr: "there is no job 99", exit: units.ExitFailed},
		{args: "41 42", stderr: "number of one job", exit: units.ExitUsage},
		{args: "web", stderr: "not the number of a job", exit: units.ExitUsage},
		{args: "41", host: "me@there:22",
			want: "ssh -xT -p 22 -- me@there 'journalctl' '_SYSTEMD_INVOCATION_ID=abababababababababababababababab' '+' '_PID=1' 'INVOCATION_ID=abababababababababababababababab'"},
	} {
		a, j := newJobsAPI(), &journalctl{}
		a.exec = j.exec
		args := append([]string{"job", "logs"}, strings.Fields(tt.args)...)
		if tt.host != "" {
			args = append(args, "-H", tt.host)
		}
		_, stderr, exit, _ := a.call(args...)
		got := ""
		if len(j.calls) > 0 {
			got = strings.Join(j.calls[0], " ")
		}
		if exit != tt.exit || got != tt.want || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("job logs %s: status %d, runs %q, %s; want %d, %q, %s", tt.args, exit, got, stderr, tt.exit, tt.want, tt.stderr)
		}
	}
}

// Following ends with the job, and not before its last line was printed.
func TestJobLogsFollowsToTheEnd(t *testing.T) {
	t.Parallel()
	a := newJobsAPI()
	a.ended = make(chan struct{})
	j := &journalctl{print: "last\n"}
	j.follow = func(ctx context.Context, stdout io.Writer) error {
		fmt.Fprint(stdout, "first\n")
		close(a.ended)
		// The journal has the last line before the follower prints it.
		for {
			j.mu.Lock()
			asked := len(j.calls)
			j.mu.Unlock()
			if asked > 2 || ctx.Err() != nil {
				break
			}
		}
		fmt.Fprint(stdout, "last\n")
		<-ctx.Done()
		return nil
	}
	a.exec = j.exec
	if stdout, stderr, exit, _ := a.call("job", "logs", "-f", "41"); stdout != "first\nlast\n" || exit != 0 {
		t.Errorf("status %d, %q, %s", exit, stdout, stderr)
	}
}

func TestJournalAsJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	v := &versioned{out: &out}
	const lines = "{\"MESSAGE\":\"a {\\\"b\\\":1}\"}\n{\"N\":\"2\"}\n-- not JSON --\n"
	for i := range len(lines) { // however it is cut
		if n, err := v.Write([]byte(lines[i : i+1])); n != 1 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	want := "{\"schema_version\":1,\"MESSAGE\":\"a {\\\"b\\\":1}\"}\n{\"schema_version\":1,\"N\":\"2\"}\n-- not JSON --\n"
	if out.String() != want {
		t.Errorf("it gives %s; want %s", out.String(), want)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
			t.Errorf("%s is no JSON", line)
		}
	}

	m, j := populated(t), &journalctl{print: "{\"MESSAGE\":\"x\"}\n"}
	if r := run(t, m.address, how{exec: j.exec}, "service", "logs", "web", "--json"); r.stdout != "{\"schema_version\":1,\"MESSAGE\":\"x\"}\n" || r.exit != 0 {
		t.Errorf("service logs --json gives %+v", r)
	}
}

// Who may not read the journal learns it from us, with the way out.
func TestJournalDenied(t *testing.T) {
	t.Parallel()
	a, j := newJobsAPI(), &journalctl{}
	a.exec, a.denied = j.exec, true
	_, stderr, exit, _ := a.call("job", "logs", "41")
	if exit != units.CodeAccessDenied.Info().Exit || len(j.calls) > 0 || !strings.Contains(stderr, "sudo hero_proc job logs 41\n  sudo usermod") {
		t.Errorf("status %d, %q, %s", exit, j.calls, stderr)
	}
	if _, _, exit, _ := a.call("job", "logs", "41", "-H", "there"); exit != 0 {
		t.Errorf("rights here are asked for of another machine: status %d", exit)
	}

	dir := t.TempDir()
	file := filepath.Join(dir, "system.journal")
	if denied(filepath.Join(dir, "*")) {
		t.Error("no journal at all can't be read")
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if denied(filepath.Join(dir, "*")) {
		t.Error("one's own file can't be read")
	}
}
