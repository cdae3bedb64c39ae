package dbusapi

import (
	"context"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Controller is what stands behind the API. Its methods are called in many
// goroutines at once, and return soon after their context ends. An error that
// is not a [units.Error] is internal: the caller doesn't see it, the log does.
type Controller interface {
	// Health is what the daemon says of itself, with the services that were read.
	Health(services []units.Status) units.Health
	Services(ctx context.Context) ([]units.Status, error)
	Status(ctx context.Context, id units.ID) (units.Status, error)
	Definition(ctx context.Context, id units.ID) (units.Service, error)
	// Explain says why a service is in its state, also of one that is not
	// registered.
	Explain(ctx context.Context, id units.ID) (units.Explanation, error)
	// Dependencies are what all services say of each other.
	Dependencies(ctx context.Context) ([]units.Dependency, error)
	// AnalyzeBoot says what the last boot waited for.
	AnalyzeBoot(ctx context.Context) (units.BootAnalysis, error)
	// Set registers def, or lays it over what is registered.
	Set(ctx context.Context, def map[string]any, merge bool) error
	// Remove takes the service out of the store; with stop, it stops it first.
	Remove(ctx context.Context, id units.ID, stop bool) error
	// Start, Stop and Restart return at once with the job. One without a
	// number means that there was nothing to do.
	Start(ctx context.Context, id units.ID) (units.Job, error)
	Stop(ctx context.Context, id units.ID) (units.Job, error)
	Restart(ctx context.Context, id units.ID) (units.Job, error)
	// RunJob starts an ad-hoc run, and returns at once with its job. streams
	// are its standard streams, nil for none; they are good until it returns.
	RunJob(ctx context.Context, def map[string]any, streams *units.Streams) (units.Job, error)
	Job(ctx context.Context, job int64) (units.Job, error)
	// LiveJobs are the jobs that are not over.
	LiveJobs(ctx context.Context) ([]units.Job, error)
	// Jobs are the newest jobs that the filter selects, the oldest first.
	Jobs(ctx context.Context, filter units.JobFilter) ([]units.Job, error)
	// Cancel stops what the job runs, and returns at once.
	Cancel(ctx context.Context, job int64) error
	// WaitReady returns once the job is running or terminal.
	WaitReady(ctx context.Context, job int64) (units.Job, error)
	// Wait returns once the job is terminal.
	Wait(ctx context.Context, job int64) (units.Job, error)
	// Logs returns the newest rows that the filter selects, oldest first.
	Logs(ctx context.Context, filter units.LogFilter) ([]units.LogEntry, error)
	// PruneLogs deletes the rows that the filter selects, whatever its limit
	// is, and returns how many that were.
	PruneLogs(ctx context.Context, filter units.LogFilter) (int64, error)
	// Touched has a value when something may read differently; TakeTouched
	// says what, and forgets it. They have one reader.
	Touched() <-chan struct{}
	TakeTouched() units.Touched
}
