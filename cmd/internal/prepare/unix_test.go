package prepare

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
)

// Who owns the directory of a socket swaps what is at its path, as fast as it
// goes: between the socket that it left behind and a link to somebody else's,
// who must not be taken for the holder.
func TestASocketThatIsSwapped(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	victim := filepath.Join(elsewhere, "victim")
	listen(t, "unix", victim)
	path, stale, link := filepath.Join(dir, "s"), filepath.Join(dir, "stale"), filepath.Join(dir, "link")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	var stop atomic.Bool
	done := make(chan struct{})
	t.Cleanup(func() { stop.Store(true); <-done })
	go func() {
		defer close(done)
		for !stop.Load() {
			_ = os.Link(stale, path)
			runtime.Gosched()
			_ = os.Symlink(victim, link)
			_ = os.Rename(link, path)
			runtime.Gosched()
			_ = os.Remove(path)
		}
	}()
	for range 5000 {
		if found, w, _ := examine(t.Context(), path); found == live && w.known != 0 {
			t.Fatalf("PID %d is taken for the holder of %s, which is %s", w.known, path, victim)
		}
	}
}
