package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// What an answer means, for all that there are.

func TestJudgeHTTP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		want      int
		match     string
		status    int
		body      string
		wantState State
		wantSays  string
	}{
		{name: "well", status: 200, wantState: Ready, wantSays: "status 200 OK"},
		{name: "well, without a body", status: 204, wantState: Ready, wantSays: "status 204 No Content"},
		{name: "a redirect is an answer", status: 302, wantState: Ready, wantSays: "status 302 Found"},
		{name: "the last that is well", status: 399, wantState: Ready, wantSays: "status 399"},
		{name: "not before 200", status: 199, wantState: NotYet, wantSays: "status 199"},
		{name: "not there yet", status: 404, wantState: NotYet, wantSays: "status 404 Not Found"},
		{name: "starting", status: 503, wantState: NotYet, wantSays: "status 503 Service Unavailable"},
		{name: "the one status", want: 401, status: 401, wantState: Ready, wantSays: "status 401 Unauthorized"},
		{name: "well, and not the one", want: 204, status: 200, wantState: NotYet, wantSays: "status 200 OK, and not 204"},
		{name: "the text", match: "up", status: 200, body: `{"state": "up"}`, wantState: Ready, wantSays: "status 200 OK"},
		{name: "not the text", match: "up", status: 200, body: "down: hunter2", wantState: NotYet, wantSays: "status 200 OK, and a body without the text that it is to have"},
		{name: "the text, with a bad status", match: "up", status: 500, body: "up", wantState: NotYet, wantSays: "status 500 Internal Server Error"},
		{name: "both", want: 500, match: "up", status: 500, body: "up", wantState: Ready, wantSays: "status 500 Internal Server Error"},
	} {
		got := judgeHTTP(tt.want, tt.match, tt.status, tt.body)
		if want := (Answer{tt.wantState, tt.wantSays}); got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

func TestJudgeAuth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reply string
		want  Answer
	}{
		{"+OK", Answer{Ready, "it takes the password"}},
		{"-LOADING Redis is loading the dataset in memory", Answer{NotYet, "LOADING"}},
		{"-BUSY Redis is busy running a script", Answer{NotYet, "BUSY"}},
		{"-MASTERDOWN Link with MASTER is down", Answer{NotYet, "MASTERDOWN"}},
		{"-WRONGPASS invalid username-password pair or user is disabled.", Answer{Never, "it refuses the password that the credential has (WRONGPASS)"}},
		{"-ERR invalid password", Answer{Never, "it refuses the password that the credential has (ERR)"}},
		{"-ERR AUTH <password> called without any password configured for the default user.", Answer{Never, "it takes no password (ERR), and is sent one"}},
		{"-ERR unknown command `AUTH`, with args beginning with: `hunter2`", Answer{Never, "it takes no password (ERR), and is sent one"}},
		{"HTTP/1.1 400 hunter2", Answer{NotYet, "its answer is not one of Redis"}},
		{"-hunter2", Answer{NotYet, "its answer is not one of Redis"}},
		{"", Answer{NotYet, "its answer is not one of Redis"}},
	} {
		if got := judgeAuth(tt.reply); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.reply, got, tt.want)
		}
	}
}

func TestJudgePing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reply string
		want  Answer
	}{
		{"+PONG", Answer{Ready, "PONG"}},
		{"-LOADING Redis is loading the dataset in memory", Answer{NotYet, "LOADING Redis is loading the dataset in memory"}},
		{"-BUSY", Answer{NotYet, "BUSY"}},
		{"-MASTERDOWN Link with MASTER is down", Answer{NotYet, "MASTERDOWN Link with MASTER is down"}},
		{"-MISCONF Redis is configured to save RDB snapshots", Answer{NotYet, "MISCONF Redis is configured to save RDB snapshots"}},
		{"-ERR something else", Answer{NotYet, "ERR something else"}},
		{"-NOAUTH Authentication required.", Answer{Never, "it wants a password (NOAUTH); name its credential by ready_credential or health_credential"}},
		{"-NOPERM this user has no permissions", Answer{Never, "it refuses to answer: NOPERM this user has no permissions"}},
		{"-DENIED Redis is running in protected mode", Answer{Never, "it refuses to answer: DENIED Redis is running in protected mode"}},
		{"+OK", Answer{NotYet, "its answer is not one of Redis"}},
		{"PONG", Answer{NotYet, "its answer is not one of Redis"}},
		{"SSH-2.0-OpenSSH_9.2", Answer{NotYet, "its answer is not one of Redis"}},
		{"", Answer{NotYet, "its answer is not one of Redis"}},
	} {
		if got := judgePing(tt.reply); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.reply, got, tt.want)
		}
	}
}

func TestJudgeCommand(t *testing.T) {
	t.Parallel()
	end := func(script string) error { return exec.Command("/bin/sh", "-c", script).Run() }
	for _, tt := range []struct {
		name    string
		err     error
		printed string
		want    Answer
	}{
		{"success", nil, "fine", Answer{Ready, "exit status 0"}},
		{"success, with a child that prints on", exec.ErrWaitDelay, "", Answer{Ready, "exit status 0"}},
		{"failure", end("exit 7"), "", Answer{NotYet, "exit status 7"}},
		{"failure that says why", end("exit 1"), "no leader", Answer{NotYet, "exit status 1: no leader"}},
		{"a signal", end("kill -9 $$"), "", Answer{NotYet, "signal: killed"}},
		{"no such program", exec.Command("/nonexistent").Run(), "", Answer{Never, "it can't be executed: no such file or directory"}},
		{"no such program in the path", exec.Command("nonexistent-program").Run(), "", Answer{Never, `it can't be executed: exec: "nonexistent-program": executable file not found in $PATH`}},
	} {
		if got := judgeCommand(tt.err, tt.printed); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connection refused"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENOENT)}, "no such file or directory"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}, "no such host"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}}, "the host can't be looked up: i/o timeout"},
		{fmt.Errorf("get: %w", os.ErrDeadlineExceeded), "no answer in time"},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), "no answer in time"},
		{fmt.Errorf("get: %w", context.Canceled), "no longer asked"},
		{fmt.Errorf("get: %w", io.EOF), "it closed the connection without an answer"},
		{fmt.Errorf("get: %w", io.ErrUnexpectedEOF), "it closed the connection without an answer"},
		{&url.Error{Op: "Get", URL: "http://x/?token=hunter2", Err: errors.New("odd")}, "odd"},
		{errors.New("of another kind\nand more"), "of another kind"},
	} {
		if got := Cause(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// What strangers write may end up on somebody's terminal.
func TestLine(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"":                        "",
		"  plain é ":              "plain é",
		"two\nlines":              "two",
		"\x1b[31mred\x07":         "?[31mred",
		strings.Repeat("é", 1000): strings.Repeat("é", 100) + "…",
	} {
		if got := line(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
