package units

import (
	"fmt"
	"slices"
	"time"
)

// OnUnhealthy says what becomes of an action that its probe finds unhealthy.
type OnUnhealthy string

const (
	UnhealthyWarn    OnUnhealthy = "warn"    // it is reported
	UnhealthyRestart OnUnhealthy = "restart" // and restarted, as often as the budget has it
)

// Defaults of what is said about the health of an action.
const (
	DefaultHealthInterval    = 10 * time.Second
	DefaultHealthTimeout     = 5 * time.Second
	DefaultHealthGrace       = 10 * time.Second
	DefaultHealthFailures    = 3
	DefaultHealthSuccesses   = 1
	DefaultUnhealthyRestarts = 3
	DefaultUnhealthyWindow   = 10 * time.Minute

	minHealthInterval = 100 * time.Millisecond
	maxHealthTimeout  = time.Minute // a probe that waits is one that others wait for
	maxThreshold      = 1000
	minWatchdog       = 100 * time.Millisecond
)

// HealthCheck is how an action is asked for its health, and what follows, with
// the defaults where the definition is silent.
type HealthCheck struct {
	Probe
	Status     uint32 // of HTTP; 0 is any from 200 to 399
	Match      string // text that the body of an answer of HTTP has
	Credential string // the one of the action's that has the password for Redis

	Interval, Timeout time.Duration
	// Grace is how long after it got ready a failure counts for nothing.
	Grace time.Duration
	// Failures in a row make it unhealthy, Successes healthy again.
	Failures, Successes uint32
	On                  OnUnhealthy
	// Restarts is the most within Window.
	Restarts uint32
	Window   time.Duration
}

// HealthCheck is false for an action that has no probe of its health.
func (a Action) HealthCheck() (HealthCheck, bool) {
	probe, err := ParseProbe(a.Health)
	if a.Health == "" || err != nil {
		return HealthCheck{}, false
	}
	return HealthCheck{
		Probe: probe, Status: a.HealthStatus, Match: a.HealthMatch, Credential: or(a.HealthCredential, a.sameCredential(probe)),
		Interval: or(a.HealthInterval, DefaultHealthInterval),
		Timeout:  or(a.HealthTimeout, DefaultHealthTimeout),
		Grace:    or(a.HealthGrace, DefaultHealthGrace),
		Failures: or(a.HealthFailures, DefaultHealthFailures), Successes: or(a.HealthSuccesses, DefaultHealthSuccesses),
		On:       or(a.OnUnhealthy, UnhealthyRestart),
		Restarts: or(a.UnhealthyRestarts, DefaultUnhealthyRestarts), Window: or(a.UnhealthyWindow, DefaultUnhealthyWindow),
	}, true
}

// sameCredential is the one for readiness, where the probe asks the same server:
// it wants the same password.
func (a Action) sameCredential(probe Probe) string {
	ready, err := ParseProbe(string(a.Ready))
	if err != nil || ready.Kind != ProbeRedis || probe.Kind != ProbeRedis || ready.Network != probe.Network || ready.Address != probe.Address {
		return ""
	}
	return a.ReadyCredential
}

// or is v, or what holds where it is not set.
func or[T comparable](v, unset T) T {
	if v == *new(T) {
		return unset
	}
	return v
}

// ByNetwork says that anybody on the machine can ask the probe: over TCP, and
// with no secret. Any other needs the service's own view: its user, for a
// command or a socket of the filesystem, or its credential.
func (c HealthCheck) ByNetwork() bool {
	return c.Kind != ProbeExec && c.Network == "tcp" && c.Credential == ""
}

// HealthState is what the answers of a probe have come to.
type HealthState string

const (
	HealthNone      HealthState = "none"      // there is no probe, so nothing is known
	HealthUnknown   HealthState = "unknown"   // there is one, which has not been answered yet, or can't be asked
	HealthHealthy   HealthState = "healthy"   // it answers well
	HealthUnhealthy HealthState = "unhealthy" // it has failed too often in a row
)

// HealthStates are all that there are, the worse ones last.
var HealthStates = []HealthState{HealthNone, HealthHealthy, HealthUnknown, HealthUnhealthy}

// ActionHealth is what the probe of one action says.
type ActionHealth struct {
	Action string
	Probe  string // what is asked, as [Probe.String] has it
	State  HealthState
	Since  time.Time // of the state; zero while nothing is known
	// Failures is how often it has failed in a row.
	Failures uint32
	// Says is the last answer that was not well, or why there is none yet;
	// "" once it is well.
	Says string
	// Note is what hero_proc does about it, or why nothing.
	Note string
}

// WorstHealth is that of a service whose actions have these.
func WorstHealth(all []ActionHealth) HealthState {
	worst := HealthNone
	for _, h := range all {
		if slices.Index(HealthStates, h.State) > slices.Index(HealthStates, worst) {
			worst = h.State
		}
	}
	return worst
}

