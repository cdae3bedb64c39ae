package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	// maxBatch rows are written in one transaction: one fsync for all of
	// them, and yet other writers come in between.
	maxBatch = 500
	// retryAfter is how long after a failed write the next one is tried.
	retryAfter = 5 * time.Second
)

var errClosed = errors.New("the log queue is closed")

// LogQueue lies before the logs table, so that whoever has something to say
// never waits for a disk. It is bounded, and counts what does not fit.
type LogQueue struct {
	store *Store
	size  int

	mu      sync.Mutex
	waiting []units.Event // not on the disk yet, also while they are written
	dropped uint64
	closed  bool

	wake    chan struct{}   // has a value when something waits
	flushes chan chan error // asks for a write now, and for its error
	cancel  context.CancelFunc
	done    chan struct{} // closed when the writer is gone
}

// NewLogQueue starts the one goroutine that writes. size is the number of
// events that may wait; Close ends it.
func NewLogQueue(s *Store, size int) *LogQueue {
	ctx, cancel := context.WithCancel(context.Background())
	q := &LogQueue{
		store:   s,
		size:    size,
		wake:    make(chan struct{}, 1),
		flushes: make(chan chan error),
		cancel:  cancel,
		done:    make(chan struct{}),
	}
	go q.run(ctx)
	return q
}

// Append takes an event, or drops and counts it if the queue is full. It never
// blocks. A zero time is now.
func (q *LogQueue) Append(e units.Event) {
	if e.Time.IsZero() {
		e.Time = q.store.now()
	}
	switch e.Level {
	case units.LevelError, units.LevelWarning, units.LevelInfo:
	default:
		// The table would refuse it, and with it all that waits.
		e.Level = units.LevelInfo
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.waiting) >= q.size {
		q.dropped++
		return
	}
	q.waiting = append(q.waiting, e)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Dropped is how many events were not, and never will be, written.
func (q *LogQueue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Flush returns when all that was appended before is on the disk. On an error
// it waits in the queue as before, and is tried again.
func (q *LogQueue) Flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case q.flushes <- reply:
	case <-q.done:
		return errClosed
	case <-ctx.Done():
		return q.store.fail(ctx, "write the logs", ctx.Err())
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return q.store.fail(ctx, "write the logs", ctx.Err())
	}
}

// Close writes what waits, as long as ctx lasts, and ends the goroutine. What
// could not be written is counted as dropped.
func (q *LogQueue) Close(ctx context.Context) error {
	q.mu.Lock()
	again := q.closed
	q.closed = true
	q.mu.Unlock()
	var err error
	if !again {
		err = q.Flush(ctx)
	}
	q.cancel()
	<-q.done
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += uint64(len(q.waiting))
	q.waiting = nil
	return err
}

// run is the writer.
func (q *LogQueue) run(ctx context.Context) {
	defer close(q.done)
	retry := time.NewTimer(retryAfter)
	retry.Stop()
	defer retry.Stop()
	failing := false
	for {
		wake := q.wake
		if failing {
			wake = nil // new events don't make a full disk emptier
		}
		var err error
		select {
		case <-wake:
			err = q.drain(ctx)
		case <-retry.C:
			err = q.drain(ctx)
		case reply := <-q.flushes:
			err = q.drain(ctx)
			reply <- err
		case <-ctx.Done():
			return
		}
		if err != nil && ctx.Err() == nil {
			if !failing {
				q.store.log.Warn("cannot write the logs table, keeping what fits and trying again", "error", err)
			}
			retry.Reset(retryAfter)
		}
		failing = err != nil
	}
}

// drain writes what waits when it is called.
func (q *LogQueue) drain(ctx context.Context) error {
	q.mu.Lock()
	left := len(q.waiting)
	q.mu.Unlock()
	for left > 0 {
		q.mu.Lock()
		batch := slices.Clone(q.waiting[:min(left, maxBatch)])
		q.mu.Unlock()
		if err := q.store.appendLogs(ctx, batch); err != nil {
			return err
		}
		left -= len(batch)
		q.mu.Lock()
		q.waiting = slices.Delete(q.waiting, 0, len(batch))
		q.mu.Unlock()
	}
	return nil
}
