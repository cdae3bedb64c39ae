package units

import "time"

// PastKind is what a row of the history is.
type PastKind string

const (
	PastJob PastKind = "job"
	PastLog PastKind = "log"
)

// Past is what retention has to know of a row of the history.
type Past struct {
	Kind    PastKind
	Service ID     // zero for a log entry about none
	Of      string // the action of a job, the source of a log entry
	Time    time.Time
	Live    bool // a job that is not over
}

// Retained is what a pass of retention has done.
type Retained struct {
	Jobs, Runs, Logs int64 // rows that went
	Bytes            int64 // given back to the disk
}
