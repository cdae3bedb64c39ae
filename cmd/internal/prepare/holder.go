package prepare

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// holder is who has a socket.
type holder struct {
	pid     int    // 0 is nobody that can be seen from here
	program string // what it calls itself
	image   string // the name of the file that it runs, if that is root's
	unit    string // "" for none
	// handed says that the socket was made by another user, who may have handed
	// it over as to have somebody else in the way.
	handed bool
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

// holders are the processes that have one of the sockets open, the oldest first,
// and those to which it may have been handed over last.
func holders(inodes []uint64) []holder {
	want := map[string]bool{}
	for _, inode := range inodes {
		want[fmt.Sprintf("socket:[%d]", inode)] = true
	}
	var found []holder
	entries, _ := os.ReadDir("/proc") // without it there is nobody to be seen
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if owners := has(pid, want); len(owners) > 0 {
			h := look(pid)
			status, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "status"))
			h.handed = handedOver(owners, usersOf(string(status)))
			found = append(found, h)
		}
	}
	slices.SortFunc(found, func(a, b holder) int {
		if a.handed == b.handed {
			return a.pid - b.pid
		}
		if b.handed {
			return -1
		}
		return 1
	})
	return found
}

// has are the users who made those of the sockets that a process has open.
func has(pid int, sockets map[string]bool) (owners []uint32) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, _ := os.ReadDir(dir) // it may have ended, or be hidden from us
	for _, fd := range fds {
		name := filepath.Join(dir, fd.Name())
		if target, err := os.Readlink(name); err != nil || !sockets[target] {
			continue
		}
		var stat syscall.Stat_t
		if err := syscall.Stat(name, &stat); err == nil {
			owners = append(owners, stat.Uid)
		}
	}
	return owners
}

// usersOf are the users that a process runs as, real, effective and saved: proc(5),
// /proc/PID/status.
func usersOf(status string) []uint32 {
	var users []uint32
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			for id := range strings.FieldsSeq(ids) {
				if n, err := strconv.ParseUint(id, 10, 32); err == nil {
					users = append(users, uint32(n))
				}
			}
		}
	}
	return users
}

// handedOver says that a process with these users can't have made any of the
// sockets. One that root has made is for others: a socket unit's, or that of who
// has become another user since.
func handedOver(owners, users []uint32) bool {
	return !slices.ContainsFunc(owners, func(owner uint32) bool { return owner == 0 || slices.Contains(users, owner) })
}

// look is what /proc says of a process.
func look(pid int) holder {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
	cgroup, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
	return holder{pid: pid, program: printable(string(comm)), image: imageOf(dir), unit: unitOf(string(cgroup))}
}

// imageOf is the name of the file that a process runs, "" unless that is root's.
func imageOf(dir string) string {
	exe := filepath.Join(dir, "exe")
	file, err := os.Readlink(exe)
	var stat syscall.Stat_t
	if err != nil || syscall.Stat(exe, &stat) != nil || stat.Uid != 0 {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(file), " (deleted)") // as after an upgrade
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
// that somebody has there, in whatever unit they are: known by what they run, as
// anybody can call himself sshd. (Who runs one of these himself has no more of it
// than of a port that he has forwarded.)
func isEssential(h holder) bool {
	return slices.Contains([]string{"sshd", "sshd-session", "sshd-auth", "dropbear", "systemd"}, h.image) || slices.ContainsFunc(essential, func(pattern string) bool {
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
	case h.handed:
		return endNot, "another user has made the socket, and may have handed it over"
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
