package probe

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// askCommand executes a command. What it prints goes nowhere but, its last
// line, into the answer.
func askCommand(ctx context.Context, q Question) Answer {
	cmd := exec.CommandContext(ctx, q.Command[0], q.Command[1:]...)
	var printed tail
	cmd.Stdout, cmd.Stderr = &printed, &printed
	// It ends with all that it has started, as far as that stays in its group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return Answer{NotYet, "it had not ended"}
	}
	return judgeCommand(err, printed.lastLine())
}

// judgeCommand says what the end of a command means. printed is the last line
// that it has printed.
func judgeCommand(err error, printed string) Answer {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has left something behind that prints
		return Answer{Ready, "exit status 0"}
	case !errors.As(err, &exit):
		return Answer{Never, "it can't be executed: " + Cause(err)}
	case printed == "":
		return Answer{NotYet, exit.String()}
	default:
		return Answer{NotYet, exit.String() + ": " + printed}
	}
}

// tail keeps the end of what is written to it.
type tail struct{ data []byte }

const tailSize = 1024

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - tailSize; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) lastLine() string {
	data := bytes.TrimSpace(t.data)
	return line(strings.ToValidUTF8(string(data[bytes.LastIndexByte(data, '\n')+1:]), "?"))
}
