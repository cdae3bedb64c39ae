package prepare

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// listener is a TCP socket that somebody listens on.
type listener struct {
	addr  netip.AddrPort
	inode uint64
}

// listeners reads those of this network namespace: proc(5), /proc/net/tcp.
func listeners() ([]listener, error) {
	var all []listener
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		list, err := parseListeners(f)
		_ = f.Close() // it was only read
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// stateListen is TCP_LISTEN, as the kernel prints it.
const stateListen = "0A"

func parseListeners(r io.Reader) ([]listener, error) {
	var all []listener
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != stateListen {
			continue
		}
		addr, ok := parseAddress(f[1])
		inode, err := strconv.ParseUint(f[9], 10, 64)
		if ok && err == nil {
			all = append(all, listener{addr, inode})
		}
	}
	return all, lines.Err()
}

// parseAddress reads HEX:PORT, where HEX is the address in words of 32 bits
// as the machine has them; all that we build for are little-endian.
func parseAddress(s string) (netip.AddrPort, bool) {
	text, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(text)
	number, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), ok
}

// overlap is how a listener stands in the way of a port.
type overlap int

const (
	apart  overlap = iota
	same           // both can't be
	unsure         // that depends on the listener's options: IPV6_V6ONLY
)

// compare says whether somebody who listens there is in the way of one who is
// to listen on the port. A port without an address is on every one; one on
// [::] is on those of IPv6.
func compare(p units.Port, l netip.AddrPort) overlap {
	switch {
	case p.Number != l.Port():
		return apart
	case !p.Addr.IsValid(), p.Addr == l.Addr():
		return same
	case p.Addr.Is4() && l.Addr() == netip.IPv6Unspecified():
		return unsure
	case p.Addr.Is4() != l.Addr().Is4():
		return apart
	case p.Addr.IsUnspecified(), l.Addr().IsUnspecified():
		return same
	}
	return apart
}

// taken are the sockets that are in the way of a port.
func taken(p units.Port, all []listener, free func(units.Port) bool) []uint64 {
	var inodes []uint64
	for _, l := range all {
		if o := compare(p, l.addr); o == same || o == unsure && !free(p) {
			inodes = append(inodes, l.inode)
		}
	}
	return inodes
}

// isFree tries to listen on a port, for a moment.
func isFree(p units.Port) bool {
	l, err := net.Listen("tcp4", p.String())
	if err == nil {
		_ = l.Close() // nobody has come
	}
	return !errors.Is(err, syscall.EADDRINUSE)
}
