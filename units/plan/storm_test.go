package plan

import (
	"fmt"
	"testing"
	"time"
)

func TestStorm(t *testing.T) {
	t.Parallel()
	many := func(from, n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("hero-core-s%d.service", from+i))
		}
		return names
	}
	type change struct {
		after time.Duration // since the first
		units []string
		want  time.Duration
	}
	const ms = time.Millisecond
	// A storm that goes on: units change every 40 ms, without an end.
	var endless []change
	for at := time.Duration(0); at < stormMost; at += 40 * ms {
		endless = append(endless, change{at, many(0, stormUnits+1), min(stormQuiet, stormMost-at)})
	}
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		changes []change
	}{
		{"one unit is read at once", []change{{0, many(0, 1), 0}}},
		{"so are a few", []change{{0, many(0, stormUnits), 0}}},
		{"one that changes often is not many", []change{{0, many(0, 1), 0}, {1 * ms, many(0, 1), 0}, {2 * ms, many(0, 1), 0}}},
		{"many at once wait", []change{{0, many(0, stormUnits+1), stormQuiet}}},
		{"many one after the other wait from when they are many", []change{{0, many(0, 8), 0}, {50 * ms, many(8, 8), 0}, {90 * ms, many(16, 1), stormQuiet}}},
		{"few in each window are no storm", []change{{0, many(0, 16), 0}, {100 * ms, many(16, 16), 0}, {200 * ms, many(32, 16), 0}}},
		{"a few more in the storm wait too", []change{{0, many(0, 100), stormQuiet}, {49 * ms, many(0, 1), stormQuiet}}},
		{"after a quiet time they do not", []change{{0, many(0, 100), stormQuiet}, {100 * ms, many(0, 1), 0}}},
		{"a storm that does not end is interrupted", append(endless, change{stormMost, many(0, 1), 0}, change{stormMost + 40*ms, many(0, 1), stormQuiet})},
	} {
		var s Storm
		for i, c := range tt.changes {
			if got := s.Wait(c.units, begun.Add(c.after)); got != c.want {
				t.Errorf("%s: after %s (%d.) it waits %s, want %s", tt.name, c.after, i+1, got, c.want)
			}
		}
	}
}

// One that was announced is one from the first unit on.
func TestStormThatWasAnnounced(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]time.Duration{
		0: stormQuiet, stormQuiet - 1: stormQuiet, stormQuiet: 0,
	} {
		var s Storm
		if got := s.Begin(begun); got != stormMost {
			t.Errorf("where no unit changes it waits %s, want %s", got, stormMost)
		}
		if got := s.Wait([]string{"hero-core-a.service"}, begun.Add(after)); got != want {
			t.Errorf("%s after it was announced, it waits %s, want %s", after, got, want)
		}
	}
}
