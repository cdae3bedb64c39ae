package prepare

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// finding is what is at a socket's path.
type finding int

const (
	nothing finding = iota
	stale           // a socket that nobody has
	live            // a socket that somebody has, or may have
	other           // no socket at all
)

// judge says what is at a path, from what lstat says of it, and how a datagram
// socket was connected to it: only an inode that no socket is bound to refuses
// that, and none is ever bound to it later. One that is bound and of another
// type is EPROTOTYPE, whether it listens or not. No server sees any of it.
func judge(info fs.FileInfo, statErr, connErr error) finding {
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return nothing
	case statErr != nil:
		return live // it can't be known, and must not be removed
	case info.Mode().Type() != fs.ModeSocket:
		return other
	case errors.Is(connErr, syscall.ECONNREFUSED):
		return stale
	case errors.Is(connErr, fs.ErrNotExist):
		return nothing
	}
	return live
}

// answerTimeout is how long a server may take to have a connection.
const answerTimeout = 2 * time.Second

// connect connects to a socket.
func connect(ctx context.Context, network, path string) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// attach connects a datagram socket to whatever is bound there.
func attach(ctx context.Context, path string) error {
	conn, err := connect(ctx, "unixgram", path)
	if err == nil {
		_ = conn.Close() // nothing was said
	}
	return err
}

// listening is the PID of who listens there, if it accepts connections.
func listening(ctx context.Context, path string) (pid int) {
	conn, err := connect(ctx, "unix", path)
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close() }() // nothing was said
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	return pid
}

// oPath opens an inode, whatever it is, for its identity alone: open(2), O_PATH.
const oPath = 0x200000

// examine looks at what is at a socket's path, and removes it if it is stale.
// Its directory and the socket are opened once, and all goes by these: who can
// change the path meanwhile can have nothing removed elsewhere, nor have
// somebody else's server taken for the holder.
func examine(ctx context.Context, path string) (found finding, w what, err error) {
	w.words = "socket " + path
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nothing, w, nil
	}
	if err != nil {
		return nothing, w, err
	}
	defer func() { _ = root.Close() }() // nothing was written
	dir, err := root.Open(".")
	if err != nil {
		return nothing, w, err
	}
	defer func() { _ = dir.Close() }() // nothing was written
	name := filepath.Base(path)
	var info fs.FileInfo
	var connErr error
	fd, statErr := syscall.Openat(int(dir.Fd()), name, oPath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if statErr == nil {
		inode := os.NewFile(uintptr(fd), path)
		defer func() { _ = inode.Close() }() // nothing was written
		info, statErr = inode.Stat()
	}
	if statErr == nil && info.Mode().Type() == fs.ModeSocket {
		connErr = attach(ctx, opened(fd))
	}
	found = judge(info, statErr, connErr)
	switch {
	case found == live && statErr == nil:
		w.known = listening(ctx, opened(fd))
		at, err := placeOf(fd)
		if err == nil {
			w.inodes, err = bound(at)
		}
		w.blind = err
	case found == stale:
		err = root.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return found, w, err
}

// opened is the path of what a descriptor has open: proc(5).
func opened(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
