package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ownMounts is set in the process that may mount.
const ownMounts = "HERO_PROC_TEST_OWN_MOUNTS"

// A real disk that is really full. The mounts are of a process of its own, so
// that none is left behind however the test ends.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(ownMounts) == "" {
		again := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestFullDisk$", "-test.v")
		again.Env = append(os.Environ(), ownMounts+"=1", "TMPDIR="+t.TempDir())
		again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if os.Getuid() != 0 {
			again.SysProcAttr.Unshareflags = 0
			again.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
			again.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			again.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("in a mount namespace (needs root, or user namespaces that may mount): %v\n%s", err, out)
		}
		return
	}
	t.Run("boots and goes on", testBootsOnFullDisk)
	t.Run("fills up while it is used", testDiskFillsUp)
	t.Run("without room at all", testNoRoomAtAll)
	t.Run("changed since the backup", testFullDiskSkipsBackup)
	t.Run("damaged", testFullDiskDamaged)
	t.Run("damaged history", testFullDiskDamagedHistory)
	t.Run("damaged history and little room", testLittleRoomDamagedHistory)
	t.Run("new", testFullDiskNew)
}

// disk is a tmpfs.
type disk struct {
	t    *testing.T
	root string
}

func newDisk(t *testing.T) disk {
	t.Helper()
	d := disk{t, t.TempDir()}
	if err := syscall.Mount("tmpfs", d.root, "tmpfs", 0, "size=8m,mode=700"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.root, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return d
}

func (d disk) dir() string   { return filepath.Join(d.root, "store") }
func (d disk) other() string { return filepath.Join(d.root, "somebody") }

// fill takes the last page.
func (d disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.other(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	var zeros zeroReader
	if _, err := io.Copy(struct{ io.Writer }{f}, zeros); !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatalf("fill the disk: %v", err)
	}
	if free := d.free(); free != 0 {
		d.t.Fatalf("%d bytes are free yet", free)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (d disk) free() uint64 {
	d.t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.root, &st); err != nil {
		d.t.Fatal(err)
	}
	return st.Bfree * uint64(st.Bsize)
}

// leave takes all but that many bytes.
func (d disk) leave(bytes int64) {
	d.t.Helper()
	f, err := os.Create(d.other())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(d.free())-bytes); err != nil {
		d.t.Fatalf("fill the disk: %v", err)
	}
}

func (d disk) clear() {
	d.t.Helper()
	if err := os.Remove(d.other()); err != nil {
		d.t.Fatal(err)
	}
}

// refusesDefinitions holds that no definition changes, and that all are there.
func refusesDefinitions(t *testing.T, s *Store, want []string) {
	t.Helper()
	_, err := s.UpdateService(t.Context(), define("late").ID, func(*units.Service) (units.Service, error) { return define("late"), nil })
	wantCode(t, err, units.CodeStoreFull)
	wantCode(t, s.RemoveService(t.Context(), define(want[0]).ID), units.CodeStoreFull)
	if got := names(t, s); !slices.Equal(got, want) {
		t.Errorf("services are %q, want %q", got, want)
	}
}

// works holds that a store whose disk has room again takes everything.
func works(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Room(t.Context()); err != nil {
		t.Errorf("Room: %v", err)
	}
	hasBallast(t, s)
	if err := s.BackUpIfChanged(t.Context()); err != nil {
		t.Errorf("BackUpIfChanged: %v", err)
	}
	put(t, s, define("late"))
	if err := s.RemoveService(t.Context(), define("late").ID); err != nil {
		t.Errorf("RemoveService: %v", err)
	}
	if err := saveOne(t, s); err != nil {
		t.Errorf("SaveJobs: %v", err)
	}
	if _, err := s.Backup(t.Context()); err != nil {
		t.Errorf("Backup: %v", err)
	}
}

func hasBallast(t *testing.T, s *Store) {
	t.Helper()
	info, err := os.Stat(s.ballast())
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Mode() != 0o600 || got < ballastSize {
		t.Errorf("the ballast has mode %v and takes %d bytes", info.Mode(), got)
	}
}

func hasNoBallast(t *testing.T, s *Store) {
	t.Helper()
	if _, err := os.Stat(s.ballast()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ballast is there: %v", err)
	}
}

func saveOne(t *testing.T, s *Store) error {
	t.Helper()
	job := units.Job{Service: define("one").ID, Action: "run", Unit: "hero-one.service", Phase: units.PhaseRunning, Created: s.now()}
	return s.SaveJobs(t.Context(), []units.Record{{Job: &job, Origin: units.OriginAPI}})
}

func told(message string) units.Event {
	e := event(message)
	e.Time = clock()()
	return e
}

func countJobs(t *testing.T, s *Store) int {
	t.Helper()
	jobs, err := s.LiveJobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(jobs)
}

// integrity checks the files in dir as a power cut would leave them: copied,
// and with room.
func integrity(t *testing.T, dir string) *Store {
	t.Helper()
	copied := crash(t, dir)
	db, err := sql.Open("sqlite3", filepath.Join(copied, fileName))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var found string
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&found); err != nil || found != "ok" {
		t.Errorf("integrity_check: %q, %v", found, err)
	}
	return open(t, copied)
}

