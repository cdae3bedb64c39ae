package prepare

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// place is where a socket is bound, as the kernel has it: the device of its file
// system, and the lower half of its inode.
type place struct{ inode, device uint32 }

// The parts of sock_diag(7) that are used; from linux/unix_diag.h.
const (
	diagShowVFS = 1 << 1 // UDIAG_SHOW_VFS
	diagVFS     = 1      // UNIX_DIAG_VFS

	requestSize = 24 // struct unix_diag_req
	replySize   = 16 // struct unix_diag_msg

	stateEstablished = 1
)

// bound are the inodes of the sockets that are bound there. It asks for where,
// and not for names: /proc/net/unix prints these as they are, so that anybody
// has lines of his own in it; and in another mount namespace a name is
// another's. It fails without unix_diag in the kernel, or where
// RestrictAddressFamilies= is without AF_NETLINK.
func bound(at place) ([]uint64, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // nothing is on its way
	request := make([]byte, requestSize)
	request[0] = syscall.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // in all states
	binary.NativeEndian.PutUint32(request[12:], diagShowVFS)
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   request,
	})
	if err != nil {
		return nil, err
	}
	var inodes []uint64
	for _, r := range replies {
		inode, where, err := parseReply(r.Data)
		if err != nil {
			return nil, err
		}
		if inode != 0 && where == at {
			inodes = append(inodes, inode)
		}
	}
	return inodes, nil
}

// parseReply reads a struct unix_diag_msg with its attributes. The inode is 0 for
// what isn't bound itself: a connection is where its listener is.
func parseReply(data []byte) (inode uint64, at place, err error) {
	if len(data) < replySize {
		return 0, at, fmt.Errorf("the kernel tells of a socket in %d bytes", len(data))
	}
	if kind, state := data[1], data[2]; kind != syscall.SOCK_DGRAM && state == stateEstablished {
		return 0, at, nil
	}
	attributes, err := netlink.NewAttributeDecoder(data[replySize:])
	if err != nil {
		return 0, at, err
	}
	for attributes.Next() {
		if vfs := attributes.Bytes(); attributes.Type() == diagVFS && len(vfs) >= 8 {
			inode = uint64(binary.NativeEndian.Uint32(data[4:]))
			at = place{binary.NativeEndian.Uint32(vfs), binary.NativeEndian.Uint32(vfs[4:])}
		}
	}
	return inode, at, attributes.Err()
}

// placeOf is where an inode is that is open. What stat(2) says of its device is
// the file system's own idea (btrfs), so it is taken from its mount.
func placeOf(fd int) (at place, err error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return at, err
	}
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return at, err
	}
	mount := ""
	for line := range strings.Lines(string(info)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			mount = strings.TrimSpace(id)
		}
	}
	device, err := deviceOf(mount)
	return place{uint32(stat.Ino), device}, err
}

// deviceOf is the device of a mount: proc(5), /proc/PID/mountinfo.
func deviceOf(mount string) (uint32, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// ID PARENT MAJOR:MINOR …
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[0] != mount {
			continue
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(fields[2], "%d:%d", &major, &minor); err != nil {
			return 0, err
		}
		return major<<20 | minor, nil // MKDEV of the kernel
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("there is no mount %q", mount)
}
