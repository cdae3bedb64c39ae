package machine

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// notices are the sd_notify(3) messages of a systemd-nspawn: the guest's PID
// as soon as there is one, and READY=1 when the guest's systemd has finished
// its start.
type notices struct {
	address string // as NOTIFY_SOCKET takes it
	conn    *net.UnixConn
}

type notice struct {
	leader int
	ready  bool
}

func listenNotify(id string) (*notices, error) {
	// An abstract socket: it needs no place on the disk and no short path.
	address := "@hero_proc-machine-" + id
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the machine's notices: %w", err)
	}
	return &notices{address, conn}, nil
}

func (n *notices) Close() error { return n.conn.Close() }

// interrupt ends a waiting next.
func (n *notices) interrupt() { _ = n.conn.SetReadDeadline(time.Unix(1, 0)) }

func (n *notices) next() (notice, error) {
	buf := make([]byte, 4096)
	size, err := n.conn.Read(buf)
	if err != nil {
		return notice{}, err
	}
	var got notice
	for line := range strings.Lines(string(buf[:size])) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "X_NSPAWN_LEADER_PID":
			if got.leader, err = strconv.Atoi(value); err != nil {
				return notice{}, err
			}
		case "READY":
			got.ready = value == "1"
		}
	}
	return got, nil
}

// console keeps what the machine prints to its console.
type console struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}
