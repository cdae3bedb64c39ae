package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestAnalyzeBoot(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time {
		if ms < 0 {
			return time.Time{}
		}
		return whyNow.Add(time.Duration(ms) * time.Millisecond)
	}
	// job makes one of numbers: run, created, started and ended in ms, -1 is not yet.
	job := func(unit string, phase units.Phase, n ...int) units.Job {
		service, action, _ := strings.Cut(unit, "@")
		id := units.ID{Context: "core", Name: service}
		j := units.Job{Service: id, Action: action, Unit: id.Unit(), Phase: phase, Run: int64(n[0]), Created: at(n[1]), Started: at(n[2]), Ended: at(n[3])}
		if action != "" {
			j.Unit = id.ActionUnit(action)
		}
		return j
	}
	after := func(names ...string) func(*units.Service) { return func(s *units.Service) { s.After = names } }
	wants := func(names ...string) func(*units.Service) { return func(s *units.Service) { s.Wants = names } }
	run, failed, pending := units.PhaseRunning, units.PhaseFailed, units.PhasePending
	for _, c := range []struct {
		name     string
		services []units.Service
		jobs     []units.Job
		want     []string // unit, what it took, what it waited for, ! for critical
	}{
		{name: "nothing was started", services: []units.Service{svc("a")}},
		{
			name: "one", services: []units.Service{svc("a")}, jobs: []units.Job{job("a", run, 1, 100, 150, -1)},
			want: []string{"a 50ms  !"},
		},
		{
			name: "a chain beside another one", services: []units.Service{svc("a", requires("b")), svc("b", after("c")), svc("c"), svc("x", requires("c"))},
			jobs: []units.Job{job("c", run, 1, 100, 600, -1), job("b", run, 2, 601, 700, -1), job("x", run, 3, 602, 650, -1), job("a", run, 4, 701, 702, -1)},
			want: []string{"c 500ms  !", "b 99ms c !", "x 48ms c ", "a 1ms b !"},
		},
		{
			name: "the one that was ready last held it back", services: []units.Service{svc("a", requires("b"), wants("c"), after("d")), svc("b"), svc("c"), svc("d")},
			jobs: []units.Job{job("b", run, 1, 0, 10, -1), job("c", run, 2, 0, 30, -1), job("d", run, 3, 0, 20, -1), job("a", run, 4, 31, 32, -1)},
			want: []string{"b 10ms  ", "c 30ms  !", "d 20ms  ", "a 1ms c !"},
		},
		{
			name: "what ran before held nobody back", services: []units.Service{svc("a", requires("b")), svc("b")},
			jobs: []units.Job{job("a", run, 1, 10, 12, -1)},
			want: []string{"a 2ms  !"},
		},
		{
			name: "what became ready later held nobody back", services: []units.Service{svc("a", wants("b")), svc("b")},
			jobs: []units.Job{job("a", run, 1, 10, 12, -1), job("b", run, 2, 11, 20, -1)},
			want: []string{"a 2ms  ", "b 9ms  !"},
		},
		{
			name: "a failure holds back too", services: []units.Service{svc("a", wants("b")), svc("b")},
			jobs: []units.Job{job("b", failed, 1, 0, -1, 90), job("a", run, 2, 91, 92, -1)},
			want: []string{"b 90ms  !", "a 1ms b !"},
		},
		{
			name: "ready at the second attempt", services: []units.Service{svc("a", wants("b")), svc("b")},
			jobs: []units.Job{job("b", failed, 1, 0, -1, 10), job("b", run, 1, 20, 30, -1), job("a", run, 2, 31, 32, -1)},
			want: []string{"b 30ms  ! 2 attempts", "a 1ms b !"},
		},
		{
			name: "never ready, over and over", services: []units.Service{svc("a"), svc("b")},
			jobs: []units.Job{job("b", failed, 1, 0, -1, 10), job("a", run, 2, 0, 15, -1), job("b", failed, 1, 5000, -1, 5010)},
			want: []string{"a 15ms  !", "b 10ms   2 attempts"},
		},
		{
			name: "one is still starting", services: []units.Service{svc("a", wants("b")), svc("b"), svc("c")},
			jobs: []units.Job{job("b", pending, 1, 0, -1, -1), job("c", run, 2, 0, 5, -1)},
			want: []string{"b 0s  ", "c 5ms  !"},
		},
		{
			name: "all is still starting", services: []units.Service{svc("a")}, jobs: []units.Job{job("a", pending, 1, 0, -1, -1)},
			want: []string{"a 0s  "},
		},
		{
			name: "a later start of hero_proc is none of the boot's", services: []units.Service{svc("a"), svc("b", after("a"))},
			jobs: []units.Job{job("a", run, 1, 0, 5, 9000), job("b", run, 2, 60_000, 60_005, -1), job("a", run, 3, 60_000, 60_001, -1)},
			want: []string{"a 5ms  !"},
		},
		{
			name: "what waits for long is of the boot", services: []units.Service{svc("a", after("b")), svc("b")},
			jobs: []units.Job{job("b", run, 1, 0, 60_000, -1), job("a", run, 2, 60_001, 60_002, -1)},
			want: []string{"b 1m0s  !", "a 1ms b !"},
		},
		{
			name: "an action that comes first", services: []units.Service{svc("a", func(s *units.Service) {
				first := units.Action{Name: "migrate", Exec: []string{"true"}}
				s.Actions[0].DependsOn = []string{"migrate"}
				s.Actions = append(s.Actions, first)
			})},
			jobs: []units.Job{job("a@migrate", units.PhaseSucceeded, 1, 0, 40, 40), job("a", run, 2, 41, 42, -1)},
			want: []string{"a@migrate 40ms  !", "a 1ms a@migrate !"},
		},
		{
			name: "no longer registered", jobs: []units.Job{job("a", run, 1, 0, 7, -1)},
			want: []string{"a 7ms  !"},
		},
		{
			name: "the clock was set back meanwhile", services: []units.Service{svc("a")}, jobs: []units.Job{job("a", run, 1, 100, 50, -1)},
			want: []string{"a 0s  !"},
		},
		{
			name: "a cycle that was made since", services: []units.Service{svc("a", after("b")), svc("b", after("a"))},
			jobs: []units.Job{job("a", run, 1, 10, 10, -1), job("b", run, 2, 10, 10, -1)},
			want: []string{"a 0s  !", "b 0s a !"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := make([]units.Registered, len(c.services))
			for i, s := range c.services {
				rows[i].Service = s
			}
			for i := range c.jobs {
				c.jobs[i].ID = int64(i + 1)
			}
			a := AnalyzeBoot(NewGraph(rows), c.jobs, whyNow)
			short := strings.NewReplacer("hero-core-", "", ".service", "")
			var got []string
			for _, u := range a.Units {
				line := fmt.Sprintf("%s %s %s ", short.Replace(u.Unit), u.Took(), short.Replace(u.WaitedFor))
				if u.Critical {
					line += "!"
				}
				if u.Attempts > 1 {
					line += fmt.Sprintf(" %d attempts", u.Attempts)
				}
				got = append(got, line)
			}
			if !slices.Equal(got, c.want) || a.Booted != whyNow {
				t.Errorf("the boot was\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	g := NewGraph([]units.Registered{{Service: svc("b", requires("a", "lab/x"), func(s *units.Service) { s.After, s.Wants, s.Conflicts = []string{"c"}, []string{"d"}, []string{"e"} })}, {Service: svc("a", requires("gone"))}})
	var got []string
	for _, d := range g.Dependencies() {
		got = append(got, fmt.Sprintf("%s %s %s", d.Service.Name, d.Relation, d.On))
	}
	want := []string{"a requires core/gone", "b requires core/a", "b requires lab/x", "b after core/c", "b wants core/d", "b conflicts core/e"}
	if !slices.Equal(got, want) {
		t.Errorf("dependencies are %q, want %q", got, want)
	}
}