// backedUp is a closed store with services and a backup of them.
func backedUp(t *testing.T, d disk) {
	t.Helper()
	s := open(t, d.dir())
	put(t, s, define("one"))
	put(t, s, define("two"))
	backUp(t, s)
	hasBallast(t, s)
	closeStore(t, s)
}

func wantFullEvent(t *testing.T, events []units.Event) {
	t.Helper()
	if len(events) != 1 || events[0].Code != units.EventStoreFull || !strings.HasPrefix(events[0].Message, "cannot take changes of definitions") || !strings.HasPrefix(events[0].Remedy, "df -h ") {
		t.Errorf("events are %+v, want one: %s", events, units.EventStoreFull)
	}
}

func testBootsOnFullDisk(t *testing.T) {
	d := newDisk(t)
	backedUp(t, d)
	d.fill()
	s, events := openWith(t, d.dir(), Options{})
	wantFullEvent(t, events)
	hasNoBallast(t, s)
	if s.alone {
		t.Error("the ballast was no help")
	}
	refusesDefinitions(t, s, []string{"one", "two"})
	if err := saveOne(t, s); err != nil {
		t.Errorf("SaveJobs: %v", err)
	}
	if err := s.appendLogs(t.Context(), []units.Event{told("full"), told("full")}); err != nil {
		t.Errorf("appendLogs: %v", err)
	}
	if n, err := s.PruneLogs(t.Context(), units.LogFilter{}); err != nil || n != 2 {
		t.Errorf("PruneLogs: %d, %v", n, err)
	}
	if err := s.BackUpIfChanged(t.Context()); err != nil {
		t.Errorf("BackUpIfChanged of what has a backup: %v", err)
	}
	_, err := s.Backup(t.Context())
	wantCode(t, err, units.CodeStoreFull)
	if got := countJobs(t, integrity(t, d.dir())); got != 1 {
		t.Errorf("%d jobs after a power cut", got)
	}
	d.clear()
	works(t, s)
}

