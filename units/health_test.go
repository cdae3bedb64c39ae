package units

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// The fields about health have to go together.
func TestHealthFields(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		action m
		want   []string // all problems; none is valid
	}{
		{"no probe", m{"health": ""}, nil},
		{"a probe alone", m{"health": "exec:true"}, nil},
		{"all of HTTP", m{"health": "http://localhost", "health_status": 204, "health_match": "ok", "health_interval": "100ms", "health_timeout": "1m", "health_grace": "1ms"}, nil},
		{"all of Redis", m{"health": "redis+unix:/s", "credentials": m{"p": "/p"}, "health_credential": "p"}, nil},
		{"all of restarts", m{"health": "tcp:localhost:1", "on_unhealthy": "restart", "unhealthy_restarts": 1000, "unhealthy_window": "1h"}, nil},
		{"a warning only", m{"health": "tcp:localhost:1", "on_unhealthy": "warn"}, nil},
		{"a watchdog", m{"watchdog": "100ms"}, nil},
		{"a watchdog without a process", m{"watchdog": "1s", "is_process": false}, []string{`watchdog is given, and the action is no process; want nothing`}},
		{"a hasty watchdog", m{"watchdog": "10ms"}, []string{`watchdog is 10ms; want 100ms or more`}},
		{"not a probe", m{"health": "exec"}, []string{
			`health is "exec", which is no probe; want ` + orList(healthForms),
		}},
		{"a bad probe", m{"health": "tcp:localhost"}, []string{`health has no port from 1 to 65535; want tcp:HOST:PORT`}},
		{"a password in it", m{"health": "redis://:secret@localhost"}, []string{
			`health has a user or a password in it, which everybody could read; want none, and a password as a credential that ready_credential, or health_credential, names`,
		}},
		{"all without a probe", m{
			"health_interval": "1s", "health_timeout": "1s", "health_grace": "1s", "health_failures": 1, "health_successes": 1, "health_status": 200,
			"health_match": "x", "credentials": m{"p": "/p"}, "health_credential": "p", "on_unhealthy": "restart", "unhealthy_restarts": 1, "unhealthy_window": "1s",
		}, []string{
			`health_interval is given, and health is not; want nothing, or a probe in health`,
			`health_timeout is given, and health is not; want nothing, or a probe in health`,
			`health_grace is given, and health is not; want nothing, or a probe in health`,
			`health_failures is given, and health is not; want nothing, or a probe in health`,
			`health_successes is given, and health is not; want nothing, or a probe in health`,
			`health_status is given, and health is not; want nothing, or a probe in health`,
			`health_match is given, and health is not; want nothing, or a probe in health`,
			`health_credential is given, and health is not; want nothing, or a probe in health`,
			`on_unhealthy is given, and health is not; want nothing, or a probe in health`,
			`unhealthy_restarts is given, and health is not; want nothing, or a probe in health`,
			`unhealthy_window is given, and health is not; want nothing, or a probe in health`,
		}},
		{"a status without HTTP", m{"health": "redis://", "health_status": 200}, []string{
			`health_status is for probes of kind http, and health is one of kind redis; want nothing`,
		}},
		{"a password that nobody has", m{"health": "redis://", "health_credential": "p"}, []string{
			`health_credential is "p", which is no credential of the action; want a name that credentials has`,
		}},
		{"restarts and none", m{"health": "redis://", "on_unhealthy": "warn", "unhealthy_restarts": 2}, []string{
			`unhealthy_restarts is given, and on_unhealthy is "warn"; want nothing, or "restart" there`,
		}},
		{"something else", m{"health": "redis://", "on_unhealthy": "kill"}, []string{
			`on_unhealthy is "kill"; want "warn" or "restart"`,
		}},
		{"too often", m{"health": "redis://", "health_interval": "99ms"}, []string{`health_interval is 99ms; want 100ms or more`}},
		{"too patient", m{"health": "redis://", "health_timeout": "2m"}, []string{`health_timeout is 2m0s; want 10ms to 1m0s`}},
		{"too lenient", m{"health": "redis://", "health_failures": 1001}, []string{`health_failures is too large; want at most 1000`}},
		{"no process", m{"health": "redis://", "is_process": false}, []string{`health is given, and the action is no process; want nothing`}},
		{"a long probe", m{"health": "exec:a " + strings.Repeat("x", 4096)}, []string{`health has 4103 bytes; want at most 4096`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.action["exec"] = "true"
			_, err := DecodeService(m{"name": "x", "actions": []any{tt.action}})
			var want, got []string
			for _, w := range tt.want {
				want = append(want, "actions[main]."+w)
			}
			if err != nil {
				got = problemsOf(t, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestHealthCheck(t *testing.T) {
	t.Parallel()
	a := NewAction("x")
	if c, ok := a.HealthCheck(); ok {
		t.Errorf("without a probe it is %+v", c)
	}
	a.Health = "redis://"
	want := HealthCheck{
		Probe: Probe{Kind: ProbeRedis, Network: "tcp", Address: "127.0.0.1:6379"}, Interval: 10 * time.Second, Timeout: 5 * time.Second, Grace: 10 * time.Second,
		Failures: 3, Successes: 1, On: UnhealthyRestart, Restarts: 3, Window: 10 * time.Minute,
	}
	if c, ok := a.HealthCheck(); !ok || !reflect.DeepEqual(c, want) {
		t.Errorf("with nothing but a probe it is %+v, want %+v", c, want)
	}
}

// The server that has said by a password that it is ready wants it for its
// health too.
func TestHealthCredential(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		a    Action
		want string
	}{
		{"the same server", Action{Ready: "redis://127.0.0.1:6379", ReadyCredential: "p", Health: "redis://"}, "p"},
		{"the same socket", Action{Ready: "redis+unix:/s", ReadyCredential: "p", Health: "redis+unix:/s"}, "p"},
		{"one of its own", Action{Ready: "redis://", ReadyCredential: "p", Health: "redis://", HealthCredential: "q"}, "q"},
		{"another port", Action{Ready: "redis://", ReadyCredential: "p", Health: "redis://127.0.0.1:1"}, ""},
		{"another kind", Action{Ready: "redis://", ReadyCredential: "p", Health: "tcp:127.0.0.1:6379"}, ""},
		{"no probe of readiness", Action{Ready: ReadyNotify, Health: "redis://"}, ""},
	} {
		if c, ok := tt.a.HealthCheck(); !ok || c.Credential != tt.want {
			t.Errorf("%s: the credential is %q, want %q", tt.name, c.Credential, tt.want)
		}
	}
}

// Whatever can't be asked by anybody is asked as the service.
func TestByNetwork(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"tcp:localhost:1": true, "http://localhost": true, "https://localhost": true, "redis://": true,
		"unix:/s": false, "http+unix:/s": false, "redis+unix:/s": false, "exec:true": false,
	} {
		for _, credential := range []string{"", "p"} {
			c, _ := Action{Health: text, HealthCredential: credential}.HealthCheck()
			if got := c.ByNetwork(); got != (want && credential == "") {
				t.Errorf("%s with credential %q is asked over the network: %t", text, credential, got)
			}
		}
	}
}

func TestWorstHealth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		all  []HealthState
		want HealthState
	}{
		{nil, HealthNone},
		{[]HealthState{HealthHealthy}, HealthHealthy},
		{[]HealthState{HealthHealthy, HealthUnknown}, HealthUnknown}, // nobody knows that it is well
		{[]HealthState{HealthUnhealthy, HealthUnknown, HealthHealthy}, HealthUnhealthy},
	} {
		var all []ActionHealth
		for _, s := range tt.all {
			all = append(all, ActionHealth{State: s})
		}
		if got := WorstHealth(all); got != tt.want {
			t.Errorf("of %v: %s, want %s", tt.all, got, tt.want)
		}
	}
}

// No service can have the name of a unit that asks for health, however long it is.
func TestHealthUnit(t *testing.T) {
	t.Parallel()
	id := ID{strings.Repeat("c", MaxContextName), strings.Repeat("s", MaxServiceName)}
	name := id.HealthUnit(strings.Repeat("a", MaxActionName))
	if _, ok := ParseUnit(name); ok || len(name) > 255 {
		t.Errorf("%q has %d bytes; a service's: %t", name, len(name), ok)
	}
}

// systemd has killed it, which says nothing of why.
func TestOutcomeOfAWatchdog(t *testing.T) {
	t.Parallel()
	u := Unit{Result: "watchdog", ExitCode: cldKilled, ExitStatus: 6}
	if got, want := u.Outcome(), "watchdog, as it has sent no WATCHDOG=1 in time (killed by signal 6, aborted)"; got != want {
		t.Errorf("the outcome is %q, want %q", got, want)
	}
}
