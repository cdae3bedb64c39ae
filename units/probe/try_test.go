package probe

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe/probetest"
)

func question(t *testing.T, text string) Question {
	t.Helper()
	p, err := units.ParseProbe(text)
	if err != nil {
		t.Fatal(err)
	}
	return Question{Probe: p}
}

func (q Question) with(change func(*Question)) Question {
	change(&q)
	return q
}

func wantAnswer(t *testing.T, q Question, want Answer) {
	t.Helper()
	if got := Try(t.Context(), q); got != want {
		t.Errorf("%s answers %+v, want %+v", q, got, want)
	}
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestTryConnect(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	wantAnswer(t, question(t, "tcp:"+l.Addr().String()), Answer{Ready, "it accepts connections"})
	wantAnswer(t, question(t, "tcp:127.0.0.1:1"), Answer{NotYet, "connection refused"})

	socket := filepath.Join(t.TempDir(), "s")
	wantAnswer(t, question(t, "unix:"+socket), Answer{NotYet, "no such file or directory"})
	s := listen(t, "unix", socket)
	wantAnswer(t, question(t, "unix:"+socket), Answer{Ready, "it accepts connections"})
	s.(*net.UnixListener).SetUnlinkOnClose(false)
	s.Close()
	// A stale one. A program that another test is starting may hold the
	// listener for a moment longer.
	for Try(t.Context(), question(t, "unix:"+socket)).State == Ready {
		runtime.Gosched()
	}
	wantAnswer(t, question(t, "unix:"+socket), Answer{NotYet, "connection refused"})
}

func TestTryHTTP(t *testing.T) {
	t.Parallel()
	pages := http.NewServeMux()
	pages.HandleFunc("/up", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "I am up, ", r.URL.Query().Get("who")) })
	pages.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/nowhere", http.StatusFound) })
	plain := httptest.NewServer(pages)
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(pages)
	t.Cleanup(secure.Close)
	socket := filepath.Join(t.TempDir(), "s")
	local := &httptest.Server{Listener: listen(t, "unix", socket), Config: &http.Server{Handler: pages}}
	local.Start()
	t.Cleanup(local.Close)

	ok := Answer{Ready, "status 200 OK"}
	wantAnswer(t, question(t, plain.URL+"/up"), ok)
	wantAnswer(t, question(t, secure.URL+"/up"), ok)
	wantAnswer(t, question(t, "http+unix:"+socket+":/up"), ok)
	wantAnswer(t, question(t, plain.URL), Answer{NotYet, "status 404 Not Found"})
	wantAnswer(t, question(t, plain.URL).with(func(q *Question) { q.Status = 404 }), Answer{Ready, "status 404 Not Found"})
	wantAnswer(t, question(t, plain.URL+"/away"), Answer{Ready, "status 302 Found"})
	who := question(t, "http+unix:"+socket+":/up?who=me")
	wantAnswer(t, who.with(func(q *Question) { q.Match = "up, me" }), ok)
	wantAnswer(t, who.with(func(q *Question) { q.Match = "up, you" }), Answer{NotYet, "status 200 OK, and a body without the text that it is to have"})
	wantAnswer(t, question(t, strings.Replace(plain.URL, "http:", "https:", 1)), Answer{NotYet, "http: server gave HTTP response to HTTPS client"})
	// Not the port of a server that was closed: another test may have it by now.
	wantAnswer(t, question(t, "http://127.0.0.1:1"), Answer{NotYet, "connection refused"})
}

func TestTryRedis(t *testing.T) {
	t.Parallel()
	with := func(password string) func(*Question) { return func(q *Question) { q.Password = password } }
	open := question(t, probetest.Redis(t, map[string]string{"PING": "+PONG\r\n"}))
	wantAnswer(t, open, Answer{Ready, "PONG"})
	wantAnswer(t, question(t, probetest.Redis(t, map[string]string{"PING": "$4\r\nPONG\r\n"})), Answer{Ready, "PONG"})
	wantAnswer(t, question(t, probetest.Redis(t, map[string]string{"PING": "-LOADING soon\r\n"})), Answer{NotYet, "LOADING soon"})
	wantAnswer(t, question(t, probetest.Redis(t, map[string]string{"PING": strings.Repeat("x", 1000)})), Answer{NotYet, "its answer is not one of Redis"})
	closed := question(t, probetest.Redis(t, map[string]string{"AUTH a b": "+OK\r\n", "PING": "+PONG\r\n", "AUTH no": "-WRONGPASS a b\r\n"}))
	wantAnswer(t, closed.with(with("a b")), Answer{Ready, "PONG"})
	wantAnswer(t, closed.with(with("no")), Answer{Never, "it refuses the password that the credential has (WRONGPASS)"})

	l := listen(t, "tcp", "127.0.0.1:0")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	q := question(t, "redis://"+l.Addr().String())
	got := Try(t.Context(), q)
	if got.State != NotYet || got.Says != "it closed the connection without an answer" && got.Says != "connection reset by peer" {
		t.Errorf("what closes the connection answers %+v", got)
	}
}

func TestTryExec(t *testing.T) {
	t.Parallel()
	wantAnswer(t, question(t, "exec:true"), Answer{Ready, "exit status 0"})
	wantAnswer(t, question(t, `exec:sh -c "echo a; echo b >&2; echo; exit 3"`), Answer{NotYet, "exit status 3: b"})
	wantAnswer(t, question(t, `exec:sh -c "yes | head -c 100000; echo; echo end; exit 1"`), Answer{NotYet, "exit status 1: end"})
	// Whoever may read the state reads it: it is short, and no terminal obeys it.
	wantAnswer(t, question(t, `exec:sh -c "printf 'a\\033[2Jb\\007\\n'; exit 1"`), Answer{NotYet, "exit status 1: a?[2Jb"})
	wantAnswer(t, question(t, `exec:sh -c "yes x | head -c 100000 | tr -d '\\n'; exit 1"`), Answer{NotYet, "exit status 1: " + strings.Repeat("x", 200) + "…"})
	wantAnswer(t, question(t, "exec:/nonexistent"), Answer{Never, "it can't be executed: no such file or directory"})
}
