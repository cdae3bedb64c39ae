package units

import "time"

// Phase is where a job stands.
type Phase string

const (
	PhasePending   Phase = "pending"   // queued, or starting and not ready yet
	PhaseRunning   Phase = "running"   // ready
	PhaseSucceeded Phase = "succeeded" // ended by itself, with success
	PhaseFailed    Phase = "failed"
	PhaseCanceled  Phase = "canceled" // stopped by somebody
	PhaseLost      Phase = "lost"     // how it ended can't be known
)

// Terminal says that the job is over for good.
func (p Phase) Terminal() bool { return p != PhasePending && p != PhaseRunning }

// Origin says who asked for a run.
type Origin string

const (
	OriginBoot    Origin = "boot"    // hero_proc, because it is wanted
	OriginAPI     Origin = "api"     // a call on the bus
	OriginSystemd Origin = "systemd" // systemctl, a dependency, or systemd's own Restart=
	OriginRun     Origin = "run"     // an ad-hoc run, which has no service
)

// Run is one start of a service. It groups the jobs of its actions.
type Run struct {
	ID      int64
	Service ID
	Origin  Origin
	Created time.Time
}

// Job is one activation of one action's unit.
type Job struct {
	ID      int64
	Run     int64
	Service ID
	Action  string
	Unit    string
	// Attempt counts the activations within the run, from 1.
	Attempt int
	Phase   Phase
	// InvocationID is systemd's name of the activation; "" until systemd has
	// given one, and for good when the start never came to that.
	InvocationID string
	MainPID      uint32
	Created      time.Time
	Started      time.Time // ready; zero before
	Ended        time.Time // zero before
	// Result is systemd's: of the unit (exit-code, signal, …), or of the
	// start job that never came to an activation (dependency, timeout, …).
	Result     string
	ExitCode   int32 // as in [Unit]
	ExitStatus int32
	Used       Usage
}

// Record is a job to be written to the history. A job without a number is a
// new one, and one without a run begins a run of that origin.
type Record struct {
	Job    *Job
	Origin Origin
	// With is a job whose run a new job without a run joins: one that has a
	// run, or is written before it by the same call.
	With *Job
}
