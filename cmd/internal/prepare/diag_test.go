package prepare

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// inodeOf is the socket that a listener has.
func inodeOf(t *testing.T, l syscall.Conn) uint64 {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var stat syscall.Stat_t
	if cerr := raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &stat) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return stat.Ino
}

func (f finding) String() string { return [...]string{"nothing", "stale", "live", "other"}[f] }

func looksLike(t *testing.T, path string, want finding, inodes ...uint64) {
	t.Helper()
	found, w, err := examine(t.Context(), path)
	if err != nil || w.blind != nil || found != want || !slices.Equal(w.inodes, inodes) {
		t.Errorf("%s is %s, of the sockets %v (%v, %v); want %s, of %v", path, found, w.inodes, err, w.blind, want, inodes)
	}
}

// Anybody can have lines of his own in /proc/net/unix: a name in the abstract
// namespace may have line breaks, and is printed as it is.
func TestForgedNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "stale"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	mine := inodeOf(t, listen(t, "unix", filepath.Join(dir, "live")).(*net.UnixListener))
	innocent := inodeOf(t, listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener))
	for _, name := range []string{"stale", "live"} {
		lie := fmt.Sprintf("@\n0: 2 0 10000 1 1 %d %s/%s", innocent, dir, name)
		listen(t, "unix", lie)
		if printed, err := os.ReadFile("/proc/net/unix"); err != nil || !strings.Contains(string(printed), lie[1:]) {
			t.Errorf("the kernel prints it otherwise (%v):\n%s", err, printed)
		}
	}
	looksLike(t, filepath.Join(dir, "stale"), stale)
	looksLike(t, filepath.Join(dir, "live"), live, mine)
}

// A socket is known by where it is, whatever it was called when it was bound.
func TestASocketUnderAnotherName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	first := listen(t, "unix", path).(*net.UnixListener)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	second := listen(t, "unix", path).(*net.UnixListener)
	looksLike(t, path+".old", live, inodeOf(t, first))
	looksLike(t, path, live, inodeOf(t, second))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	looksLike(t, filepath.Join(link, "s"), live, inodeOf(t, second))
}

// A socket may be bound and not listen yet, or no more: that it is there is seen
// without the kernel's list.
func TestASocketThatIsOnlyBound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_SEQPACKET, syscall.SOCK_DGRAM} {
		fd, err := syscall.Socket(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(err)
		}
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			t.Fatal(err)
		}
		looksLike(t, path, live, stat.Ino)
		_ = syscall.Close(fd)
		looksLike(t, path, stale)
		looksLike(t, path, nothing)
	}
}

// A connection is no listener: what has ended with some of its connections
// still open, in other processes, has left a stale socket.
func TestAConnectionThatIsLeft(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, "unix", path).(*net.UnixListener)
	l.SetUnlinkOnClose(false)
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	looksLike(t, path, live, inodeOf(t, l))
	_ = l.Close()
	looksLike(t, path, stale)
}

func TestParseReply(t *testing.T) {
	t.Parallel()
	const (
		head = "01010a00" + "11000000" + "0000000000000000" // a listener with the inode 17
		name = "0600" + "0000" + "2f780000"                 // UNIX_DIAG_NAME, "/x"
		vfs  = "0c00" + "0100" + "05000000" + "1a000000"    // UNIX_DIAG_VFS: 5 on 0:26
	)
	for _, tt := range []struct {
		name, data string
		inode      uint64
		at         place
		fails      bool
	}{
		{"a listener", head + name + vfs, 17, place{5, 26}, false},
		{"one without a path", head + name, 0, place{}, false},
		{"nothing more", head, 0, place{}, false},
		{"a connection", "010101" + head[6:] + vfs, 0, place{}, false},
		{"datagrams, to one alone", "010201" + head[6:] + vfs, 17, place{5, 26}, false},
		{"too short", head[2:], 0, place{}, true},
		{"empty", "", 0, place{}, true},
		{"an attribute that is cut off", head + vfs[:16], 0, place{}, true},
		{"half a place", head + "0800" + "0100" + "05000000", 0, place{}, false},
	} {
		data, err := hex.DecodeString(tt.data)
		if err != nil {
			t.Fatal(err)
		}
		inode, at, err := parseReply(data)
		if inode != tt.inode || tt.inode != 0 && at != tt.at || (err != nil) != tt.fails {
			t.Errorf("%s: %d at %v (%v), want %d at %v", tt.name, inode, at, err, tt.inode, tt.at)
		}
	}
}

func TestDeviceOf(t *testing.T) {
	t.Parallel()
	for _, mount := range []string{"", "nonsense", "0"} {
		if device, err := deviceOf(mount); err == nil {
			t.Errorf("the mount %q is of the device %d, want an error", mount, device)
		}
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	if at, err := placeOf(int(dir.Fd())); err != nil || at.inode == 0 || at.device == 0 {
		t.Errorf("the directory is at %v, %v", at, err)
	}
}
