package main

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// daemonProgram is what is executed to start the daemon.
const daemonProgram = "/usr/bin/hero_proc_server"

// execs are the moments at which a program was executed. systemd's own time is
// that of its fork: it makes a sandbox between the two.
type execs struct {
	fd int
	mu sync.Mutex
	at []time.Time
}

// watchExecs hears from the kernel when the program's file is opened, which
// nobody does but to execute it: inotify(7).
func watchExecs(program string) (*execs, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if _, err := syscall.InotifyAddWatch(fd, program, syscall.IN_OPEN); err != nil {
		return nil, fmt.Errorf("cannot watch %s: %w", program, err)
	}
	e := &execs{fd: fd}
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := syscall.Read(fd, buf); err != nil {
				return
			}
			e.mu.Lock()
			e.at = append(e.at, time.Now())
			e.mu.Unlock()
		}
	}()
	return e, nil
}

// last is the last moment before that one.
func (e *execs) last(before time.Time) (at time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.at {
		if t.Before(before) {
			at = t
		}
	}
	if at.IsZero() {
		err = fmt.Errorf("the daemon was not executed before %s", before)
	}
	return at, err
}
