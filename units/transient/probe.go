package transient

import (
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Prober is the program that asks a service whether it is ready:
// hero_proc_probe(8).
const Prober = "/usr/libexec/hero_proc/hero_proc_probe"

// proberStart is how long the prober may take to be executed, and to say why
// it has given up, beyond the time that it tries for.
const proberStart = 10 * time.Second

// probe has systemd wait, before the unit is active, until the prober has had
// its answer. systemd does so by itself, whether hero_proc runs or not.
func (ps *properties) probe(a units.Action, systemd int) {
	args := proberArgs(a)
	if needsRoot(a) && systemd < keepsExec {
		args = slices.Insert(args, 1, "--as-main")
	}
	*ps = append(*ps, command("ExecStartPost", args, systemd))
}

func proberArgs(a units.Action) []string {
	interval, timeout := a.ReadyWait()
	args := []string{Prober, "--interval=" + interval.String(), "--timeout=" + timeout.String()}
	args = append(args, goodAnswer(a.ReadyStatus, a.ReadyMatch, a.ReadyCredential)...)
	return append(args, string(a.Ready))
}

// probeTimeout is what systemd gives each of the unit's start commands. The
// prober's own time is up first, and it says what the last answer was.
func probeTimeout(a units.Action) time.Duration {
	if a.TimeoutStart != 0 {
		return a.TimeoutStart
	}
	_, timeout := a.ReadyWait()
	return timeout + proberStart
}
