package units

import "time"

// Phases and Origins are all that there are.
var (
	Phases  = []Phase{PhasePending, PhaseRunning, PhaseSucceeded, PhaseFailed, PhaseCanceled, PhaseLost}
	Origins = []Origin{OriginBoot, OriginAPI, OriginSystemd}
)

// JobFilter selects jobs of the history. Zero values select everything.
type JobFilter struct {
	// Live selects the jobs that are not over.
	Live    bool
	Context string
	Service string // a name, whatever its context
	Action  string
	Phase   Phase
	Origin  Origin // that of the job's run
	Run     int64
	// Since and Until are about when the job was asked for, both inclusive.
	Since time.Time
	Until time.Time
	// Before selects the jobs with a lower number: the first one of an answer
	// asks for the answer before it.
	Before int64
	// Limit is the number of jobs, the newest ones; 0 is DefaultJobLimit, or
	// none where Live bounds it.
	Limit int
}

// Bounds of one answer of a query of the history.
const (
	DefaultJobLimit = 100
	MaxJobLimit     = 1000
)

// Bound is the limit that holds; -1 is none.
func (f JobFilter) Bound() int {
	switch {
	case f.Limit > 0:
		return min(f.Limit, MaxJobLimit)
	case f.Live:
		return -1
	default:
		return DefaultJobLimit
	}
}

// Selects says whether the filter selects a job. Origin and Limit are not
// looked at: a job does not know them.
func (f JobFilter) Selects(j Job) bool {
	return (!f.Live || !j.Phase.Terminal()) &&
		(f.Context == "" || j.Service.Context == f.Context) &&
		(f.Service == "" || j.Service.Name == f.Service) &&
		(f.Action == "" || j.Action == f.Action) &&
		(f.Phase == "" || j.Phase == f.Phase) &&
		(f.Run == 0 || j.Run == f.Run) &&
		(f.Since.IsZero() || !j.Created.Before(f.Since)) &&
		(f.Until.IsZero() || !j.Created.After(f.Until)) &&
		(f.Before == 0 || j.ID < f.Before)
}
