package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var (
	healthNow = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	before    = healthNow.Add(-time.Hour)
	check     = units.HealthCheck{Failures: 3, Successes: 2}
)

func TestFeel(t *testing.T) {
	t.Parallel()
	const unknown, healthy, unhealthy = units.HealthUnknown, units.HealthHealthy, units.HealthUnhealthy
	never := time.Time{}
	pulse := func(state units.HealthState, since time.Time, failures, successes, missed uint32, says string) Pulse {
		return Pulse{state, since, failures, successes, missed, says}
	}
	for _, tt := range []struct {
		name     string
		before   Pulse
		answer   Answer
		settling bool
		want     Pulse
	}{
		{"the first answer is good", Pulse{}, Well, false, pulse(healthy, healthNow, 0, 1, 0, "")},
		{"the first answer is good, early", Pulse{}, Well, true, pulse(healthy, healthNow, 0, 1, 0, "")},
		{"the first answer is bad", Pulse{}, Unwell, false, pulse(unknown, never, 1, 0, 0, "bad")},
		{"the first answer is bad, early", Pulse{}, Unwell, true, pulse(unknown, never, 0, 0, 0, "bad")},
		{"it could not be asked at first", Pulse{}, Unasked, false, pulse(unknown, never, 0, 0, 1, "")},
		{"it could not be asked at first, early", Pulse{}, Unasked, true, pulse(unknown, never, 0, 0, 1, "")},

		{"unknown, and one failure too many", pulse(unknown, never, 2, 0, 0, "old"), Unwell, false, pulse(unhealthy, healthNow, 3, 0, 0, "bad")},
		{"unknown, and early none is too many", pulse(unknown, never, 2, 0, 0, "old"), Unwell, true, pulse(unknown, never, 2, 0, 0, "bad")},
		{"unknown, and good after bad", pulse(unknown, never, 2, 0, 0, "old"), Well, false, pulse(healthy, healthNow, 0, 1, 0, "")},

		{"healthy stays", pulse(healthy, before, 0, 7, 0, ""), Well, false, pulse(healthy, before, 0, 8, 0, "")},
		{"healthy, one failure", pulse(healthy, before, 0, 7, 0, ""), Unwell, false, pulse(healthy, before, 1, 0, 0, "bad")},
		{"healthy, the last failure but one", pulse(healthy, before, 1, 0, 0, "old"), Unwell, false, pulse(healthy, before, 2, 0, 0, "bad")},
		{"healthy, one failure too many", pulse(healthy, before, 2, 0, 0, "old"), Unwell, false, pulse(unhealthy, healthNow, 3, 0, 0, "bad")},
		{"healthy, and flapping begins anew", pulse(healthy, before, 2, 0, 0, "old"), Well, false, pulse(healthy, before, 0, 1, 0, "")},
		{"healthy, a failure early", pulse(healthy, before, 0, 1, 0, ""), Unwell, true, pulse(healthy, before, 0, 0, 0, "bad")},
		{"healthy, not asked once", pulse(healthy, before, 0, 7, 0, ""), Unasked, false, pulse(healthy, before, 0, 0, 1, "")},
		{"healthy, not asked too often", pulse(healthy, before, 0, 0, 2, ""), Unasked, false, pulse(unknown, never, 0, 0, 3, "bad")},
		{"healthy, asked again", pulse(healthy, before, 0, 0, 2, ""), Well, false, pulse(healthy, before, 0, 1, 0, "")},

		{"unhealthy stays", pulse(unhealthy, before, 3, 0, 0, "old"), Unwell, false, pulse(unhealthy, before, 4, 0, 0, "bad")},
		{"unhealthy, one success", pulse(unhealthy, before, 3, 0, 0, "old"), Well, false, pulse(unhealthy, before, 0, 1, 0, "old")},
		{"unhealthy, flapping", pulse(unhealthy, before, 0, 1, 0, "old"), Unwell, false, pulse(unhealthy, before, 1, 0, 0, "bad")},
		{"unhealthy, enough successes", pulse(unhealthy, before, 0, 1, 0, "old"), Well, false, pulse(healthy, healthNow, 0, 2, 0, "")},
		{"unhealthy, not asked once", pulse(unhealthy, before, 3, 0, 0, "old"), Unasked, false, pulse(unhealthy, before, 3, 0, 1, "old")},
		{"unhealthy, not asked too often", pulse(unhealthy, before, 3, 0, 2, "old"), Unasked, false, pulse(unknown, never, 0, 0, 3, "bad")},
	} {
		if got := Feel(tt.before, check, tt.answer, "bad", tt.settling, healthNow); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// The rows exclude each other, and leave nothing out: "" is whatever it is.
func TestDecideUnhealthy(t *testing.T) {
	t.Parallel()
	rows := []struct {
		state, stopped, busy, settling, on, wanted, gaveUp, spent string
		want                                                      HealthAction
		why                                                       string
	}{
		{state: "unknown", want: HealthLeave, why: "it is not unhealthy"},
		{state: "healthy", want: HealthLeave, why: "it is not unhealthy"},
		{state: "unhealthy", stopped: "yes", want: HealthLeave, why: "something else was asked of it meanwhile"},
		{state: "unhealthy", stopped: "no", busy: "yes", want: HealthLeave, why: "it is starting or stopping"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "yes", want: HealthLeave, why: "it got ready a short while ago"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "warn", want: HealthWarn, why: "not restarted, since on_unhealthy is warn"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "restart", wanted: "stop", want: HealthWarn, why: "not restarted, since its wanted status is stop"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "restart", wanted: "ignore", want: HealthWarn, why: "not restarted, since its wanted status is ignore"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "restart", wanted: "spec", want: HealthWarn, why: "not restarted, since its wanted status is spec"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "restart", wanted: "start", gaveUp: "yes", want: HealthGiveUp, why: "not restarted any more, since 2 restarts within 1m0s did not help"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "restart", wanted: "start", gaveUp: "no", spent: "yes", want: HealthGiveUp, why: "not restarted any more, since 2 restarts within 1m0s did not help"},
		{state: "unhealthy", stopped: "no", busy: "no", settling: "no", on: "restart", wanted: "start", gaveUp: "no", spent: "no", want: HealthRestart, why: "is restarted, 2 of at most 2 times within 1m0s"},
	}
	noYes := []string{"no", "yes"}
	all := [][]string{{"unknown", "healthy", "unhealthy"}, noYes, noYes, noYes, {"warn", "restart"}, {"start", "stop", "ignore", "spec"}, noYes, noYes}
	var walk func(chosen []string)
	walk = func(chosen []string) {
		if len(chosen) < len(all) {
			for _, v := range all[len(chosen)] {
				walk(append(chosen[:len(chosen):len(chosen)], v))
			}
			return
		}
		in := UnhealthyInput{
			State: units.HealthState(chosen[0]), Stopped: chosen[1] == "yes", Busy: chosen[2] == "yes", Settling: chosen[3] == "yes",
			On: units.OnUnhealthy(chosen[4]), Wanted: units.Wanted(chosen[5]), GaveUp: chosen[6] == "yes", Restarts: 1, Budget: 2, Window: time.Minute,
		}
		if chosen[7] == "yes" {
			in.Restarts = 2
		}
		matches := 0
		for _, row := range rows {
			same := true
			for i, v := range []string{row.state, row.stopped, row.busy, row.settling, row.on, row.wanted, row.gaveUp, row.spent} {
				same = same && (v == "" || v == chosen[i])
			}
			if !same {
				continue
			}
			matches++
			if got := DecideUnhealthy(in); got != (HealthDecision{row.want, row.why}) {
				t.Errorf("%v: %+v, want %s: %s", chosen, got, row.want, row.why)
			}
		}
		if matches != 1 {
			t.Errorf("%v is in %d rows", chosen, matches)
		}
	}
	walk(nil)
}

func TestReported(t *testing.T) {
	t.Parallel()
	id := units.ID{Context: "core", Name: "web"}
	h := units.ActionHealth{Action: "main", Probe: "tcp:localhost:1", State: units.HealthUnhealthy, Says: "connection refused"}
	for _, tt := range []struct {
		action HealthAction
		want   string
	}{
		{HealthLeave, ""},
		{HealthWarn, "unhealthy warning"},
		{HealthRestart, "unhealthy-restart warning"},
		{HealthGiveUp, "unhealthy-restarts-spent error"},
	} {
		e := HealthDecision{tt.action, "REASON"}.Reported(id, id.Unit(), h)
		if e == nil {
			if tt.want != "" {
				t.Errorf("%s is not reported", tt.action)
			}
			continue
		}
		if got := fmt.Sprintf("%s %s", e.Code, e.Level); got != tt.want {
			t.Errorf("%s is reported as %s, want %s", tt.action, got, tt.want)
		}
		const message = `action "main" of service "core/web" is unhealthy, and REASON: tcp:localhost:1 fails with: connection refused`
		if e.Message != message || e.Source != units.SourceHealth || e.Service != id || e.Unit != id.Unit() || !strings.Contains(e.Remedy, "hero_proc service status core/web\n") {
			t.Errorf("%s is reported as %+v", tt.action, e)
		}
	}
	e := Recovered(id, id.Unit(), h)
	if info, _ := e.Code.Info(); e.Level != info.Level || e.Message != `action "main" of service "core/web" is healthy again: tcp:localhost:1 answers` {
		t.Errorf("that it is well again is reported as %+v", e)
	}
}

func TestWithHealth(t *testing.T) {
	t.Parallel()
	s := units.Service{ID: units.ID{Context: "core", Name: "web"}, Actions: []units.Action{{Name: "main", Process: true}, {Name: "side", Process: true}}}
	well := units.ActionHealth{Action: "main", State: units.HealthHealthy}
	bad := units.ActionHealth{Action: "side", State: units.HealthUnhealthy, Since: before, Probe: "exec:x", Says: "exit status 1"}
	noted := bad
	noted.Note = "it is being restarted"
	const reason = `action "side" is unhealthy since 2026-01-02 14:04:05 UTC: exec:x fails with: exit status 1`
	const remedy = "hero_proc service restart core/web\njournalctl -u hero-core-web@side.service"
	for _, state := range units.States {
		r := Reading{state, "REASON", "REMEDY"}
		degraded, degradedNoted := Reading{units.StateDegraded, reason, remedy}, Reading{units.StateDegraded, reason + "; it is being restarted", remedy}
		if state != units.StateRunning { // which has a worse problem, or doesn't run
			degraded, degradedNoted = r, r
		}
		for _, tt := range []struct {
			name   string
			health []units.ActionHealth
			want   Reading
		}{
			{"no probe", nil, r},
			{"well", []units.ActionHealth{well}, r},
			{"not known", []units.ActionHealth{{Action: "main", State: units.HealthUnknown}}, r},
			{"one is not well", []units.ActionHealth{well, bad}, degraded},
			{"and something is done", []units.ActionHealth{well, noted}, degradedNoted},
		} {
			if got := WithHealth(r, s, tt.health); got != tt.want {
				t.Errorf("%s, %s: %+v, want %+v", state, tt.name, got, tt.want)
			}
		}
	}
}
