package cli

import (
	"context"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// A terminal sees what is awaited, in one line that goes with the wait.
func TestProgress(t *testing.T) {
	t.Parallel()
	screen := &watched{out: &strings.Builder{}}
	c := &call{Env: Env{Stdout: screen, Width: 40, Redraw: true}}
	looks := make(chan string)
	p := c.watch(t.Context(), func(ctx context.Context) string {
		select {
		case text := <-looks:
			return text
		case <-ctx.Done():
			return "too late"
		}
	})
	looks <- "core/db: waits\x1b[2J for it"
	looks <- strings.Repeat("x", 100)
	looks <- "" // drawn are the two before
	p.aside(func() { c.say("started core/a") })
	p.stop()
	p.stop()
	got := string(screen.tail)
	lines := strings.Split(got, eraseLine)
	if len(lines) != 3 || !strings.HasSuffix(lines[0], "s) core/db: waits\ufffd[2J for it") ||
		len([]rune(lines[1])) != 39 || !strings.HasSuffix(lines[1], "xx…") || lines[2] != "started core/a\n" {
		t.Errorf("the terminal got %q", got)
	}
}

func TestProgressIsForTerminalsAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*call{
		"a pipe":          {Env: Env{Redraw: true}},
		"a dumb terminal": {Env: Env{Width: 80}},
		"JSON":            {Env: Env{Width: 80, Redraw: true}, json: true},
		"quiet":           {Env: Env{Width: 80, Redraw: true}, quiet: true},
	} {
		p := c.watch(t.Context(), func(context.Context) string {
			t.Errorf("%s: it is looked for what to draw", name)
			return ""
		})
		select {
		case <-p.done:
		default:
			t.Errorf("%s: something draws", name)
		}
		p.stop()
	}
}

func TestAwaited(t *testing.T) {
	t.Parallel()
	m := populated(t)
	id := core("worker")
	m.with(func() {
		s := m.statuses[id]
		s.State, s.Reason = units.StateActivating, "waits for core/hero_db"
		m.statuses[id] = s
		m.live = []units.Job{{ID: 1, Phase: units.PhaseRunning}, {ID: 2, Phase: units.PhasePending}, {ID: 3, Phase: units.PhaseRunning}}
	})
	job := func(n int64, id units.ID) units.Job { return units.Job{ID: n, Service: id} }
	for _, tt := range []struct {
		name  string
		verb  verb
		asked []units.Job
		want  string
	}{
		{"a start", starting, []units.Job{job(2, id)}, "core/worker: waits for core/hero_db"},
		{"several starts", starting, []units.Job{job(1, core("web")), job(2, id), job(9, core("web")), job(0, core("web"))},
			"3 of 4 done; core/worker: waits for core/hero_db"},
		{"a start that is done, but for further actions", restarting, []units.Job{job(1, id)}, "core/worker: waits for core/hero_db"},
		{"a stop", stopping, []units.Job{job(1, core("hero_db"))}, "core/hero_db is running"},
		{"several stops", stopping, []units.Job{job(1, core("hero_db")), job(9, id)}, "1 of 2 done; core/hero_db is running"},
		{"all are done", starting, []units.Job{job(1, id), job(3, id)}, "2 of 2 done; waiting for further actions"},
		{"one that is not registered", starting, []units.Job{job(2, core("gone"))}, "core/gone"},
	} {
		if got := awaited(t.Context(), m, tt.verb, tt.asked); got != tt.want {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	m := populated(t)
	if r := run(t, m.address, how{}, "service", "start", "worker", "-q"); r != (result{}) {
		t.Errorf("a quiet start gives %+v", r)
	}
	m.with(func() {
		m.ends = map[units.ID]units.Job{core("worker"): {Phase: units.PhaseFailed, Result: "exit-code"}}
	})
	if r := run(t, m.address, how{}, "service", "start", "worker", "-q"); r.exit != 1 || r.stdout != "" || r.stderr == "" {
		t.Errorf("a quiet start that fails gives %+v", r)
	}
}

// A start of which a part stays down has failed, and says which.
func TestStartThatIsNotWhole(t *testing.T) {
	t.Parallel()
	m := populated(t)
	m.with(func() { m.whole = false })
	r := run(t, m.address, how{}, "service", "start", "web")
	want := `hero_proc: "core/web" has started, but not all of it: its action log is down: exit-code`
	if r.exit != 1 || !strings.HasPrefix(r.stderr, want) {
		t.Errorf("it gives %+v; want %s", r, want)
	}
}
