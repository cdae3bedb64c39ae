package transient

import "strings"

// Command is an element of ExecStart=, ExecStartPre= or ExecStartPost=, a(sasb).
type Command struct {
	Path          string
	Args          []string // from argument 0 on
	IgnoreFailure bool
}

// CommandEx is an element of ExecStartEx=, ExecStartPreEx= or ExecStartPostEx=, a(sasas).
type CommandEx struct {
	Path  string
	Args  []string // from argument 0 on
	Flags []string
}

// keepsExec is the first systemd known to keep a transient unit's command
// through a daemon-reload, for which it writes it to a file and reads it
// again. 252 forgets ExecStartEx= altogether, and of ExecStart= it comes back
// with a backslash before each $ and ;.
const keepsExec = 254

// command is the property, ExecStart or ExecStartPost, for a command that is to
// be executed as it is. Flags are for those systemds that keep them.
func command(property string, args []string, systemd int, flags ...string) Property {
	if systemd >= keepsExec {
		return Property{property + "Ex", []CommandEx{{args[0], args, append([]string{"no-env-expand"}, flags...)}}}
	}
	for _, arg := range args {
		if strings.ContainsAny(arg, "$;") {
			args = throughShell(args)
			break
		}
	}
	return Property{property, []Command{{args[0], args, false}}}
}

// shellQuote spells $ and ; without writing them.
var shellQuote = strings.NewReplacer(
	"'", `'\''`,
	"$", `'"`+"`printf '\\044'`"+`"'`,
	";", `'"`+"`printf '\\073'`"+`"'`,
)

// throughShell is a command that executes args, and has neither a $ nor a ;
// in it. The shell is replaced by the program, which keeps its PID.
func throughShell(args []string) []string {
	script := "exec"
	for _, arg := range args {
		script += " '" + shellQuote.Replace(arg) + "'"
	}
	return []string{"/bin/sh", "-c", script}
}
