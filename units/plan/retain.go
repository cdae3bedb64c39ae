package plan

import (
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Retention bounds the history: the jobs, and as much again the log entries.
// Zero is no bound.
type Retention struct {
	// Age is how old a row may get: a job counts from its end.
	Age time.Duration
	// PerService is how many jobs each action of a service may have, and how
	// many log entries of each source there may be about a service. It keeps a
	// service that crashes again and again from pushing out all others.
	PerService int
	// Total is how many there may be in all.
	Total int
}

// Why a row of the history stays, or goes.
const (
	StaysLive      = "it is not over"
	StaysLast      = "it is the last one of a registered service"
	StaysYoung     = "it is within all bounds"
	GoesAge        = "it is too old"
	GoesPerService = "its service has enough newer ones"
	GoesTotal      = "there are enough newer ones"
)

// Pruning judges the history by its rows, the newest first.
type Pruning struct {
	keep       Retention
	now        time.Time
	registered func(units.ID) bool
	of         map[pastKey]int
	total      map[units.PastKind]int
}

type pastKey struct {
	kind    units.PastKind
	service units.ID
	of      string
}

// NewPruning begins a pass. registered says which services are.
func NewPruning(keep Retention, now time.Time, registered func(units.ID) bool) *Pruning {
	return &Pruning{keep: keep, now: now, registered: registered, of: map[pastKey]int{}, total: map[units.PastKind]int{}}
}

// Judge says whether the next row goes, and why. What goes is not counted, so
// that it takes no place from an older one that stays.
func (p *Pruning) Judge(row units.Past) (goes bool, why string) {
	key := pastKey{row.Kind, row.Service, row.Of}
	switch {
	case row.Live:
		why = StaysLive
	case row.Kind == units.PastJob && p.of[key] == 0 && p.registered(row.Service):
		why = StaysLast
	case p.keep.Age > 0 && p.now.Sub(row.Time) > p.keep.Age:
		return true, GoesAge
	case p.keep.PerService > 0 && row.Service != (units.ID{}) && p.of[key] >= p.keep.PerService:
		return true, GoesPerService
	case p.keep.Total > 0 && p.total[row.Kind] >= p.keep.Total:
		return true, GoesTotal
	default:
		why = StaysYoung
	}
	p.of[key]++
	p.total[row.Kind]++
	return false, why
}