// ProbeCounts is what the daemon has done about health since it was started.
type ProbeCounts struct {
	Well, Unwell, Unasked uint64 // answers; Unasked are those that it could not get
	InFlight              int    // probes that are being asked
	Restarts              uint64 // of what was unhealthy
}

// HealthUnit is the name of the unit that asks an action for its health. It is
// the name of no service's unit.
func (id ID) HealthUnit(action string) string {
	return "hero_proc_health-" + id.Context + "-" + id.Name + "@" + action + serviceSuffix
}

// healthFields are those of an action that make no difference to its unit: who
// changes them need not restart it.
var healthFields = []string{
	"health", "health_interval", "health_timeout", "health_grace", "health_failures", "health_successes",
	"health_status", "health_match", "health_credential", "on_unhealthy", "unhealthy_restarts", "unhealthy_window",
}

// healthForms are those of [ReadyForms] that are probes.
var healthForms = ReadyForms[2:]

// healthKind is of the field "health".
var healthKind = kind[string]{
	want:   orList(healthForms) + ` ("": no probe)`,
	decode: decodeText[string],
	encode: func(s string) any { return s },
	check: func(p *problems, path, s string) {
		if s == "" {
			return
		}
		if s == string(ReadyExec) || s == string(ReadyNotify) {
			p.add(path, "is %q, which is no probe; want %s", s, orList(healthForms))
			return
		}
		readyKind.check(p, path, Ready(s))
	},
}

var thresholdKind = kind[uint32]{
	want:   fmt.Sprintf("a number up to %d (0: the default)", maxThreshold),
	decode: countKind[uint32](maxThreshold).decode,
	encode: func(n uint32) any { return n },
	check:  checkAtMost[uint32](maxThreshold),
}

// checkHealth looks at how the fields about an action's health go together.
func checkHealth(p *problems, a *Action) {
	kind := kindOf(Ready(a.Health))
	restarts := or(a.OnUnhealthy, UnhealthyRestart) == UnhealthyRestart
	for _, f := range []struct {
		name     string
		given    bool
		of       ProbeKind // "" is all
		restarts bool
	}{
		{name: "health_interval", given: a.HealthInterval != 0},
		{name: "health_timeout", given: a.HealthTimeout != 0},
		{name: "health_grace", given: a.HealthGrace != 0},
		{name: "health_failures", given: a.HealthFailures != 0},
		{name: "health_successes", given: a.HealthSuccesses != 0},
		{name: "health_status", given: a.HealthStatus != 0, of: ProbeHTTP},
		{name: "health_match", given: a.HealthMatch != "", of: ProbeHTTP},
		{name: "health_credential", given: a.HealthCredential != "", of: ProbeRedis},
		{name: "on_unhealthy", given: a.OnUnhealthy != ""},
		{name: "unhealthy_restarts", given: a.UnhealthyRestarts != 0, restarts: true},
		{name: "unhealthy_window", given: a.UnhealthyWindow != 0, restarts: true},
	} {
		switch {
		case !f.given:
		case a.Health == "":
			p.add(f.name, "is given, and health is not; want nothing, or a probe in health")
		case kind != "" && f.of != "" && kind != f.of:
			p.add(f.name, "is for probes of kind %s, and health is one of kind %s; want nothing", f.of, kind)
		case f.restarts && !restarts:
			p.add(f.name, "is given, and on_unhealthy is %q; want nothing, or %q there", a.OnUnhealthy, UnhealthyRestart)
		}
	}
	if !a.Process && a.Watchdog != 0 {
		p.add("watchdog", "is given, and the action is no process; want nothing")
	} else if a.Watchdog != 0 && a.Watchdog < minWatchdog {
		p.add("watchdog", "is %s; want %s or more", a.Watchdog, minWatchdog)
	}
	if a.Health == "" {
		return
	}
	if !a.Process {
		p.add("health", "is given, and the action is no process; want nothing")
	}
	if _, ok := a.Credentials[a.HealthCredential]; !ok && a.HealthCredential != "" {
		p.add("health_credential", "is %q, which is no credential of the action; want a name that credentials has", clip(a.HealthCredential))
	}
	if a.HealthInterval != 0 && a.HealthInterval < minHealthInterval {
		p.add("health_interval", "is %s; want %s or more", a.HealthInterval, minHealthInterval)
	}
	if a.HealthTimeout != 0 && (a.HealthTimeout < minReadyInterval || a.HealthTimeout > maxHealthTimeout) {
		p.add("health_timeout", "is %s; want %s to %s", a.HealthTimeout, minReadyInterval, maxHealthTimeout)
	}
}
