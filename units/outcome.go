package units

import (
	"fmt"
	"syscall"
)

// How a main process ended, as ExecMainCode gives it: sigaction(2), si_code.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// What systemd's own exit statuses say: systemd.exec(5), "Process Exit Codes".
// Only those that a definition's author can do something about.
var execStatus = map[int32]string{
	200: "CHDIR: its working directory can't be entered",
	203: "EXEC: its program could not be executed",
	216: "GROUP: its group can't be had",
	217: "USER: its user can't be had",
	226: "NAMESPACE: its mount namespace can't be set up",
	243: "CREDENTIALS: its credentials can't be read",
}

// Outcome says in words how the unit's last activation ended, in systemd's
// terms: the unit's result, and the main process's exit status or signal.
func (u Unit) Outcome() string {
	result := u.Result
	switch result {
	case "":
		result = "unknown"
	case "watchdog":
		result += ", as it has sent no WATCHDOG=1 in time"
	}
	switch u.ExitCode {
	case cldExited:
		if words, ok := execStatus[u.ExitStatus]; ok {
			return fmt.Sprintf("%s (status %d/%s)", result, u.ExitStatus, words)
		}
		return fmt.Sprintf("%s (exited with status %d)", result, u.ExitStatus)
	case cldKilled:
		return fmt.Sprintf("%s (killed by signal %d, %s)", result, u.ExitStatus, syscall.Signal(u.ExitStatus))
	case cldDumped:
		return fmt.Sprintf("%s (dumped core by signal %d, %s)", result, u.ExitStatus, syscall.Signal(u.ExitStatus))
	default:
		return result
	}
}

// KilledBy says that the main process ended by that signal.
func (u Unit) KilledBy(sig syscall.Signal) bool {
	return u.ExitCode == cldKilled && u.ExitStatus == int32(sig)
}
