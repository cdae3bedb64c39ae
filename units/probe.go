package units

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// ProbeKind is the way in which a [Probe] asks.
type ProbeKind string

const (
	ProbeConnect ProbeKind = "connect" // ready once it accepts a connection
	ProbeHTTP    ProbeKind = "http"    // ready once it answers a GET as it should
	ProbeRedis   ProbeKind = "redis"   // ready once it answers PING with PONG
	ProbeExec    ProbeKind = "exec"    // ready once a command ends with status 0
)

// Probe is a question that a program answers once it is ready.
type Probe struct {
	Kind ProbeKind
	// Network and Address are what to connect to, as net.Dial takes them:
	// "tcp" with HOST:PORT, "unix" with a path.
	Network, Address string
	URL              string   // what to GET, of ProbeHTTP
	Command          []string // what to execute, of ProbeExec
}

// String names what is asked, for people. It leaves out what may be long, or
// nobody's business: the query of a URL, the arguments of a command.
func (p Probe) String() string {
	switch {
	case p.Kind == ProbeExec:
		return "exec:" + p.Command[0]
	case p.Kind == ProbeHTTP:
		target, _, _ := strings.Cut(p.URL, "?")
		if p.Network == "unix" {
			target = "http+unix:" + p.Address + ":" + strings.TrimPrefix(target, "http://localhost")
		}
		return strings.TrimSuffix(target, ":")
	case p.Kind == ProbeRedis && p.Network == "unix":
		return "redis+unix:" + p.Address
	case p.Kind == ProbeRedis:
		return "redis://" + p.Address
	default:
		return p.Network + ":" + p.Address
	}
}

// ReadyForms are the ways to write a [Ready]. All but the first two are probes.
var ReadyForms = []string{
	string(ReadyExec), string(ReadyNotify), "tcp:HOST:PORT", "unix:PATH",
	"http://HOST[:PORT][/PATH]", "https://HOST[:PORT][/PATH]", "http+unix:SOCKET[:/PATH]",
	"redis://[HOST[:PORT]]", "redis+unix:PATH", "exec:COMMAND",
}

// probeKinds is how the forms begin, for those who have almost written one.
var probeKinds = []string{"exec", "notify", "tcp", "unix", "http", "https", "http+unix", "redis", "redis+unix"}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

const maxHost = 253 // RFC 1035, as text

// ParseProbe reads one of the [ReadyForms] that are probes. No error tells
// more of the text than its kind: somebody may have put a password into it.
func ParseProbe(text string) (Probe, error) {
	kind, rest, _ := strings.Cut(text, ":")
	if kind != "exec" {
		if err := checkLine(text); err != nil {
			return Probe{}, err
		}
	}
	switch kind {
	case "tcp":
		return parseAddress(ProbeConnect, "tcp://"+rest, "", "tcp:HOST:PORT")
	case "unix":
		return parseSocket(ProbeConnect, rest)
	case "http":
		return parseAddress(ProbeHTTP, text, "80", "http://HOST[:PORT][/PATH]")
	case "https":
		return parseAddress(ProbeHTTP, text, "443", "https://HOST[:PORT][/PATH]")
	case "http+unix":
		return parseHTTPSocket(rest)
	case "redis":
		return parseAddress(ProbeRedis, text, "6379", "redis://[HOST[:PORT]]")
	case "redis+unix":
		return parseSocket(ProbeRedis, rest)
	case "exec":
		return parseCommand(rest)
	}
	is := "is of an unknown kind"
	switch {
	case text == "":
		is = "is missing"
	case nearest(kind, probeKinds) != "":
		is = fmt.Sprintf("is %q", kind)
	}
	return Probe{}, fmt.Errorf("%s; want %s", is, orList(ReadyForms))
}

// kindOf is the kind of a probe, "" for what is none, or a wrong one. Where none is
// given, as mostly, nothing is read, and no error made.
func kindOf(r Ready) ProbeKind {
	if !r.IsProbe() {
		return ""
	}
	probe, _ := ParseProbe(string(r))
	return probe.Kind
}

// parseAddress reads KIND://HOST:PORT/PATH. Without a default port, one must
// be given; only HTTP has a path.
func parseAddress(kind ProbeKind, text, port, form string) (Probe, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || !strings.Contains(text, "://") {
		return Probe{}, fmt.Errorf("is not an address; want %s", form)
	}
	host := u.Hostname()
	if host == "" && kind == ProbeRedis {
		host = "127.0.0.1"
	}
	if u.Port() != "" {
		port = u.Port()
	}
	number, err := strconv.ParseUint(port, 10, 16)
	_, notIP := netip.ParseAddr(host)
	switch {
	case u.User != nil:
		return Probe{}, errors.New("has a user or a password in it, which everybody could read; want none, and a password as a credential that ready_credential, or health_credential, names")
	case notIP != nil && (len(host) > maxHost || !hostName.MatchString(host)):
		return Probe{}, fmt.Errorf("has no valid host; want %s", form)
	case err != nil || number == 0 || strings.HasSuffix(u.Host, ":"):
		return Probe{}, fmt.Errorf("has no port from 1 to 65535; want %s", form)
	case strings.Contains(text, "#"), kind != ProbeHTTP && (u.Path != "" || strings.Contains(text, "?")):
		return Probe{}, fmt.Errorf("has more in it than an address; want %s", form)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	p := Probe{Kind: kind, Network: "tcp", Address: host + ":" + port}
	if kind == ProbeHTTP {
		p.URL = u.String()
	}
	return p, nil
}

// maxSocket is what fits sun_path with its NUL: unix(7).
const maxSocket = 107

func parseSocket(kind ProbeKind, path string) (Probe, error) {
	var wrong problems
	checkPath(&wrong, "", path)
	switch {
	case path == "":
		return Probe{}, errors.New("names no socket; want the absolute path of one")
	case len(wrong.Problems) > 0:
		return Probe{}, fmt.Errorf("has a path that %s", wrong.Problems[0].Message)
	case len(path) > maxSocket:
		return Probe{}, fmt.Errorf("has a path of %d bytes; a socket's can have at most %d", len(path), maxSocket)
	}
	return Probe{Kind: kind, Network: "unix", Address: path}, nil
}

// parseHTTPSocket reads SOCKET[:/PATH]. The socket's path has no colon.
func parseHTTPSocket(text string) (Probe, error) {
	socket, path, given := strings.Cut(text, ":")
	if given && !strings.HasPrefix(path, "/") {
		return Probe{}, errors.New("has a path after the socket that does not begin with a slash; want http+unix:SOCKET[:/PATH]")
	}
	p, err := parseSocket(ProbeHTTP, socket)
	if err != nil {
		return Probe{}, err
	}
	u, err := url.Parse("http://localhost" + path)
	if err != nil || strings.Contains(path, "#") {
		return Probe{}, errors.New("has a path after the socket that is not one of a URL; want http+unix:SOCKET[:/PATH]")
	}
	p.URL = u.String()
	return p, nil
}

func parseCommand(line string) (Probe, error) {
	args, err := SplitCommand(line)
	if err != nil {
		return Probe{}, fmt.Errorf("has a command that can't be split: %w", err)
	}
	var wrong problems
	checkExec(&wrong, "", args)
	if len(wrong.Problems) > 0 {
		return Probe{}, fmt.Errorf("has a command that %s", wrong.Problems[0].Message)
	}
	return Probe{Kind: ProbeExec, Command: args}, nil
}
