package transient

import (
	"fmt"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ExitStatuses is an exit status list, (aiai): statuses and signals.
type ExitStatuses struct {
	Statuses []int32
	Signals  []int32
}

// Health is the unit that asks an action for its health once, as the action's
// user: what the daemon, which has no rights of its own, can't see. Its exit
// status is the prober's, and what it has said is the answer.
func Health(s units.Service, i, systemd int) Unit {
	a := s.Actions[i]
	check, _ := a.HealthCheck() // who asks has one
	asks := units.Action{
		Exec: []string{Prober, "--once", "--timeout=" + check.Timeout.String()},
		User: a.User, Group: a.Group,
	}
	asks.Exec = append(asks.Exec, goodAnswer(check.Status, check.Match, check.Credential)...)
	asks.Exec = append(asks.Exec, a.Health)
	if check.Credential != "" {
		asks.Credentials = map[string]string{check.Credential: a.Credentials[check.Credential]}
	}
	if check.Kind == units.ProbeExec { // which may be any program
		asks.Env, asks.Credentials, asks.WorkingDir = a.Env, a.Credentials, a.WorkingDir
	}
	ps := properties{
		// Keeps the answer until it was read; then the unit goes, whatever it was.
		{"AddRef", true},
		{"CollectMode", "inactive-or-failed"},
		{"Description", "Health of " + s.ID.String() + ", " + a.Name},
		{"Slice", units.SliceOf(s.Context)},
		{"Type", "oneshot"},
		{"NotifyAccess", "main"},
		// An answer that is not well is no failure of this unit's.
		{"SuccessExitStatus", ExitStatuses{[]int32{units.ExitFailed}, []int32{}}},
		// Nobody wants to read of each round: neither from it, nor from systemd
		// that it was started and has ended. What is wrong with it is in the
		// service's health.
		{"StandardOutput", "null"},
		{"StandardError", "null"},
		{"LogLevelMax", int32(2)}, // crit: syslog(3)
	}
	// The prober's own time is up first, and it says so.
	ps.duration("TimeoutStartUSec", check.Timeout+proberStart)
	ps.duration("TimeoutStopUSec", time.Second)
	ps.execution(asks, systemd)
	return Unit{s.HealthUnit(a.Name), ps}
}

// goodAnswer are the prober's arguments that say what a good answer is.
func goodAnswer(status uint32, match, credential string) (args []string) {
	if status != 0 {
		args = append(args, fmt.Sprintf("--status=%d", status))
	}
	if match != "" {
		args = append(args, "--match="+match)
	}
	if credential != "" {
		args = append(args, "--credential="+credential)
	}
	return args
}
