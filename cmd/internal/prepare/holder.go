package prepare

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// holder is who has a socket.
type holder struct {
	pid     int // 0 is nobody that can be seen from here
	program string
	unit    string // "" for none
	// unsure says that only the socket tells of it: its PID is that of whoever
	// has called listen, which may have ended, and be another one's by now.
	unsure bool
}

func (h holder) String() string {
	switch {
	case h.pid == 0:
		return "a process that can't be seen from here"
	case h.unit == "":
		return fmt.Sprintf("%s (PID %d)", h.program, h.pid)
	default:
		return fmt.Sprintf("%s (PID %d, unit %s)", h.program, h.pid, h.unit)
	}
}

// remedy is a command that ends it, or that tells more of it.
func (h holder) remedy() string {
	switch {
	case h.pid == 0:
		return "look for it with: ss -lnpx; ss -lnpt"
	case h.unsure:
		return fmt.Sprintf("that is who has listened on it, and nobody is seen to have it open; look at it with: ps -fp %d", h.pid)
	case h.pid == 1:
		return "it is a socket unit's, to be found with: systemctl list-sockets"
	case h.stoppable():
		return "stop it with: systemctl stop " + h.unit
	default:
		return fmt.Sprintf("end it with: kill %d", h.pid)
	}
}

// command is the remedy alone, for a shell.
func (h holder) command() string {
	_, command, _ := strings.Cut(h.remedy(), ": ")
	return command
}

// stoppable says that a stop of its unit stops it, and not a user's session.
func (h holder) stoppable() bool {
	return strings.HasSuffix(h.unit, ".service") && !strings.HasPrefix(h.unit, "user@")
}

// holders are the processes that have one of the sockets open, the oldest first.
func holders(inodes []uint64) []holder {
	want := map[string]bool{}
	for _, inode := range inodes {
		want[fmt.Sprintf("socket:[%d]", inode)] = true
	}
	var found []holder
	entries, _ := os.ReadDir("/proc") // without it there is nobody to be seen
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && has(pid, want) {
			found = append(found, look(pid))
		}
	}
	slices.SortFunc(found, func(a, b holder) int { return a.pid - b.pid })
	return found
}

// has says that a process has one of those open.
func has(pid int, sockets map[string]bool) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, _ := os.ReadDir(dir) // it may have ended, or be hidden from us
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		target, err := os.Readlink(filepath.Join(dir, fd.Name()))
		return err == nil && sockets[target]
	})
}

// look is what /proc says of a process.
func look(pid int) holder {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
	cgroup, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
	return holder{pid: pid, program: printable(string(comm)), unit: unitOf(string(cgroup))}
}

// printable is a program's name, which it can choose, on one line.
func printable(comm string) string {
	name := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.TrimSuffix(comm, "\n"))
	if name == "" {
		return "a program"
	}
	return name
}

// unitOf is the unit that a process is in, from its /proc/PID/cgroup: the first
// part of the path that is one and no slice. systemd's own tree is that of
// hierarchy 0, or on older systems that by its name.
func unitOf(cgroups string) string {
	for _, of := range []string{"0::", ":name=systemd:"} {
		for line := range strings.Lines(cgroups) {
			i := strings.Index(line, of)
			if i < 0 || of == "0::" && i > 0 {
				continue
			}
			for part := range strings.SplitSeq(strings.TrimSpace(line[i+len(of):]), "/") {
				part = strings.TrimPrefix(part, "_") // the escape of systemd's cgroup names
				if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
					return part
				}
			}
		}
	}
	return ""
}

// ending is how a holder is ended.
type ending string

const (
	endNot     ending = ""
	endUnit    ending = "unit"
	endProcess ending = "process"
)

// essential are units that the system does not go on without, or whose end locks
// out whoever looks after it, as path.Match has them. Their socket units have
// systemd itself for the holder.
var essential = []string{
	"init.scope", "systemd-*", // journald, logind, networkd, resolved, udevd, …
	"hero_proc.service", "dbus.service", "dbus-broker.service", "polkit.service",
	"ssh.service", "ssh@*.service", "sshd.service", "sshd@*.service", "sshd-*.service", "dropbear.service", "dropbear@*.service",
	"getty@*.service", "serial-getty@*.service", "container-getty@*.service", "console-getty.service", "getty-static.service",
	"emergency.service", "rescue.service", "debug-shell.service",
	"NetworkManager.service", "networking.service", "network.service", "ifup@*.service", "connman.service", "iwd.service",
	"wpa_supplicant.service", "wpa_supplicant@*.service", "dhcpcd.service", "dhcpcd@*.service",
	"tailscaled.service", "zerotier-one.service", "openvpn*.service", "wg-quick@*.service", "mycelium.service",
}

// isEssential says that a holder is one of those. A session of sshd, which holds
// the ports that are forwarded, and the manager of a user's units take all down
// that somebody has there, in whatever unit they are.
func isEssential(h holder) bool {
	return slices.Contains([]string{"sshd", "sshd-session", "sshd-auth", "dropbear", "systemd"}, h.program) || slices.ContainsFunc(essential, func(pattern string) bool {
		match, _ := path.Match(pattern, h.unit)
		return match
	})
}

// decideEnd says how a holder is ended that kill_others means, or why it is not.
func decideEnd(h holder, own string) (ending, string) {
	switch {
	case h.pid == 0:
		return endNot, "it can't be seen"
	case h.pid == 1:
		return endNot, "it is systemd itself"
	case h.unsure:
		return endNot, "it may have handed it on, or be another one by now"
	case isEssential(h):
		return endNot, "the system, or whoever looks after it, needs it"
	case h.unit != own && h.stoppable():
		return endUnit, ""
	default:
		return endProcess, ""
	}
}

// what is a socket or a port that is declared.
type what struct {
	words  string // "port 80", "socket /run/x"
	code   units.EventCode
	inodes []uint64
	known  int // the PID of who has it, where inodes don't lead to anybody; 0 for none
	// blind is why the kernel does not say which sockets it is.
	blind error
}

// who has it.
func (w what) who() []holder {
	if found := holders(w.inodes); len(found) > 0 {
		return found
	}
	if w.known > 0 {
		h := look(w.known)
		h.unsure = true
		return []holder{h}
	}
	return []holder{{}}
}
