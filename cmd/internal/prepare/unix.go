package prepare

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bound are the sockets that have names: proc(5), /proc/net/unix.
func bound(r io.Reader) (map[string][]uint64, error) {
	all := map[string][]uint64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path
		line := lines.Text()
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		inode, err := strconv.ParseUint(f[6], 10, 64)
		_, path, ok := strings.Cut(line, " "+f[6]+" ")
		if err == nil && ok && strings.HasPrefix(path, "/") {
			all[path] = append(all[path], inode)
		}
	}
	return all, lines.Err()
}

// finding is what is at a socket's path.
type finding int

const (
	nothing finding = iota
	stale           // a socket that nobody has
	live            // a socket that somebody has
	other           // no socket at all
)

// judge says what is at a path, from what lstat says of it, how a connection to
// it went, and whether the kernel knows a socket of that name.
func judge(info fs.FileInfo, statErr, connErr error, known bool) finding {
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
		return nothing
	case statErr != nil:
		return live // it can't be known, and must not be removed
	case info.Mode().Type() != fs.ModeSocket:
		return other
	case errors.Is(connErr, syscall.ECONNREFUSED) && !known:
		return stale
	case errors.Is(connErr, fs.ErrNotExist):
		return nothing
	}
	return live // it answers, has no time to, is of another type, or does not listen yet
}

// answerTimeout is how long a server may take to have a connection.
const answerTimeout = 2 * time.Second

// connect connects to a socket, and says who listens on it.
func connect(ctx context.Context, path string) (pid int, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // nothing was said
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, nil
	}
	_ = raw.Control(func(fd uintptr) {
		if peer, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	})
	return pid, nil
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
		w.known, connErr = connect(ctx, opened(fd))
		if w.inodes, err = inodesOf(path, int(dir.Fd())); err != nil {
			return nothing, w, err
		}
	}
	found = judge(info, statErr, connErr, len(w.inodes) > 0)
	if found == stale {
		err = root.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return found, w, err
}

// opened is the path of what a descriptor has open: proc(5).
func opened(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// inodesOf are the sockets of that name, however the path to it is written; dir
// is its directory.
func inodesOf(path string, dir int) ([]uint64, error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	all, err := bound(f)
	if err != nil {
		return nil, err
	}
	inodes := all[path]
	if real, err := os.Readlink(opened(dir)); err == nil && real != filepath.Dir(path) {
		inodes = append(inodes, all[filepath.Join(real, filepath.Base(path))]...)
	}
	return inodes, nil
}
