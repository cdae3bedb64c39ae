package cli

import (
	"context"
	"os"
	"syscall"
	"time"
	"unsafe"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
)

// SystemEnv is the world of a real call.
func SystemEnv(version string) Env {
	width := terminalWidth(os.Stdout)
	env := Env{
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Width:    width,
		Color:    colored(width > 0, os.Getenv("NO_COLOR"), os.Getenv("TERM")),
		Redraw:   width > 0 && os.Getenv("TERM") != "dumb",
		Version:  version,
		Now:      time.Now,
		Dial:     Dial,
		DialHost: DialHost,

		JournalDenied: journalDenied,
	}
	env.Exec, env.Capture = systemExec(env), systemCapture
	env.Output = systemOutput(env)
	return env
}

// Dial connects to the daemon on the system bus.
func Dial(ctx context.Context) (API, error) {
	c, err := client.Dial(ctx)
	if err != nil {
		return nil, err // not c: a nil *client.Client in an API is not nil
	}
	return c, nil
}

// DialHost connects to the daemon of another machine, by ssh.
func DialHost(ctx context.Context, host string) (API, error) {
	c, err := client.DialHost(ctx, host)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// colored says whether to use colours: on a terminal that knows them, and
// never with NO_COLOR (https://no-color.org).
func colored(terminal bool, noColor, term string) bool {
	return terminal && noColor == "" && term != "dumb"
}

// defaultWidth is that of a terminal that does not know its size.
const defaultWidth = 80

// terminalWidth is how many columns the terminal f has, 0 when f is none:
// ioctl_tty(2), TIOCGWINSZ.
func terminalWidth(f *os.File) int {
	var size struct{ rows, cols, xpixel, ypixel uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	switch {
	case errno != 0:
		return 0
	case size.cols == 0:
		return defaultWidth
	default:
		return int(size.cols)
	}
}
