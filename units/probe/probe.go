package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Question is what is asked, and what a good answer is.
type Question struct {
	units.Probe
	Status   int    // of HTTP; 0 is any from 200 to 399
	Match    string // text that the body of an answer of HTTP has; "" is any
	Password string // for AUTH; "" is none
}

// State is what an answer says of the program.
type State int

const (
	NotYet State = iota // it may be ready later
	Ready
	Never // no later try can end better
)

// Answer is what one try came to. Says tells it to people, without the
// question's secrets.
type Answer struct {
	State State
	Says  string
}

// Try asks once, for as long as ctx has.
func Try(ctx context.Context, q Question) Answer {
	switch q.Kind {
	case units.ProbeExec:
		return askCommand(ctx, q)
	case units.ProbeHTTP:
		return askHTTP(ctx, q)
	case units.ProbeRedis:
		return askRedis(ctx, q)
	default:
		return askConnection(ctx, q)
	}
}

// unreachable is the answer when the network gave none: the program may
// listen later.
func unreachable(err error) Answer { return Answer{NotYet, Cause(err)} }

// Cause is the innermost reason, since those around it only say what was asked.
func Cause(err error) string {
	var errno syscall.Errno
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	var get *url.Error
	switch {
	case errors.As(err, &get) && get.Err != nil:
		return Cause(get.Err) // without the URL, whose query may be a secret
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return line("the host can't be looked up: " + dns.Err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "no longer asked"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection without an answer"
	default:
		return line(err.Error())
	}
}

// maxLine bounds what somebody else wrote, in bytes, where it is shown.
const maxLine = 200

// line is the first line of what somebody else wrote, as far as it is fit to
// be shown.
func line(s string) string { return units.Line(s, maxLine) }
