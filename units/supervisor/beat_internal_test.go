package supervisor

import (
	"testing"
	"time"
)

// What the loop's tick brings is done with the first tick that is about due.
func TestDue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ago, every time.Duration
		due        bool
	}{
		{0, 30 * time.Second, false},
		{15 * time.Second, 30 * time.Second, false},
		{29 * time.Second, 30 * time.Second, true}, // a tick is early at times
		{30 * time.Second, time.Minute, false},
		{time.Minute, time.Minute, true},
		{time.Hour, time.Minute, true},
	} {
		last := time.Now().Add(-c.ago)
		before := last
		if got := due(&last, c.every); got != c.due {
			t.Errorf("%s after the last time, every %s: %t", c.ago, c.every, got)
		}
		if noted := last.After(before); noted != c.due {
			t.Errorf("%s after the last time, every %s: it was noted: %t", c.ago, c.every, noted)
		}
	}
}

// Nobody waits for what is done with a tick, and ticks do not queue up.
func TestBeat(t *testing.T) {
	t.Parallel()
	b := make(beat, 1)
	b.pass()
	b.pass()
	<-b
	select {
	case <-b:
		t.Error("the second one has waited")
	default:
	}
}
