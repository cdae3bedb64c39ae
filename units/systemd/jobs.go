package systemd

import "sync"

// jobs are the jobs whose results somebody waits for.
//
// go-systemd can wait too, but holds one lock over each of its calls, so that
// starts queue up behind each other, and believes every JobRemoved that any
// local user sends it.
type jobs struct {
	mu      sync.Mutex
	waiting map[uint32][]chan string
	// early holds results that came while some call had not yet said which
	// job it made: a job may be over before that answer was read. It is
	// empty whenever no call is under way.
	early  map[uint32]string
	calls  int
	closed bool
}

// queue runs a call that makes a job. The channel gets the job's result and
// is closed; it is closed without one when the connection breaks.
func (j *jobs) queue(call func() (int, error)) (<-chan string, error) {
	j.mu.Lock()
	j.calls++
	j.mu.Unlock()

	job, err := call()

	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls--
	id := uint32(job)
	result, over := j.early[id]
	if j.calls == 0 {
		clear(j.early)
	}
	if err != nil {
		return nil, err
	}
	if over {
		return resultOf(result), nil
	}
	ch := make(chan string, 1)
	if j.closed {
		close(ch)
		return ch, nil
	}
	if j.waiting == nil {
		j.waiting = make(map[uint32][]chan string)
	}
	// Several calls may have joined one job.
	j.waiting[id] = append(j.waiting[id], ch)
	return ch, nil
}

// finish tells a job's result.
func (j *jobs) finish(id uint32, result string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ch := range j.waiting[id] {
		ch <- result
		close(ch)
	}
	delete(j.waiting, id)
	if j.calls > 0 {
		if j.early == nil {
			j.early = make(map[uint32]string)
		}
		j.early[id] = result
	}
}

// close tells everybody that no result will come.
func (j *jobs) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for _, channels := range j.waiting {
		for _, ch := range channels {
			close(ch)
		}
	}
	clear(j.waiting)
}

// resultOf is the channel of a job that is over.
func resultOf(result string) <-chan string {
	ch := make(chan string, 1)
	ch <- result
	close(ch)
	return ch
}
