package prepare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/notes"
)

const unit = "hero-core-web.service"

// called is what a call has done.
type called struct {
	exit           int
	stdout, stderr string
	states         []string
	events         []string // "code: message"
}

func callMain(t *testing.T, args ...string) called {
	t.Helper()
	var c called
	var stdout, stderr bytes.Buffer
	dir := t.TempDir()
	c.exit = Main(t.Context(), args, Env{
		Getenv: func(string) string { return "" }, Stdout: &stdout, Stderr: &stderr, Notes: dir,
		Notify: func(state string) { c.states = append(c.states, state) },
	})
	c.stdout, c.stderr = stdout.String(), stderr.String()
	events, err := notes.Take(dir, unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		c.events = append(c.events, fmt.Sprintf("%s: %s", e.Code, e.Message))
	}
	return c
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ourselves are the words for this test's own process.
func ourselves() holder { return look(os.Getpid()) }

func TestWhatIsFree(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	_ = l.Close()
	for _, args := range [][]string{
		nil,
		{"--port=" + l.Addr().String(), "--kill-others"},
		{"--socket=" + filepath.Join(t.TempDir(), "none"), "--socket=/nonexistent/none"},
	} {
		if c := callMain(t, append([]string{"--unit=" + unit}, args...)...); c.exit != 0 || c.stderr != "" || c.states != nil || c.events != nil {
			t.Errorf("%q: %+v", args, c)
		}
	}
}

func TestPortThatIsHeld(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		addr := listen(t, "tcp", address).Addr().String()
		c := callMain(t, "--unit="+unit, "--port="+addr)
		why := fmt.Sprintf("not started: port %s is held by %s; %s", addr, ourselves(), ourselves().remedy())
		if c.exit != 1 || c.stderr != "hero_proc_probe: "+why+"\n" || !slices.Equal(c.states, []string{"STATUS=" + why}) ||
			!slices.Equal(c.events, []string{`port-taken: service "core/web": it was ` + why}) {
			t.Errorf("got %+v, want %s", c, why)
		}
	}
}

func TestSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	left := listen(t, "unix", path("stale")).(*net.UnixListener)
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	gone, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("gram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	c := callMain(t, "--unit="+unit, "--socket="+path("stale"), "--socket="+path("gram"))
	if c.exit != 0 || len(c.events) != 2 || c.events[0] != `stale-socket-removed: service "core/web": socket `+path("stale")+" was stale, and was removed" {
		t.Errorf("stale: %+v", c)
	}
	for _, name := range []string{"stale", "gram"} {
		if _, err := os.Lstat(path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}

	listen(t, "unix", path("live"))
	alive, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("livegram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = alive.Close() })
	for _, name := range []string{"live", "livegram"} {
		c := callMain(t, "--unit="+unit, "--socket="+path(name))
		if want := fmt.Sprintf("not started: socket %s is held by %s; ", path(name), ourselves()); c.exit != 1 || !strings.Contains(c.stderr, want) {
			t.Errorf("%s: %+v, want %s", name, c, want)
		}
		if _, err := os.Lstat(path(name)); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := callMain(t, "--unit="+unit, "--socket="+path("file"), "--kill-others"); c.exit != 1 || !strings.Contains(c.stderr, "what is at "+path("file")+" is no socket, and was left alone; ") {
		t.Errorf("a file: %+v", c)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "not started: --unit is missing; see hero_proc_probe prepare --help"},
		{[]string{"--unit=x", "y"}, `not started: it wants options alone, and has "y"; see hero_proc_probe prepare --help`},
		{[]string{"--unit=x", "--port=http"}, "has no port from 1 to 65535; want [HOST:]PORT"},
		{[]string{"--nonsense"}, "flag provided but not defined: -nonsense"},
	} {
		if c := callMain(t, tt.args...); c.exit != 1 || !strings.Contains(c.stderr, tt.says) || len(c.states) != 1 {
			t.Errorf("%q: %+v, want %s", tt.args, c, tt.says)
		}
	}
	if c := callMain(t, "--help"); c.exit != 0 || !strings.HasPrefix(c.stdout, "Usage: hero_proc_probe prepare --unit=UNIT") || !strings.Contains(c.stdout, "-kill-others") {
		t.Errorf("help: %+v", c)
	}
}

// What has let go of it meanwhile is not ended.
func TestAProcessThatHoldsItNoMore(t *testing.T) {
	t.Parallel()
	if signal, err := endProcessOf(context.Background(), os.Getpid(), what{inodes: []uint64{1 << 62}}); err != nil || signal != "itself" {
		t.Errorf("ended by %s, %v", signal, err)
	}
}