func testDiskFillsUp(t *testing.T) {
	d := newDisk(t)
	s := open(t, d.dir())
	put(t, s, define("one"))
	d.fill()
	// The room that SQLite has taken already may do for a small change, so a big one.
	big := define("one")
	big.Actions[0].Env = map[string]string{"BIG": strings.Repeat("x", 60_000)}
	_, err := s.UpdateService(t.Context(), big.ID, func(*units.Service) (units.Service, error) { return big, nil })
	wantCode(t, err, units.CodeStoreFull)
	hasBallast(t, s) // it is not for definitions
	saved := 0
	write := func() (err error) {
		if err = saveOne(t, s); err == nil {
			saved++
			err = s.appendLogs(t.Context(), []units.Event{told(strings.Repeat("x", 50_000))})
		}
		return err
	}
	for err = write(); err == nil; err = write() {
	}
	wantCode(t, err, units.CodeStoreFull)
	hasNoBallast(t, s)
	// Without the ballast it would be none, or what one page more has room for.
	if saved < 10 {
		t.Errorf("only %d writes came through", saved)
	}
	refusesDefinitions(t, s, []string{"one"})
	if got := countJobs(t, s); got != saved {
		t.Errorf("%d jobs, %d were saved", got, saved)
	}
	waiting := len(s.pending.jobs)
	if got := countJobs(t, integrity(t, d.dir())); got != saved-waiting {
		t.Errorf("%d jobs after a power cut, %d were saved, %d of them kept in memory", got, saved, waiting)
	}
	d.clear()
	works(t, s)
	hasBallast(t, s)
	if got := countJobs(t, integrity(t, d.dir())); got != saved+1 {
		t.Errorf("%d jobs once there is room, want %d", got, saved+1)
	}
}

