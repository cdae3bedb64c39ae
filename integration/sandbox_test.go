package integration

import (
	"strings"
	"testing"
)

// The daemon runs journalctl and nothing else: its sandbox sees to it. The
// same unit file runs other programs here in the daemon's place.
func TestSandboxRunsJournalctlAlone(t *testing.T) {
	t.Parallel()
	g := boot(t)
	if score := g.sh("systemd-analyze security --no-pager hero_proc.service | tail -n 1"); !strings.Contains(score, " 1.6 OK") {
		t.Errorf("systemd-analyze security says %q; the README says 1.6", score)
	}
	for _, tc := range []struct {
		name, exec string
		runs       bool
	}{
		{"journalctl", "/usr/bin/journalctl --system --quiet --no-pager --output=json --lines=1 _PID=1", true},
		{"a shell", "/bin/sh -c true", false},
		{"a shell by the loader", "$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null) /bin/true", false},
		{"python", "/usr/bin/python3 -c pass", false},
		{"systemd's own programs", "/usr/lib/systemd/systemd-sysctl --help", false},
	} {
		g.sh(`exec=%s || true
			sed -e "s|^ExecStart=.*|ExecStart=$exec|" -e 's/^Type=.*/Type=oneshot/' -e '/^BusName=/d' -e '/^Restart/d' -e '/^WatchdogSec=/d' /lib/systemd/system/hero_proc.service >/run/systemd/system/sandbox.service
			systemctl daemon-reload`, `"`+tc.exec+`"`)
		r := g.run("systemctl", "start", "sandbox.service")
		if ran := r.Exit == 0; ran != tc.runs {
			t.Errorf("%s: runs: %v, want %v\n%s", tc.name, ran, tc.runs, g.sh("journalctl --output=cat --lines=20 --unit=sandbox"))
		}
	}
}
