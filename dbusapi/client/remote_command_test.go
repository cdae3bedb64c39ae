package client

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// sshd hands what ssh sends it, joined by spaces, to the user's shell.
func TestRemoteCommandComesThroughAShell(t *testing.T) {
	t.Parallel()
	want := []string{"", "a b", "it's", `$HOME "x" \ ` + "`id`", "*", "a;b|c&d", "--unit=x@*.service", "-n"}
	argv, err := RemoteCommand("me@[::1]:22", append([]string{"printf", `%s\0`}, want...)...)
	if err != nil || !slices.Equal(argv[:6], []string{"ssh", "-xT", "-p", "22", "--", "me@::1"}) {
		t.Fatalf("the command is %q, %v", argv, err)
	}
	out, err := exec.Command("sh", "-c", strings.Join(argv[6:], " ")).Output()
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); err != nil || !slices.Equal(got, want) {
		t.Errorf("over there it is %q, %v; want %q", got, err, want)
	}
	if _, err := RemoteCommand("-oProxyCommand=x", "id"); units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("a host that is an option: error is %v", err)
	}
}
