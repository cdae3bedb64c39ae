package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func queue(t *testing.T, s *Store, size int) *LogQueue {
	t.Helper()
	q := NewLogQueue(s, size)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		q.Close(ctx)
	})
	return q
}

func flush(t *testing.T, q *LogQueue) {
	t.Helper()
	if err := q.Flush(t.Context()); err != nil {
		t.Fatalf("Flush: %v", err)
	}
}

func messages(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := s.Logs(t.Context(), units.LogFilter{Limit: units.MaxLogLimit})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Message)
	}
	return all
}

func event(message string) units.Event {
	return units.Event{Source: units.SourceStore, Level: units.LevelError, Message: message}
}

func TestFlushedEventsAreOnTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	q := queue(t, s, 4*maxBatch)
	const n = 2*maxBatch + 1
	for i := range n {
		q.Append(event(fmt.Sprint(i)))
	}
	flush(t, q)
	got := messages(t, open(t, crash(t, dir)))
	if len(got) != n || q.Dropped() != 0 {
		t.Fatalf("%d events on the disk, %d dropped; want %d, 0", len(got), q.Dropped(), n)
	}
	for i, message := range got {
		if message != fmt.Sprint(i) {
			t.Fatalf("event %d is %q", i, message)
		}
	}
	flush(t, q) // with nothing to do
}

// Nobody has to flush.
func TestAppendedEventsAreWritten(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	q := queue(t, s, 10)
	q.Append(units.Event{Message: "bare"})
	deadline := time.Now().Add(10 * time.Second)
	for len(messages(t, s)) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("never written")
		}
	}
	entries, err := s.Logs(t.Context(), units.LogFilter{})
	if err != nil || entries[0].Time.IsZero() || entries[0].Level != units.LevelInfo {
		t.Errorf("without a time and a level: %+v, %v", entries, err)
	}
}

func TestQueueIsBoundedAndCountsWhatItDrops(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	letGo := hold(t, s)
	const size, senders, each = 20, 5, 30
	q := queue(t, s, size)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				q.Append(event("x")) // never blocks: the writer is held
			}
		})
	}
	wg.Wait()
	if got := q.Dropped(); got != senders*each-size {
		t.Errorf("%d dropped, want %d", got, senders*each-size)
	}
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantCode(t, q.Flush(late), units.CodeTimeout)
	letGo()
	flush(t, q)
	q.Append(event("after"))
	flush(t, q)
	if got := len(messages(t, s)); got != size+1 || q.Dropped() != senders*each-size {
		t.Errorf("%d written, %d dropped", got, q.Dropped())
	}
}

func TestFullDiskKeepsTheQueue(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	undo := fillDisk(t, s)
	const size = 8
	q := queue(t, s, size)
	for range size + 2 {
		q.Append(event(strings.Repeat("x", 10_000)))
	}
	for range 2 {
		wantCode(t, q.Flush(t.Context()), units.CodeStoreFull)
	}
	if got := q.Dropped(); got != 2 {
		t.Errorf("%d dropped, want 2", got)
	}
	undo()
	flush(t, q)
	if got := len(messages(t, s)); got != size || q.Dropped() != 2 {
		t.Errorf("%d written, %d dropped; want %d, 2", got, q.Dropped(), size)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	q := NewLogQueue(s, 10)
	q.Append(event("one"))
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.Append(event("too late"))
	if got := messages(t, s); len(got) != 1 || q.Dropped() != 1 {
		t.Errorf("written %q, %d dropped", got, q.Dropped())
	}
	if err := q.Flush(t.Context()); err == nil {
		t.Error("Flush of a closed queue says that all is written")
	}
	if err := q.Close(t.Context()); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func TestCloseGivesUpInTime(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	letGo := hold(t, s)
	q := NewLogQueue(s, 10)
	for range 3 {
		q.Append(event("x"))
	}
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantCode(t, q.Close(late), units.CodeTimeout)
	letGo()
	if got := messages(t, s); len(got) > 0 || q.Dropped() != 3 {
		t.Errorf("written %q, %d dropped; want none, 3", got, q.Dropped())
	}
}
