package units

import (
	"cmp"
	"slices"
	"time"
)

// Restarting is how an action is brought back beyond systemd's plain Restart=.
// A zero number or duration means that the default below holds.
type Restarting struct {
	// DelayMax is what the delay of systemd's own restarts grows to, in
	// DelaySteps restarts.
	DelayMax   time.Duration
	DelaySteps uint32
	// NoRetry leaves the action to itself once systemd has given it up.
	NoRetry       bool
	RetryDelay    time.Duration
	RetryDelayMax time.Duration
	// ResetAfter is how long it has to be up until its restarts are forgotten.
	ResetAfter time.Duration
}

// Defaults of [Restarting].
const (
	DefaultDelaySteps    = 5
	DefaultRetryDelay    = time.Minute
	DefaultRetryDelayMax = time.Hour
	DefaultResetAfter    = 10 * time.Minute
)

// RetryWait is how long hero_proc waits before it starts again what systemd has
// given up, after so many tries of its own.
func (r Restarting) RetryWait(tries int) time.Duration {
	wait, most := cmp.Or(r.RetryDelay, DefaultRetryDelay), cmp.Or(r.RetryDelayMax, DefaultRetryDelayMax)
	if r.RetryDelayMax == 0 {
		most = max(most, wait) // somebody wants it rarer than the default has it
	}
	for ; tries > 0 && wait < most; tries-- {
		wait *= 2
	}
	return min(wait, most)
}

// Stable is how long the action has to be up until its restarts are forgotten.
func (r Restarting) Stable() time.Duration { return cmp.Or(r.ResetAfter, DefaultResetAfter) }

// Steps is in how many restarts the delay of systemd's own ones grows.
func (r Restarting) Steps() uint32 { return cmp.Or(r.DelaySteps, DefaultDelaySteps) }

// unlessKind is of a field that is true unless given, and kept as its opposite.
var unlessKind = kind[bool]{
	want: boolKind.want,
	decode: func(v any) (bool, error) {
		b, err := boolKind.decode(v)
		return !b, err
	},
	encode: func(not bool) any { return !not },
	check:  func(*problems, string, bool) {},
}

// policyFields are those that no unit is made of: hero_proc itself goes by them.
var policyFields = []string{"restart_retry", "restart_retry_delay", "restart_retry_delay_max", "restart_reset_after"}

// withoutPolicy takes out of an encoded definition what no unit is made of.
func withoutPolicy(def map[string]any) {
	delete(def, "restart_with_requires")
	actions, _ := def["actions"].([]map[string]any)
	for _, a := range actions {
		for _, name := range slices.Concat(policyFields, healthFields) {
			delete(a, name)
		}
	}
}

// checkRestarting looks at how the fields about restarts go together.
func checkRestarting(p *problems, a *Action) {
	if a.RestartPolicy() == RestartNo {
		for _, f := range []struct {
			name  string
			given bool
		}{
			{"restart_delay_max", a.DelayMax != 0},
			{"restart_retry_delay", a.RetryDelay != 0},
			{"restart_retry_delay_max", a.RetryDelayMax != 0},
		} {
			if f.given {
				p.add(f.name, "is given, and restart is %q; want nothing, or another restart", RestartNo)
			}
		}
	}
	switch {
	case a.DelaySteps != 0 && a.DelayMax == 0:
		p.add("restart_steps", "is given without restart_delay_max; want both, or none")
	case a.DelayMax != 0 && a.DelayMax <= a.RestartDelay:
		p.add("restart_delay_max", "is %s; want more than restart_delay, which is %s", a.DelayMax, a.RestartDelay)
	}
	if wait := cmp.Or(a.RetryDelay, DefaultRetryDelay); a.RetryDelayMax != 0 && a.RetryDelayMax < wait {
		p.add("restart_retry_delay_max", "is %s; want at least restart_retry_delay, which is %s", a.RetryDelayMax, wait)
	}
}
