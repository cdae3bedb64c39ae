package probe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// identity is who a process is: proc(5), /proc/PID/status.
type identity struct {
	uid, gid int
	groups   []int
}

func parseIdentity(status string) (identity, error) {
	id := identity{uid: -1, gid: -1}
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		var numbers []int
		if key != "Uid" && key != "Gid" && key != "Groups" {
			continue
		}
		for _, field := range strings.Fields(value) {
			n, err := strconv.Atoi(field)
			if err != nil {
				return id, fmt.Errorf("%s is %q", key, field)
			}
			numbers = append(numbers, n)
		}
		switch {
		case key == "Groups":
			id.groups = numbers
		case len(numbers) != 4: // real, effective, saved, of the file system
			return id, fmt.Errorf("%s has %d numbers", key, len(numbers))
		case key == "Uid":
			id.uid = numbers[1]
		default:
			id.gid = numbers[1]
		}
	}
	if id.uid < 0 || id.gid < 0 {
		return id, errors.New("it has no Uid, or no Gid")
	}
	return id, nil
}

// becomeMain gives up what root may and the unit's program may not. systemd runs
// us as root where PermissionsStartOnly= is set for the sake of another command
// of the unit's; a probe is to be asked as the program's own user. The program
// was executed as that by now, which spares us a look-up that may need a network.
func becomeMain(mainPID string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	data, err := os.ReadFile(filepath.Join("/proc", filepath.Base(mainPID), "status"))
	if err != nil {
		return errEnded
	}
	id, err := parseIdentity(string(data))
	switch {
	case err != nil:
		return fmt.Errorf("whom the program runs as can't be known: %w", err)
	case id.uid == 0:
		return errors.New("the program, which was started as somebody else, runs as root by now; it can't be asked as its own user")
	}
	for _, become := range []func() error{
		func() error { return syscall.Setgroups(id.groups) },
		func() error { return syscall.Setresgid(id.gid, id.gid, id.gid) },
		func() error { return syscall.Setresuid(id.uid, id.uid, id.uid) },
	} {
		if err := become(); err != nil {
			return fmt.Errorf("the prober can't become user %d: %w", id.uid, err)
		}
	}
	return nil
}
