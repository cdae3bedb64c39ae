package plan

import "time"

// When many units change at once, as when a machine boots, reading each as it
// changes gets into systemd's way, and most have changed again by then.
const (
	// stormUnits is how many units that change within stormWindow are many.
	stormUnits  = 16
	stormWindow = 100 * time.Millisecond
	// stormQuiet without a change is the end of a storm. One that does not end
	// is interrupted every stormMost.
	stormQuiet = 50 * time.Millisecond
	stormMost  = 5 * time.Second
)

// Storm tells how long to wait before units that have changed are read. The
// zero value is calm weather.
type Storm struct {
	recent map[string]bool // the units that changed since window
	window time.Time
	last   time.Time // change
	on     bool
	since  time.Time // the storm began, or was interrupted
}

// Begin says that a storm begins now, as many units are going to change, and how
// long to wait where none does.
func (s *Storm) Begin(now time.Time) time.Duration {
	s.on, s.since, s.last = true, now, now
	return stormMost
}

// Wait is how long to wait with the reading of the units that have changed so
// far, now that these have: no time at all, but in a storm.
func (s *Storm) Wait(changed []string, now time.Time) time.Duration {
	if s.on && now.Sub(s.last) >= stormQuiet {
		s.on = false
	}
	s.last = now
	if s.recent == nil || now.Sub(s.window) >= stormWindow {
		s.recent, s.window = map[string]bool{}, now
	}
	for _, name := range changed {
		s.recent[name] = true
	}
	if !s.on && len(s.recent) > stormUnits {
		s.on, s.since = true, now
	}
	switch {
	case !s.on:
		return 0
	case now.Sub(s.since) >= stormMost:
		s.since = now
		return 0
	default:
		return min(stormQuiet, stormMost-now.Sub(s.since))
	}
}
