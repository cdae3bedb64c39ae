package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestControl(t *testing.T) {
	t.Parallel()
	failed := units.Job{Phase: units.PhaseFailed, Result: "exit-code", ExitCode: 1, ExitStatus: 7}
	for _, tt := range []struct {
		name string
		args string
		ends map[units.ID]units.Job
		want result
	}{
		{
			name: "one that runs to its end", args: "start worker",
			ends: map[units.ID]units.Job{core("worker"): {Phase: units.PhaseSucceeded, Result: "success"}},
			want: result{stdout: "started core/worker; it ran to its end with success\n"},
		},
		{
			name: "one fails, with what systemd says and where to look", args: "start worker",
			ends: map[units.ID]units.Job{core("worker"): failed},
			want: result{1, "", `hero_proc: cannot start "core/worker": unit hero-core-worker.service failed: exit-code (exited with status 7)
Try:
  hero_proc service why worker
  journalctl -u hero-core-worker.service
`},
		},
		{
			name: "one fails and stops none of the others", args: "restart worker web",
			ends: map[units.ID]units.Job{core("worker"): failed},
			want: result{1, "restarted core/web\n", `hero_proc: cannot restart "core/worker": unit hero-core-worker.service failed: exit-code (exited with status 7)
Try:
  hero_proc service why worker
  journalctl -u hero-core-worker.service
`},
		},
		{
			name: "an unknown one stops none of the others", args: "start web nothing",
			want: result{4, "started core/web\n", "hero_proc: cannot start \"core/nothing\": no service \"core/nothing\" is registered\nTry:\n  hero_proc service list\n"},
		},
		{
			name: "stopped while it started", args: "start web",
			ends: map[units.ID]units.Job{core("web"): {Phase: units.PhaseCanceled}},
			want: result{1, "", "hero_proc: \"core/web\" was stopped while it started\nTry:\n  hero_proc service why web\n  journalctl -u hero-core-web.service\n"},
		},
		{
			name: "killed as it did not stop", args: "stop web",
			ends: map[units.ID]units.Job{core("web"): {Phase: units.PhaseFailed, Result: "timeout"}},
			want: result{stdout: "stopped core/web; it ended with result \"timeout\"\n"},
		},
		{
			name: "the same one twice", args: "start web core/web",
			want: result{stdout: "started core/web\n"},
		},
		{
			name: "the time is up", args: "start web --timeout 50ms",
			ends: map[units.ID]units.Job{core("web"): {Phase: units.PhasePending}},
			want: result{1, "", "hero_proc: \"core/web\" has not started within 50ms; systemd goes on with it\nTry:\n  hero_proc service why web\n  journalctl -u hero-core-web.service\n"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := populated(t)
			m.with(func() { m.ends = tt.ends })
			if r := run(t, m.address, how{}, append([]string{"service"}, strings.Fields(tt.args)...)...); r != tt.want {
				t.Errorf("it gives %+v; want %+v", r, tt.want)
			}
		})
	}
}

