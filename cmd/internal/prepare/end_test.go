package prepare

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The environment is the service's, whose user may put a systemctl of its own
// into it; what we execute is executed as root.
func TestTheServicesPathIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, "executed")
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n: >"+marker+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	_ = stopUnit(t.Context(), "hero-none-none.service") // there is none
	if _, err := os.Stat(marker); err == nil {
		t.Error("a systemctl from the service's PATH was executed")
	}
}

// A socket that was handed on tells of who has listened on it, which may be
// anybody by now: it is named, and never ended.
func TestWhoHasOnlyListenedIsNotEnded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l := listen(t, "unix", path).(*net.UnixListener)
	l.SetUnlinkOnClose(false)
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	// While it is on its way, no process has it open.
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range ends {
		defer func() { _ = syscall.Close(fd) }()
	}
	if err := syscall.Sendmsg(ends[0], []byte{0}, syscall.UnixRights(int(file.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_ = file.Close()

	us := ourselves()
	us.unsure = true
	c := callMain(t, "--unit="+unit, "--socket="+path, "--kill-others")
	want := "socket " + path + " is held by " + us.String() + ", which kill_others does not end: it may have handed it on, or be another one by now; " + us.remedy()
	if c.exit != 1 || !strings.Contains(c.stderr, "not started: "+want) {
		t.Errorf("got %+v, want %s", c, want)
	}
	if signal, err := endProcessOf(t.Context(), us.pid, what{known: us.pid}); err != nil || signal != "itself" {
		t.Errorf("ended by %s, %v", signal, err)
	}
}

// A process has ended once it is a zombie, also while its parent has no time
// for it.
func TestAZombieHasEnded(t *testing.T) {
	t.Parallel()
	file, err := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "infinity")
	child.ExtraFiles = []*os.File{file}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() }) // not before
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	if signal, err := endProcessOf(t.Context(), child.Process.Pid, what{inodes: []uint64{stat.Ino}}); err != nil || signal != "SIGTERM" {
		t.Errorf("ended by %s, %v; want SIGTERM", signal, err)
	}
}

// Anybody can call himself what he wants, and have a file of that name.
func TestWhoCallsHimselfEssential(t *testing.T) {
	t.Parallel()
	start := func(name string, args ...string) holder {
		t.Helper()
		child := exec.Command(name, args...)
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stdin.Close(); _ = child.Wait() })
		if _, err := stdout.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return look(child.Process.Pid)
	}
	const rename = "printf sshd >/proc/$$/comm; echo; read end"
	if h := start("/bin/sh", "-c", rename); h.program != "sshd" || h.image == "" || isEssential(h) {
		t.Errorf("a shell that is called sshd is %+v", h)
	}
	file := filepath.Join(t.TempDir(), "sshd")
	// Not by us: a child of another test may have it open for writing then.
	if err := exec.Command("cp", "/bin/sh", file).Run(); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(file, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if h := start(file, "-c", "echo; read end"); h.program != "sshd" || h.image != "" || isEssential(h) {
		t.Errorf("a copy of a shell that is called sshd is %+v", h)
	}
}
