package units

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseProbe(t *testing.T) {
	t.Parallel()
	tcp := func(kind ProbeKind, address, url string) Probe {
		return Probe{Kind: kind, Network: "tcp", Address: address, URL: url}
	}
	unix := func(kind ProbeKind, path, url string) Probe {
		return Probe{Kind: kind, Network: "unix", Address: path, URL: url}
	}
	for _, tt := range []struct {
		text string
		want Probe
	}{
		{"tcp:localhost:80", tcp(ProbeConnect, "localhost:80", "")},
		{"tcp:127.0.0.1:65535", tcp(ProbeConnect, "127.0.0.1:65535", "")},
		{"tcp:[::1]:80", tcp(ProbeConnect, "[::1]:80", "")},
		{"unix:/run/x/y.sock", unix(ProbeConnect, "/run/x/y.sock", "")},
		{"unix:/run/a:b", unix(ProbeConnect, "/run/a:b", "")},
		{"http://localhost", tcp(ProbeHTTP, "localhost:80", "http://localhost")},
		{"http://h_1.example:8080/a/b?c=d&e", tcp(ProbeHTTP, "h_1.example:8080", "http://h_1.example:8080/a/b?c=d&e")},
		{"https://[::1]/", tcp(ProbeHTTP, "[::1]:443", "https://[::1]/")},
		{"http+unix:/run/s", unix(ProbeHTTP, "/run/s", "http://localhost")},
		{"http+unix:/run/s:/a?b=c:d", unix(ProbeHTTP, "/run/s", "http://localhost/a?b=c:d")},
		{"redis://", tcp(ProbeRedis, "127.0.0.1:6379", "")},
		{"redis://:6380", tcp(ProbeRedis, "127.0.0.1:6380", "")},
		{"redis://db", tcp(ProbeRedis, "db:6379", "")},
		{"redis://127.0.0.1:6379", tcp(ProbeRedis, "127.0.0.1:6379", "")},
		{"redis+unix:/run/redis.sock", unix(ProbeRedis, "/run/redis.sock", "")},
		{"exec:/bin/check --deep 'a b'", Probe{Kind: ProbeExec, Command: []string{"/bin/check", "--deep", "a b"}}},
		{"exec:true", Probe{Kind: ProbeExec, Command: []string{"true"}}},
	} {
		if got, err := ParseProbe(tt.text); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s is %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
		if !Ready(tt.text).IsProbe() {
			t.Errorf("%s is no probe", tt.text)
		}
	}
}

func TestParseProbeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"", "is missing; want exec, notify, tcp:HOST:PORT, "},
		{"redsi://x", `is "redsi"; want exec, notify, `},
		{"hunter2", "is of an unknown kind; want exec, notify, "},
		{"tcp", "has no valid host; want tcp:HOST:PORT"},
		{"tcp:80", "has no port from 1 to 65535; want tcp:HOST:PORT"},
		{"tcp:localhost", "has no port from 1 to 65535; want tcp:HOST:PORT"},
		{"tcp:localhost:", "has no port from 1 to 65535; want tcp:HOST:PORT"},
		{"tcp:localhost:0", "has no port from 1 to 65535; want tcp:HOST:PORT"},
		{"tcp:localhost:65536", "has no port from 1 to 65535; want tcp:HOST:PORT"},
		{"tcp:localhost:http", "is not an address; want tcp:HOST:PORT"},
		{"tcp://localhost:80", "has no valid host; want tcp:HOST:PORT"},
		{"tcp::1:80", "has no valid host; want tcp:HOST:PORT"},
		{"tcp:localhost:80/x", "has more in it than an address; want tcp:HOST:PORT"},
		{"tcp:a b:80", "is not an address; want tcp:HOST:PORT"},
		{"tcp:-x:80", "has no valid host; want tcp:HOST:PORT"},
		{"tcp:localhost:80\n", "has control characters; want one line without any"},
		{"unix:", "names no socket; want the absolute path of one"},
		{"unix:run/x", `has a path that is not an absolute path without "//", "." and ".."; want one`},
		{"unix:/" + strings.Repeat("x", 107), "has a path of 108 bytes; a socket's can have at most 107"},
		{"http:localhost", "is not an address; want http://HOST[:PORT][/PATH]"},
		{"http://", "has no valid host; want http://HOST[:PORT][/PATH]"},
		{"http://localhost/#x", "has more in it than an address; want http://HOST[:PORT][/PATH]"},
		{"http://me@localhost/", "has a user or a password in it, which everybody could read; want none, and a password as a credential that ready_credential, or health_credential, names"},
		{"http+unix:/run/s:x", "has a path after the socket that does not begin with a slash; want http+unix:SOCKET[:/PATH]"},
		{"http+unix:/run/s:/%zz", "has a path after the socket that is not one of a URL; want http+unix:SOCKET[:/PATH]"},
		{"http+unix::/x", "names no socket; want the absolute path of one"},
		{"redis:6379", "is not an address; want redis://[HOST[:PORT]]"},
		{"redis://localhost/0", "has more in it than an address; want redis://[HOST[:PORT]]"},
		{"redis://localhost?db=0", "has more in it than an address; want redis://[HOST[:PORT]]"},
		{"redis://:secret@localhost", "has a user or a password in it, which everybody could read; want none, and"},
		{"redis+unix:x", `has a path that is not an absolute path without`},
		{"exec:", "has a command that is missing; want a command line"},
		{"exec:a 'b", "has a command that can't be split: the quote ' at byte 3 is not closed"},
		{"exec:./a", "has a command that can't be a program; want an absolute path"},
		{"exec:a \x00", "has a command that is not text; want UTF-8 without NUL"},
	} {
		got, err := ParseProbe(tt.text)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q is %+v, %v; want the error %q", tt.text, got, err, tt.want)
		}
	}
}

func TestProbeIsNamedWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"tcp:[::1]:80":             "tcp:[::1]:80",
		"unix:/run/x":              "unix:/run/x",
		"https://h/a?token=b":      "https://h/a",
		"http://h:80":              "http://h:80",
		"http+unix:/run/x":         "http+unix:/run/x",
		"http+unix:/run/x:/a?b":    "http+unix:/run/x:/a",
		"redis://":                 "redis://127.0.0.1:6379",
		"redis+unix:/run/x":        "redis+unix:/run/x",
		"exec:/bin/check --pass x": "exec:/bin/check",
	} {
		p, err := ParseProbe(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.String(); got != want {
			t.Errorf("%s is named %s, want %s", text, got, want)
		}
		if again, err := ParseProbe(p.String()); err != nil || again.Kind != p.Kind || again.Address != p.Address {
			t.Errorf("%s reads as %+v, %v", p, again, err)
		}
	}
}