// What the service knows of its failed start says more than systemd does.
func TestStartThatFailsForAReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		job    units.Job
		reason string
		other  bool // the service has been started again since
		want   string
	}{
		{
			name:   "its probe gave up",
			job:    units.Job{Phase: units.PhaseFailed, Result: "exit-code", ExitCode: 2, ExitStatus: 15},
			reason: "systemd's result is exit-code (killed by signal 15, terminated), not ready: redis://127.0.0.1:6379 after 30s",
			want:   "systemd's result is exit-code (killed by signal 15, terminated), not ready: redis://127.0.0.1:6379 after 30s",
		},
		{
			name:   "it was never executed",
			job:    units.Job{Phase: units.PhaseFailed, Result: "dependency"},
			reason: "it requires hero-core-db.service, which is failed: exit-code",
			want:   "it requires hero-core-db.service, which is failed: exit-code",
		},
		{
			name:   "of another start",
			job:    units.Job{Phase: units.PhaseFailed, Result: "exit-code", ExitCode: 2, ExitStatus: 15},
			reason: "not ready: x", other: true,
			want: "unit hero-core-worker.service failed: exit-code (killed by signal 15, terminated)",
		},
		{
			name: "there is none",
			job:  units.Job{Phase: units.PhaseFailed, Result: "dependency"},
			want: "unit hero-core-worker.service failed: dependency",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := populated(t)
			m.with(func() {
				m.ends = map[units.ID]units.Job{core("worker"): tt.job}
				s := m.statuses[core("worker")]
				s.Reason = tt.reason
				if tt.other {
					s.Unit.InvocationID = "6f3a4b0c9d1e4f2a8b7c6d5e4f3a2b1c"
				}
				m.statuses[core("worker")] = s
			})
			want := `hero_proc: cannot start "core/worker": ` + tt.want + "\nTry:\n  hero_proc service why worker\n  journalctl -u hero-core-worker.service\n"
			if r := run(t, m.address, how{}, "service", "start", "worker"); r.exit != 1 || r.stderr != want {
				t.Errorf("it gives %+v; want %q", r, want)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	m := populated(t)
	m.with(func() { m.ends = map[units.ID]units.Job{core("web"): {Phase: units.PhasePending}} })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result, 1)
	go func() { done <- run(t, m.address, how{ctx: ctx}, "service", "stop", "web") }()
	deadline := time.After(20 * time.Second)
	select {
	case <-m.waiting:
		cancel()
	case r := <-done:
		t.Fatalf("it did not wait: %+v", r)
	case <-deadline:
		t.Fatal("it did not come to wait within 20s")
	}
	select {
	case r := <-done:
		if r.exit != units.ExitFailed || !strings.Contains(r.stderr, "no longer waiting") {
			t.Errorf("it gives %+v; want to be told that it only stopped to wait", r)
		}
	case <-deadline:
		t.Fatal("Ctrl-C did not end the wait within 20s")
	}
}

func TestSystemExec(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	exec := systemExec(Env{Stdout: &out, Stderr: &out, Stdin: strings.NewReader("from stdin\n")})
	for _, tt := range []struct {
		name string
		argv []string
		out  string
		code units.Code // "" for no error
	}{
		{"it has the streams", []string{"cat"}, "from stdin\n", ""},
		{"it fails", []string{"false"}, "", units.CodeInternal},
		{"it is not there", []string{"hero-proc-no-such-program"}, "", units.CodeUnavailable},
	} {
		out.Reset()
		err := exec(t.Context(), tt.argv, nil)
		if (err == nil) != (tt.code == "") || err != nil && units.CodeOf(err) != tt.code {
			t.Errorf("%s: error is %v; want code %q", tt.name, err, tt.code)
		}
		if out.String() != tt.out {
			t.Errorf("%s: it printed %q; want %q", tt.name, out.String(), tt.out)
		}
	}
}

func TestLogFilter(t *testing.T) {
	t.Parallel()
	m := populated(t)
	for _, tt := range []struct {
		args string
		want units.LogFilter
	}{
		{"", units.LogFilter{Limit: 100}},
		{"--source hero_proc --level error --context lab -n 5", units.LogFilter{Source: "hero_proc", Level: "error", Context: "lab", Limit: 5}},
		{"--level info --exact --service lab/web", units.LogFilter{Level: "info", Exact: true, Context: "lab", Service: "web", Limit: 100}},
		{"--since 1h --until 10m", units.LogFilter{Since: now.Add(-time.Hour), Until: now.Add(-10 * time.Minute), Limit: 100}},
	} {
		if r := run(t, m.address, how{}, append([]string{"log", "query"}, strings.Fields(tt.args)...)...); r.exit != 0 {
			t.Errorf("log query %s: %+v", tt.args, r)
		}
		var got units.LogFilter
		m.with(func() { got = m.filter })
		if !got.Since.Equal(tt.want.Since) || !got.Until.Equal(tt.want.Until) {
			t.Errorf("log query %s asks for %v to %v; want %v to %v", tt.args, got.Since, got.Until, tt.want.Since, tt.want.Until)
		}
		got.Since, got.Until = tt.want.Since, tt.want.Until
		if got != tt.want {
			t.Errorf("log query %s asks for %+v; want %+v", tt.args, got, tt.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("test", 2*60*60)
	here := time.Date(2026, 1, 2, 15, 4, 5, 0, zone)
	for _, tt := range []struct {
		in   string
		want time.Time // zero for none
	}{
		{"2026-01-01T10:00:00Z", time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)},
		{"2026-01-01T10:00:00+01:00", time.Date(2026, 1, 1, 9, 0, 0, 0, time.UTC)},
		{"2026-01-01 10:00:00", time.Date(2026, 1, 1, 10, 0, 0, 0, zone)},
		{"2026-01-01", time.Date(2026, 1, 1, 0, 0, 0, 0, zone)},
		{"1h30m", here.Add(-90 * time.Minute)},
		{"1h ago", here.Add(-time.Hour)},
		{"7d", here.Add(-7 * 24 * time.Hour)},
		{"1.5d ago", here.Add(-36 * time.Hour)},
		{"0s", here},
		{"-1h", time.Time{}},
		{"-1d", time.Time{}},
		{"yesterday", time.Time{}},
		{"2026-13-01", time.Time{}},
		{"", time.Time{}},
	} {
		got, ok := parseTime(tt.in, here)
		if ok == tt.want.IsZero() || ok && !got.Equal(tt.want) {
			t.Errorf("%q is %v, %v; want %v", tt.in, got, ok, tt.want)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   time.Duration
		want string
	}{
		{-time.Hour, "0s"},
		{59900 * time.Millisecond, "59s"},
		{61 * time.Second, "1min 1s"},
		{90 * time.Minute, "1h 30min"},
		{50 * time.Hour, "2d 2h"},
	} {
		if got := span(tt.in); got != tt.want {
			t.Errorf("%v is %q; want %q", tt.in, got, tt.want)
		}
	}
}
