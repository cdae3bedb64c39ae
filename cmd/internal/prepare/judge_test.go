package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestParseListeners(t *testing.T) {
	t.Parallel()
	const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 4438822 1 0000000000000000 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0000000000000000 100 0 0 10 0
   2: 0100007F:18EB 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000   104        0 99 1 0000000000000000 20 4 30 10 -1
   3: nonsense
   4: 010000:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 98 1
`
	const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:18EB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1 0000000000000000 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23 1 0000000000000000 100 0 0 10 0
`
	for text, want := range map[string]string{
		tcp:  "127.0.0.1:6379 4438822, 0.0.0.0:22 17",
		tcp6: "[::1]:6379 21, [::]:80 22, 127.0.0.1:81 23",
		"":   "",
	} {
		all, err := parseListeners(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range all {
			got = append(got, fmt.Sprintf("%s %d", l.addr, l.inode))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("listeners are %q, want %q", got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		port, listener string
		want           overlap
	}{
		{"80", "127.0.0.1:80", same},
		{"80", "0.0.0.0:80", same},
		{"80", "[::]:80", same},
		{"80", "[::1]:80", same},
		{"80", "127.0.0.1:81", apart},
		{"127.0.0.1:80", "127.0.0.1:80", same},
		{"127.0.0.1:80", "127.0.0.2:80", apart},
		{"127.0.0.1:80", "0.0.0.0:80", same},
		{"127.0.0.1:80", "[::]:80", unsure},
		{"127.0.0.1:80", "[::1]:80", apart},
		{"127.0.0.1:80", "127.0.0.1:81", apart},
		{"0.0.0.0:80", "127.0.0.1:80", same},
		{"0.0.0.0:80", "0.0.0.0:80", same},
		{"0.0.0.0:80", "[::]:80", unsure},
		{"0.0.0.0:80", "[::1]:80", apart},
		{"[::1]:80", "[::1]:80", same},
		{"[::1]:80", "[::]:80", same},
		{"[::1]:80", "[fd00::1]:80", apart},
		{"[::1]:80", "127.0.0.1:80", apart},
		{"[::1]:80", "0.0.0.0:80", apart},
		{"[::]:80", "[::1]:80", same},
		{"[::]:80", "[::]:80", same},
		{"[::]:80", "0.0.0.0:80", apart},
		{"[::]:80", "127.0.0.1:80", apart},
	} {
		p, err := units.ParsePort(tt.port)
		if err != nil {
			t.Fatal(err)
		}
		if got := compare(p, netip.MustParseAddrPort(tt.listener)); got != tt.want {
			t.Errorf("port %s and a listener on %s: %d, want %d", tt.port, tt.listener, got, tt.want)
		}
	}
	// What isn't sure is tried.
	p, _ := units.ParsePort("127.0.0.1:80")
	all := []listener{{netip.MustParseAddrPort("[::]:80"), 1}, {netip.MustParseAddrPort("[::1]:80"), 2}}
	for free, want := range map[bool][]uint64{true: nil, false: {1}} {
		if got := taken(p, all, func(units.Port) bool { return free }); !slices.Equal(got, want) {
			t.Errorf("if one can listen there (%t), in the way are %v, want %v", free, got, want)
		}
	}
}

func TestUnitOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, cgroups, want string }{
		{"a service", "0::/system.slice/redis.service\n", "redis.service"},
		{"one of ours", "0::/hero.slice/hero-core.slice/hero-core-web@page.service\n", "hero-core-web@page.service"},
		{"a group of its own below it", "0::/system.slice/docker.service/payload\n", "docker.service"},
		{"a container", "0::/system.slice/docker-abc.scope/init\n", "docker-abc.scope"},
		{"a session", "0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"},
		{"a user's own service", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", "user@1000.service"},
		{"systemd", "0::/init.scope\n", "init.scope"},
		{"none", "0::/\n", ""},
		{"a slice alone", "0::/system.slice\n", ""},
		{"outside our namespace", "0::/../..\n", ""},
		{"an older systemd", "12:pids:/x.service\n1:name=systemd:/system.slice/redis.service\n0::/\n", "redis.service"},
		{"in a container on one", "9:name=systemd:/../..\n0::/system.slice/redis.service\n", "redis.service"},
		{"an escaped name", "0::/system.slice/_.hidden.service\n", ".hidden.service"},
		{"nothing", "", ""},
	} {
		if got := unitOf(tt.cgroups); got != tt.want {
			t.Errorf("%s: unit is %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestDecideEnd(t *testing.T) {
	t.Parallel()
	const own = "hero-core-web.service"
	const needed = "the system, or whoever looks after it, needs it"
	for _, tt := range []struct {
		name string
		h    holder
		want ending
		why  string
	}{
		{"a service", holder{pid: 12, program: "x", unit: "redis.service"}, endUnit, ""},
		{"a service of hero_proc's", holder{pid: 12, program: "x", unit: "hero-core-other.service"}, endUnit, ""},
		{"what the unit itself has left", holder{pid: 12, program: "x", unit: own}, endProcess, ""},
		{"no unit", holder{pid: 12, program: "x", unit: ""}, endProcess, ""},
		{"a session", holder{pid: 12, program: "x", unit: "session-3.scope"}, endProcess, ""},
		{"a user's manager", holder{pid: 12, program: "x", unit: "user@1000.service"}, endProcess, ""},
		{"systemd", holder{pid: 1, program: "systemd", unit: "init.scope"}, endNot, "it is systemd itself"},
		{"beside systemd", holder{pid: 12, program: "x", unit: "init.scope"}, endNot, needed},
		{"hero_proc", holder{pid: 12, program: "x", unit: "hero_proc.service"}, endNot, needed},
		{"the bus", holder{pid: 12, program: "x", unit: "dbus.service"}, endNot, needed},
		{"the other bus", holder{pid: 12, program: "x", unit: "dbus-broker.service"}, endNot, needed},
		{"a part of systemd", holder{pid: 12, program: "x", unit: "systemd-resolved.service"}, endNot, needed},
		{"sshd that was started by hand", holder{pid: 12, program: "x", image: "sshd", unit: ""}, endNot, needed},
		{"a port that somebody forwards", holder{pid: 12, program: "x", image: "sshd-session", unit: "session-3.scope"}, endNot, needed},
		{"a socket unit of a user's", holder{pid: 12, program: "(sd)", image: "systemd", unit: "user@1000.service"}, endNot, needed},
		{"who calls himself sshd", holder{pid: 12, program: "sshd", image: "python3.11", unit: "session-3.scope"}, endProcess, ""},
		{"who has a file called sshd", holder{pid: 12, program: "sshd", image: "", unit: ""}, endProcess, ""},
		{"who was handed it", holder{pid: 12, program: "x", unit: "redis.service", handed: true}, endNot, "another user has made the socket, and may have handed it over"},
		{"a service that is called a bit like sshd", holder{pid: 12, program: "x", unit: "sshdx.service"}, endUnit, ""},
		{"a service that is called a bit like systemd", holder{pid: 12, program: "x", unit: "systemdx.service"}, endUnit, ""},
		{"who has listened once", holder{pid: 12, program: "x", unit: "redis.service", unsure: true}, endNot, "it may have handed it on, or be another one by now"},
		{"nobody that can be seen", holder{}, endNot, "it can't be seen"},
	} {
		if got, why := decideEnd(tt.h, own); got != tt.want || why != tt.why {
			t.Errorf("%s: it is ended by %q (%q), want %q (%q)", tt.name, got, why, tt.want, tt.why)
		}
	}
	for _, unit := range []string{
		"ssh.service", "ssh@3-10.0.0.1:22-10.0.0.2:4711.service", "sshd.service", "sshd@0.service", "sshd-unix-local@0.service", "dropbear.service",
		"systemd-logind.service", "systemd-journald.service", "systemd-networkd.service", "systemd-resolved.service", "systemd-udevd.service",
		"polkit.service", "getty@tty1.service", "serial-getty@ttyS0.service", "container-getty@1.service", "console-getty.service", "rescue.service",
		"NetworkManager.service", "networking.service", "ifup@eth0.service", "wpa_supplicant.service", "dhcpcd.service", "tailscaled.service", "openvpn-client@office.service",
	} {
		if got, why := decideEnd(holder{pid: 12, program: "x", unit: unit}, own); got != endNot || why != needed {
			t.Errorf("%s is ended by %q (%q), want that to be refused", unit, got, why)
		}
	}
	for _, pattern := range essential {
		if _, err := path.Match(pattern, "x"); err != nil {
			t.Errorf("%s is no pattern: %v", pattern, err)
		}
	}
}

func TestHandedOver(t *testing.T) {
	t.Parallel()
	users := usersOf("Name:\tx\\nUid:\t0\nUid:\t1000\t1000\t1001\t1000\nGid:\t7\t7\t7\t7\n")
	if !slices.Equal(users, []uint32{1000, 1000, 1001, 1000}) {
		t.Errorf("the users are %v", users)
	}
	for _, tt := range []struct {
		name   string
		owners []uint32
		want   bool
	}{
		{"its own", []uint32{1000}, false},
		{"its own, of before", []uint32{1001}, false},
		{"root's", []uint32{0}, false},
		{"another's", []uint32{1002}, true},
		{"another's, beside its own", []uint32{1002, 1000}, false},
	} {
		if got := handedOver(tt.owners, users); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
	if !handedOver([]uint32{1000}, usersOf("")) {
		t.Error("a process that has ended is taken for who made a socket")
	}
}

func TestHolderInWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		h            holder
		says, remedy string
	}{
		{holder{pid: 812, program: "redis-server", unit: "redis.service"}, "redis-server (PID 812, unit redis.service)", "stop it with: systemctl stop redis.service"},
		{holder{pid: 812, program: "python3", unit: "session-3.scope"}, "python3 (PID 812, unit session-3.scope)", "end it with: kill 812"},
		{holder{pid: 812, program: "python3", unit: ""}, "python3 (PID 812)", "end it with: kill 812"},
		{holder{pid: 1, program: "systemd", unit: "init.scope"}, "systemd (PID 1, unit init.scope)", "it is a socket unit's, to be found with: systemctl list-sockets"},
		{holder{pid: 812, program: "x", unit: "x.service", unsure: true}, "x (PID 812, unit x.service)", "that is who has listened on it, and nobody is seen to have it open; look at it with: ps -fp 812"},
		{holder{}, "a process that can't be seen from here", "look for it with: ss -lnpx; ss -lnpt"},
	} {
		if tt.h.String() != tt.says || tt.h.remedy() != tt.remedy || !strings.HasSuffix(tt.remedy, ": "+tt.h.command()) {
			t.Errorf("%+v says %q, %q, %q", tt.h, tt.h, tt.h.remedy(), tt.h.command())
		}
	}
	for comm, want := range map[string]string{"redis-server\n": "redis-server", "a\x1b[31m\nb": "a?[31m?b", "": "a program"} {
		if got := printable(comm); got != want {
			t.Errorf("the program %q is shown as %q, want %q", comm, got, want)
		}
	}
}

// mode is what lstat says of a file.
type mode fs.FileMode

func (m mode) Name() string       { return "x" }
func (m mode) Size() int64        { return 0 }
func (m mode) Mode() fs.FileMode  { return fs.FileMode(m) }
func (m mode) ModTime() time.Time { return time.Time{} }
func (m mode) IsDir() bool        { return m.Mode().IsDir() }
func (m mode) Sys() any           { return nil }

func TestJudge(t *testing.T) {
	t.Parallel()
	socket, file, link := mode(fs.ModeSocket), mode(0), mode(fs.ModeSymlink)
	for _, tt := range []struct {
		name string
		info fs.FileInfo
		stat error
		conn error
		want finding
	}{
		{"nothing", nil, fs.ErrNotExist, nil, nothing},
		{"nobody has it", socket, nil, syscall.ECONNREFUSED, stale},
		{"it takes datagrams", socket, nil, nil, live},
		{"it takes connections, or is to", socket, nil, syscall.EPROTOTYPE, live},
		{"it takes datagrams from one alone", socket, nil, syscall.EPERM, live},
		{"it is not for us", socket, nil, syscall.EACCES, live},
		{"it goes as it is looked at", socket, nil, syscall.ENOENT, nothing},
		{"anything else", socket, nil, errors.New("?"), live},
		{"a file", file, nil, nil, other},
		{"a link, also to a socket", link, nil, nil, other},
		{"what can't be looked at", nil, syscall.EIO, nil, live},
	} {
		if got := judge(tt.info, tt.stat, tt.conn); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
