package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// What people and scripts see, compared whole: read the files when they change.
func TestGolden(t *testing.T) {
	t.Parallel()
	m := populated(t)
	for _, tt := range []struct {
		name string
		args string
		exit int
		also string // forms to look at, beside a terminal of 80 columns and a pipe
	}{
		{"list", "service list", 0, "color json"},
		{"list-some", "service list --state failed --state blocked", 0, ""},
		{"status-running", "service status hero_db", 0, "json"},
		{"status-degraded", "service status web", 0, ""},
		{"status-failed", "service status worker", 3, "color"},
		{"status-blocked", "service status lab/probe", 3, ""},
		{"status-spec", "service status template", 3, ""},
		{"show", "service show hero_db", 0, "json"},
		{"show-actions", "service show web", 0, ""},
		{"log-query", "log query", 0, "color json"},
		{"health", "health", 0, "json"},
	} {
		for form, h := range map[string]how{"80": {width: 80}, "pipe": {}, "color": {width: 80, color: true}, "json": {}} {
			if (form == "color" || form == "json") && !slices.Contains(strings.Fields(tt.also), form) {
				continue
			}
			args := strings.Fields(tt.args)
			if form == "json" {
				args = append(args, "--json")
			}
			r := run(t, m.address, h, args...)
			if r.exit != tt.exit || r.stderr != "" {
				t.Errorf("%v: exit status %d, error output %q; want %d and none", args, r.exit, r.stderr, tt.exit)
			}
			golden(t, tt.name+"."+form, r.stdout)
			if strings.Contains(r.stdout, "\x1b") != h.color {
				t.Errorf("%s.%s: there are colours: %v; want %v", tt.name, form, !h.color, h.color)
			}
			for line := range strings.Lines(r.stdout) {
				copied := strings.Contains(line, "hero_proc service set") // is never broken
				if form == "80" && len([]rune(line)) > 80+len("\n") && !copied {
					t.Errorf("%s.%s: a line is wider than the terminal: %q", tt.name, form, line)
				}
			}
		}
	}
}

// What a definition or systemd says must not move the cursor.
func TestNothingFromOutsideReachesTheTerminal(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.add(t, map[string]any{"name": "evil", "status": "spec"}, units.Status{State: units.StateBlocked,
		Reason: "a\x1b[2Jb\nc\u202ed", Remedy: "one\x07\ntwo\x1b]0;x\x07"})
	for _, args := range [][]string{{"service", "list"}, {"service", "status", "evil"}} {
		r := run(t, m.address, how{width: 80}, args...)
		if strings.ContainsAny(r.stdout, "\x1b\x07\u202e") || !strings.Contains(r.stdout, "[2Jb c") {
			t.Errorf("%v prints %q; want it made harmless", args, r.stdout)
		}
	}
}

func TestColored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		terminal bool
		noColor  string
		term     string
		want     bool
	}{
		{"a terminal", true, "", "xterm", true},
		{"a pipe", false, "", "xterm", false},
		{"NO_COLOR", true, "1", "xterm", false},
		{"NO_COLOR of any value", true, "0", "xterm", false},
		{"a dumb terminal", true, "", "dumb", false},
	} {
		if got := colored(tt.terminal, tt.noColor, tt.term); got != tt.want {
			t.Errorf("%s: colored is %v; want %v", tt.name, got, tt.want)
		}
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		widths, want []int
		width        int
	}{
		{"it fits", []int{10, 5, 20}, []int{10, 5, 20}, 39},
		{"the last one gives way first", []int{10, 5, 20}, []int{10, 5, 10}, 29},
		{"then the widest", []int{30, 5, 20}, []int{13, 5, 8}, 30},
		{"never below what can be read", []int{30, 30, 30}, []int{8, 8, 8}, 10},
		{"a short last one stays", []int{40, 5, 3}, []int{28, 5, 3}, 40},
	} {
		if fit(tt.widths, tt.width); !slices.Equal(tt.widths, tt.want) {
			t.Errorf("%s: widths are %v; want %v", tt.name, tt.widths, tt.want)
		}
	}
}

// What is healthy until one more failure is not told as plainly healthy.
func TestHealthOfWhatFailsNow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		health units.ActionHealth
		want   string
	}{
		{units.ActionHealth{State: units.HealthHealthy}, "main: healthy, redis://"},
		{units.ActionHealth{State: units.HealthHealthy, Failures: 2, Says: "no answer in time", Note: "it is unhealthy after 3 in a row"},
			"main: healthy, redis://; since then 2 failures in a row: no answer in time; it is unhealthy after 3 in a row"},
		{units.ActionHealth{State: units.HealthHealthy, Says: "no answer in time"}, "main: healthy, redis://; since then a failure that does not count: no answer in time"},
		{units.ActionHealth{State: units.HealthUnhealthy, Failures: 3, Says: "no answer in time"}, "main: unhealthy, redis://: no answer in time"},
	} {
		tt.health.Action, tt.health.Probe = "main", "redis://"
		var out bytes.Buffer
		c := &call{Env: Env{Stdout: &out}}
		c.printHealth(units.Status{Health: []units.ActionHealth{tt.health}})
		if want := label("Health") + tt.want + "\n"; out.String() != want {
			t.Errorf("it prints %q; want %q", out.String(), want)
		}
	}
}
