package wire

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// FilesMember is the one method of [ManagerInterface] that takes file
// descriptors, FilesSignature what it is called with, and maxFiles how many.
const (
	FilesMember    = "RunJobWithFiles"
	FilesSignature = "a{sv}hhht"
	maxFiles       = 3
)

// Bounds of the descriptors that nobody has taken yet. A call is answered by a
// goroutine of its own, which takes its descriptors first of all, so that they
// wait for some microseconds.
const (
	maxWaiting = 256 // calls
	maxWait    = 30 * time.Second
)

// Files are the file descriptors that came with calls, until [Files.Take]. The
// zero value is ready for use.
type Files struct {
	mu      sync.Mutex
	waiting map[callID]waitingFiles
}

// callID tells a call from all others on one bus.
type callID struct {
	sender string
	serial uint32
}

type waitingFiles struct {
	of    *guard
	fds   []int
	since time.Time
}

// Take hands over the descriptors that came with a call, which are the
// caller's to close; most calls have none.
func (f *Files) Take(sender string, serial uint32) []int {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := callID{sender, serial}
	fds := f.waiting[id].fds
	delete(f.waiting, id)
	return fds
}

// put keeps descriptors for a call, unless there are too many already. What
// nobody took in time, since godbus had its own ideas of the call, is closed.
func (f *Files) put(id callID, fds []int, of *guard) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for other, w := range f.waiting {
		if other == id || now.Sub(w.since) > maxWait {
			CloseFiles(w.fds)
			delete(f.waiting, other)
		}
	}
	if len(f.waiting) >= maxWaiting {
		return false
	}
	if f.waiting == nil {
		f.waiting = map[callID]waitingFiles{}
	}
	f.waiting[id] = waitingFiles{of, fds, now}
	return true
}

// drop closes what came over a connection that is gone.
func (f *Files) drop(of *guard) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, w := range f.waiting {
		if w.of == of {
			CloseFiles(w.fds)
			delete(f.waiting, id)
		}
	}
}

// CloseFiles closes descriptors; there is nothing to be done about an error.
func CloseFiles(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}

// receiver reads from a socket, and keeps the descriptors that come along, in
// their order. One read has those of one message at most: unix(7), SCM_RIGHTS.
type receiver struct {
	*net.UnixConn
	mu     sync.Mutex
	fds    []int
	closed bool
	oob    []byte
}

// maxRights is how many descriptors the kernel takes at once: SCM_MAX_FD.
const maxRights = 253

func (r *receiver) Read(p []byte) (int, error) {
	if r.oob == nil {
		r.oob = make([]byte, syscall.CmsgSpace(maxRights*4))
	}
	n, oobn, _, _, err := r.ReadMsgUnix(p, r.oob) // with MSG_CMSG_CLOEXEC
	if oobn > 0 {
		r.keep(r.oob[:oobn])
	}
	return max(n, 0), err
}

func (r *receiver) keep(oob []byte) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		r.mu.Lock()
		if r.closed {
			CloseFiles(fds)
		} else {
			r.fds = append(r.fds, fds...)
		}
		r.mu.Unlock()
	}
}

// waiting says that descriptors are there which belong to no message yet.
func (r *receiver) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.fds) > 0
}

// take is the descriptors of the next message, which says that it has n. None
// are there for it where they had to be forgotten.
func (r *receiver) take(n uint32) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(n) > int64(len(r.fds)) {
		CloseFiles(r.fds)
		r.fds = nil
		return nil
	}
	fds := r.fds[:n:n]
	r.fds = r.fds[n:]
	return fds
}

// forget closes what waits: whose it is can't be told, since a header can't be
// read. It is almost surely that message's, as one read brings the descriptors
// of one; if it was another's too, that one is refused.
func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	CloseFiles(r.fds)
	r.fds = nil
}

// release closes what no message has taken.
func (r *receiver) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	CloseFiles(r.fds)
	r.fds, r.closed = nil, true
}
