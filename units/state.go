package units

import "time"

// State is what a service reads as, beside its wanted status and never instead of it.
type State string

const (
	StateRunning    State = "running"    // alive and ready
	StateActivating State = "activating" // on its way up, or waiting to be restarted
	StateDegraded   State = "degraded"   // alive, but one of its actions is down
	StateFailed     State = "failed"     // systemd says so; the reason carries its result
	StateExited     State = "exited"     // a one-shot that finished with success
	StateInactive   State = "inactive"   // not running, and nothing is wrong with that
	StateBlocked    State = "blocked"    // can't start: the reason names what is in its way
	StateUnknown    State = "unknown"    // systemd could not be asked
)

// States are all that there are.
var States = []State{
	StateRunning, StateActivating, StateDegraded, StateFailed,
	StateExited, StateInactive, StateBlocked, StateUnknown,
}

// Active is what systemctl calls so: it has started, and is still good for
// what it was started for.
func (s State) Active() bool {
	return s == StateRunning || s == StateDegraded || s == StateExited
}

// Unit is what systemd says of one unit, read at one moment. The words are
// systemd's own: org.freedesktop.systemd1(5).
type Unit struct {
	Name   string
	Load   string // LoadState: loaded, not-found, bad-setting, error, masked
	Active string // ActiveState: active, reloading, inactive, failed, activating, deactivating
	Sub    string // SubState: running, exited, dead, auto-restart, start, …
	// JobID is the number of the queued job, 0 when there is none.
	JobID uint32

	// What follows is there when the unit was read alone, not in a listing.

	Result       string // success, exit-code, signal, timeout, start-limit-hit, …
	InvocationID string // 32 hexadecimal digits; "" before the first start
	MainPID      uint32
	ExitCode     int32 // ExecMainCode: CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3; 0 not ended
	ExitStatus   int32 // ExecMainStatus: exit status, or signal number
	Restarts     uint32
	ActiveSince  time.Time // ActiveEnterTimestamp; zero when never active
	BegunAt      time.Time // start of the first ExecStartPre=, or ExecMainStartTimestamp; zero before
	ExitedAt     time.Time // ExecMainExitTimestamp; zero while it runs
	ChangedAt    time.Time // StateChangeTimestamp
	// Digest is that of the definition that the unit was loaded with.
	Digest     string
	CPU        time.Duration // CPUUsageNSec; 0 when systemd does not count it
	MemoryPeak Count         // bytes; systemd 254 or later
	IORead     Count         // bytes
	IOWritten  Count         // bytes
	// Reading numbers the readings in the order in which they were asked for:
	// answers may overtake each other.
	Reading uint64
}

// Used is what the unit's last activation has used. A program that ran has
// used the CPU, so 0 is "not counted" there.
func (u Unit) Used() Usage {
	return Usage{Count{uint64(u.CPU), u.CPU > 0}, u.MemoryPeak, u.IORead, u.IOWritten}
}

// Loaded says that systemd has the unit.
func (u Unit) Loaded() bool { return u.Load != "" && u.Load != "not-found" }

// Broken says that systemd has the unit and can't use it: an administrator's
// drop-in or mask is in the way, or the definition itself.
func (u Unit) Broken() bool { return u.Loaded() && u.Load != "loaded" }

// Alive says that a start would change nothing: the unit is up or on its way up.
func (u Unit) Alive() bool {
	return u.Active == "active" || u.Active == "activating" || u.Active == "reloading"
}

// ActionStatus is one action of a service and its unit.
type ActionStatus struct {
	Name string
	Unit Unit
}

// Status is the whole truth about a service that one can ask for.
type Status struct {
	ID
	Description string
	Wanted      Wanted
	State       State
	// Reason says in a sentence why the state is what it is, where that is
	// not plain. Remedy are the commands that mend it, where there are any.
	Reason string
	Remedy string
	// Intends is what hero_proc will do about it by itself, with which Reason
	// ends where there is one; "" is nothing.
	Intends string
	// Stale says that a unit runs with an older definition than the store
	// has; a restart brings the new one.
	Stale   bool
	Unit    Unit
	Actions []ActionStatus
	// HealthState is the worst of Health, which has the actions with a probe.
	HealthState HealthState
	Health      []ActionHealth
}

// ContextStatus is a context that has services.
type ContextStatus struct {
	Name  string
	Slice string // the unit that all of its services are in
	// Services counts them by state.
	Services map[State]int
}

// Changes is what systemd's signals said since they were last asked for. A
// signal is a hint: it marks what has to be read again.
type Changes struct {
	Units []string // units to read again
	All   bool     // read everything again
	// Jobs has, for units that had jobs which are over, the result of the last
	// one. No reading tells it. It is incomplete where Back is set.
	Jobs map[string]string
	// Lost says that the connection to systemd went away, Back that there is
	// a new one: pins are gone and units may have been unloaded.
	Lost, Back bool
}

// Health is what the supervisor says of itself.
type Health struct {
	Version string
	Systemd int // major version
	Started time.Time
	// Ready says that the boot sequence is over.
	Ready bool
	// HeroDB is how the last boot's ensuring of hero_db ended: pending,
	// active, opted-out, or the code of the event that was reported.
	HeroDB       string
	HeroDBReason string
	// Services counts the registered services by state.
	Services map[State]int
	// LogsDropped counts the events that did not fit the queue before the
	// logs table. They are in the journal all the same.
	LogsDropped uint64
	Probes      ProbeCounts
}

// Touched is what may read differently since it was last asked for.
type Touched struct {
	Services []ID
	Jobs     []int64
	// All says that anything may, also that services came or went.
	All bool
}
