package units

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Preparing is what has to be free before an action starts.
type Preparing struct {
	Sockets []string // paths of unix sockets that it will listen on
	Ports   []string // TCP ports that it will listen on, as [ParsePort] reads them
	// KillOthers ends whoever has one of them; otherwise the start is refused.
	KillOthers bool
}

// Any says that there is something to look at.
func (p Preparing) Any() bool { return len(p.Sockets) > 0 || len(p.Ports) > 0 }

// NotStarted begins what is said, as the unit's status, when an action was
// not started because somebody has what it needs.
const NotStarted = "not started: "

// Port is a TCP port to listen on. Without a valid address it is on all.
type Port struct {
	Addr   netip.Addr
	Number uint16
}

// String is the port as people write it.
func (p Port) String() string {
	if p.Addr.IsValid() {
		return netip.AddrPortFrom(p.Addr, p.Number).String()
	}
	return strconv.Itoa(int(p.Number))
}

// ParsePort reads [HOST:]PORT. HOST is an address of IPv4, or one of IPv6 in
// brackets: a name may stand for several, and for others tomorrow.
func ParsePort(text string) (Port, error) {
	var p Port
	number := text
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		host := text[:i]
		number = text[i+1:]
		inner, bracketed := strings.CutPrefix(host, "[")
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if err != nil || bracketed != closed || bracketed != addr.Is6() || addr.Zone() != "" {
			return Port{}, errors.New(`has no valid host; want an address such as 127.0.0.1 or [::1], or the port alone`)
		}
		p.Addr = addr.Unmap()
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != number {
		return Port{}, errors.New("has no port from 1 to 65535; want [HOST:]PORT")
	}
	p.Number = uint16(n)
	return p, nil
}

// maxDeclared bounds what is looked at before each start.
const maxDeclared = 64

var (
	socketsKind = declaredKind("a list of absolute paths of unix sockets", checkSocket)
	portsKind   = declaredKind("a list of TCP ports, [HOST:]PORT", func(s string) error { _, err := ParsePort(s); return err })
)

func declaredKind(want string, check func(string) error) kind[[]string] {
	return kind[[]string]{want, decodeList, encodeList, func(p *problems, path string, list []string) {
		if len(list) > maxDeclared {
			p.add(path, "has %d entries; want at most %d", len(list), maxDeclared)
			return
		}
		for i, s := range list {
			at := fmt.Sprintf("%s[%d]", path, i)
			if err := check(s); err != nil {
				p.add(at, "%v", err)
			} else if slices.Contains(list[:i], s) {
				p.add(at, "was given before; want each once")
			}
		}
	}}
}

func checkSocket(path string) error {
	_, err := parseSocket(ProbeConnect, path)
	return err
}

// checkPreparing looks at how the fields about what has to be free go together.
func checkPreparing(p *problems, a *Action) {
	switch {
	case a.Any() && !a.Process:
		name := "sockets"
		if len(a.Sockets) == 0 {
			name = "ports"
		}
		p.add(name, "is given, and the action is no process; want nothing, or is_process")
	case a.KillOthers && !a.Any():
		p.add("kill_others", "is true without sockets or ports; want one of these, or nothing")
	}
}
