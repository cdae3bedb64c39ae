package transient

import "forge.ourworld.tf/lhumina_code/hero_proc/units"

// prepare has systemd look, before it starts the program, whether what that
// will listen on is free: hero_proc_probe(8). That names, and may end, whoever
// has it, for which it has to be root, whatever the program runs as.
func (ps *properties) prepare(unit string, a units.Action, systemd int) {
	var flags []string
	if needsRoot(a) {
		flags = []string{"privileged"}
		if systemd < keepsExec {
			// 252 forgets ExecStartPreEx= and its flags at daemon-reload. What it
			// keeps is an older setting, by which all commands but the program
			// itself are root's; a probe then gives that up (--as-main).
			ps.add("PermissionsStartOnly", true)
		}
	}
	*ps = append(*ps, command("ExecStartPre", prepareArgs(unit, a), systemd, flags...))
}

// needsRoot says that root's rights have to be asked for.
func needsRoot(a units.Action) bool {
	return a.Any() && a.User != "" && a.User != "root" && a.User != "0"
}

func prepareArgs(unit string, a units.Action) []string {
	args := []string{Prober, "prepare", "--unit=" + unit}
	for _, s := range a.Sockets {
		args = append(args, "--socket="+s)
	}
	for _, p := range a.Ports {
		args = append(args, "--port="+p)
	}
	if a.KillOthers {
		args = append(args, "--kill-others")
	}
	return args
}
