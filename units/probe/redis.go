package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// askRedis sends AUTH, if there is a password, and PING: RESP, the protocol of
// Redis, https://redis.io/docs/latest/develop/reference/protocol-spec/
func askRedis(ctx context.Context, q Question) Answer {
	conn, err := dial(ctx, q)
	if err != nil {
		return unreachable(err)
	}
	defer conn.Close()
	// The end of ctx, whichever it is, ends a read that waits.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	replies := bufio.NewReaderSize(conn, 512)
	if q.Password != "" {
		reply, err := request(conn, replies, "AUTH", q.Password)
		if err != nil {
			return unreachable(err)
		}
		if a := judgeAuth(reply); a.State != Ready {
			return a
		}
	}
	reply, err := request(conn, replies, "PING")
	if err != nil {
		return unreachable(err)
	}
	return judgePing(reply)
}

// request sends a command, an array of bulk strings, and reads a reply.
func request(conn io.Writer, replies *bufio.Reader, args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return "", err
	}
	reply, err := replyLine(replies)
	if err == nil && strings.HasPrefix(reply, "$") { // a bulk string: its length, and then itself
		reply, err = replyLine(replies)
		reply = "+" + reply
	}
	return reply, err
}

var errNoReply = errors.New("its answer is not one of Redis")

func replyLine(r *bufio.Reader) (string, error) {
	reply, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errNoReply
	}
	return strings.TrimRight(string(reply), "\r\n"), err
}

// errorCode is the first word of an error, by Redis's custom.
var errorCode = regexp.MustCompile(`^-([A-Z]{1,20})( |$)`)

func codeOf(reply string) string {
	if m := errorCode.FindStringSubmatch(reply); m != nil {
		return m[1]
	}
	return ""
}

// judgeAuth says what a reply to AUTH means. Nothing of it is shown but its
// code: a server that doesn't know AUTH may answer with the password.
func judgeAuth(reply string) Answer {
	switch code := codeOf(reply); {
	case reply == "+OK":
		return Answer{Ready, "it takes the password"}
	case code == "LOADING" || code == "BUSY" || code == "MASTERDOWN":
		return Answer{NotYet, code}
	case code == "WRONGPASS" || strings.Contains(reply, "invalid password"):
		return Answer{Never, fmt.Sprintf("it refuses the password that the credential has (%s)", code)}
	case code != "":
		return Answer{Never, fmt.Sprintf("it takes no password (%s), and is sent one", code)}
	default:
		return unreachable(errNoReply)
	}
}

// judgePing says what a reply to PING means.
func judgePing(reply string) Answer {
	text := line(strings.TrimPrefix(reply, "-"))
	switch code := codeOf(reply); code {
	case "NOAUTH":
		return Answer{Never, "it wants a password (NOAUTH); name its credential by ready_credential or health_credential"}
	case "NOPERM", "DENIED":
		return Answer{Never, "it refuses to answer: " + text}
	case "":
		if reply == "+PONG" {
			return Answer{Ready, "PONG"}
		}
		return unreachable(errNoReply)
	default: // LOADING, BUSY, MASTERDOWN, MISCONF, …
		return Answer{NotYet, text}
	}
}