// No ballast, no page free: neither for the WAL nor for its index.
func testNoRoomAtAll(t *testing.T) {
	for _, c := range []struct {
		name    string
		crashed bool // what was written last is in the WAL alone
	}{{"closed", false}, {"crashed", true}} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			from := filepath.Join(t.TempDir(), "store")
			s := open(t, from)
			var want []string
			for i := range 40 {
				name := fmt.Sprintf("service%02d", i)
				put(t, s, define(name))
				want = append(want, name)
			}
			if err := s.BackUpIfChanged(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.crashed {
				from = crash(t, from)
			} else {
				closeStore(t, s)
			}
			// As after a reboot: the index is not there.
			for _, name := range []string{ballastName, fileName + "-shm"} {
				if err := os.Remove(filepath.Join(from, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if got := size(filepath.Join(from, fileName+"-wal")); (got > 0) != c.crashed {
				t.Fatalf("the WAL has %d bytes", got)
			}
			if err := os.CopyFS(d.dir(), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			d.fill()
			s, events := openWith(t, d.dir(), Options{})
			wantFullEvent(t, events)
			if !s.alone {
				t.Error("there was room")
			}
			refusesDefinitions(t, s, want)
			// Closing gives back the WAL that was played in; it is taken, too.
			d.fill()
			err := s.appendLogs(t.Context(), []units.Event{told(strings.Repeat("x", 200_000))})
			wantCode(t, err, units.CodeStoreFull)
			refusesDefinitions(t, s, want)
			if got := names(t, integrity(t, d.dir())); !slices.Equal(got, want) {
				t.Errorf("after a power cut: %q", got)
			}
			d.clear()
			works(t, s)
			closeStore(t, s)
			if got := names(t, open(t, d.dir())); !slices.Equal(got, want) {
				t.Errorf("after all: %q", got)
			}
		})
	}
}

func testFullDiskSkipsBackup(t *testing.T) {
	d := newDisk(t)
	backedUp(t, d)
	s := open(t, d.dir())
	put(t, s, define("zwei"))
	closeStore(t, s)
	d.fill()
	s, events := openWith(t, d.dir(), Options{})
	wantFullEvent(t, events)
	refusesDefinitions(t, s, []string{"one", "two", "zwei"})
	wantCode(t, s.BackUpIfChanged(t.Context()), units.CodeStoreFull)
	if got := list(t, d.dir(), "backups", "*"); len(got) != 1 {
		t.Errorf("backups are %q", got)
	}
	d.clear()
	works(t, s)
}

func testFullDiskDamaged(t *testing.T) {
	d := newDisk(t)
	backedUp(t, d)
	file := filepath.Join(d.dir(), fileName)
	truncate(t, file, 5000)
	d.fill()
	s, events := openWith(t, d.dir(), Options{})
	if len(events) == 0 || events[0].Code != units.EventStoreRestored {
		t.Fatalf("events are %+v", events)
	}
	wantFullEvent(t, events[1:])
	refusesDefinitions(t, s, []string{"one", "two"})
	closeStore(t, s)

	// Again, now without a ballast: not even the copy has room.
	truncate(t, file, 5000)
	damaged := read(t, file)
	d.fill()
	for range 2 {
		_, _, err := Open(t.Context(), d.dir(), Options{})
		wantCode(t, err, units.CodeStoreFull)
		var coded *units.Error
		if !errors.As(err, &coded) || !strings.HasPrefix(coded.Remedy, "df -h ") {
			t.Errorf("without a remedy: %v", err)
		}
		if got := read(t, file); got != damaged {
			t.Error("the damaged file was changed")
		}
	}
	d.clear()
	s, events = openWith(t, d.dir(), Options{})
	if len(events) != 1 || events[0].Code != units.EventStoreRestored {
		t.Errorf("events are %+v", events)
	}
	works(t, s)
}

// Nothing can be mended then, and the services start all the same.
func testFullDiskDamagedHistory(t *testing.T) {
	d := newDisk(t)
	backedUp(t, d)
	s := open(t, d.dir())
	put(t, s, define("zwei"))
	want := []string{"one", "two", "zwei"}
	save(t, s, job("u", "a", units.PhaseFailed))
	closeStore(t, s)
	damageTable(t, s.path(), "jobs")
	s = open(t, d.dir())
	checkFails(t, s)
	closeStore(t, s)
	if err := os.Remove(filepath.Join(d.dir(), ballastName)); err != nil {
		t.Fatal(err)
	}
	d.fill()
	s, events := openWith(t, d.dir(), Options{})
	if len(events) != 2 || events[1].Level != units.LevelError || !strings.Contains(events[1].Message, "can't be replaced: no space left") {
		t.Fatalf("events are %+v", events)
	}
	wantFullEvent(t, events[:1])
	refusesDefinitions(t, s, want)
	checkPasses(t, s) // what is known is not told again
	closeStore(t, s)
	d.clear()
	s, events = openWith(t, d.dir(), Options{})
	if len(events) != 1 || events[0].Code != units.EventStoreRestored {
		t.Errorf("events are %+v", events)
	}
	if got := names(t, s); !slices.Equal(got, want) {
		t.Errorf("services are %q, want %q", got, want)
	}
	works(t, s)
}

// Room for the store, and not for another one.
func testLittleRoomDamagedHistory(t *testing.T) {
	d := newDisk(t)
	s := open(t, d.dir())
	put(t, s, define("one"))
	for range 10 {
		if err := s.appendLogs(t.Context(), []units.Event{told(strings.Repeat("x", 200_000))}); err != nil {
			t.Fatal(err)
		}
	}
	backUp(t, s)
	closeStore(t, s)
	damageTable(t, s.path(), "jobs")
	s = open(t, d.dir())
	checkFails(t, s)
	closeStore(t, s)
	d.leave(1 << 20)
	for i := range 2 {
		s, events := openWith(t, d.dir(), Options{})
		if len(events) != 1 || events[0].Code != units.EventBootStepFailed || !strings.Contains(events[0].Message, "can't be replaced: no space left") {
			t.Errorf("events are %+v", events)
		}
		hasBallast(t, s)
		checkPasses(t, s)
		put(t, s, define(fmt.Sprint("more", i)))
		closeStore(t, s)
	}
	d.clear()
	mended(t, d.dir(), Options{}, "the definitions", "more0", "more1", "one")
}

func testFullDiskNew(t *testing.T) {
	d := newDisk(t)
	d.fill()
	_, _, err := Open(t.Context(), d.dir(), Options{})
	wantCode(t, err, units.CodeStoreFull)
	d.clear()
	works(t, open(t, d.dir()))
}
