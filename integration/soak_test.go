package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakVariable is how long the soak goes on, as Go writes durations: "10m".
// However long it is, the bounds of what may grow are the same.
const soakVariable = "HERO_PROC_SOAK"

const (
	soakDefault = 24 * time.Second
	soakRounds  = 3 // the first is the warm-up
)

// Bounds of what may be more at the end than after the warm-up. Memory is that
// of the process alone (PSS), in KiB: what a round leaves behind for the
// garbage collector differs by as much.
const (
	moreMemory = 24 << 10
	moreFiles  = 4
	// mostMemory is what the process never has, in any round.
	mostMemory = 512 << 10
)

// size is what a process has.
type size struct {
	pss, peak int // KiB
	files     int
}

func (g *guest) size(pid string) (s size) {
	g.t.Helper()
	out := g.sh(`awk '/^Pss:/ {print $2}' /proc/%[1]s/smaps_rollup; awk '/^VmHWM:/ {print $2}' /proc/%[1]s/status; ls /proc/%[1]s/fd | wc -l`, pid)
	if _, err := fmt.Sscan(out, &s.pss, &s.peak, &s.files); err != nil {
		g.t.Fatalf("%v in %q", err, out)
	}
	return s
}

// attack runs the attacker; with flags of setpriv, as somebody else. It returns how
// many calls were refused as too many.
func (g *guest) attack(as []string, flags ...string) (refused int) {
	g.t.Helper()
	r, err := g.Run(g.ctx, append(append(as, "/usr/local/bin/attacker"), flags...)...)
	if err != nil {
		g.t.Error(err)
		return 0
	}
	var tally struct {
		Answers map[string]int
		Faults  []string
	}
	if err := json.Unmarshal([]byte(r.Stdout), &tally); err != nil {
		g.t.Errorf("the attacker ends with status %d, %q and %q", r.Exit, r.Stdout, r.Stderr)
		return 0
	}
	calls := 0
	for _, n := range tally.Answers {
		calls += n
	}
	for _, fault := range tally.Faults {
		g.t.Errorf("%v %v: %s", as, flags, fault)
	}
	g.t.Logf("%v %v: %d answers: %v", as, flags, calls, tally.Answers)
	if tally.Answers[""] == 0 || len(tally.Answers) < 2 {
		g.t.Errorf("the attacker saw %v, and should see answers and refusals", tally.Answers)
	}
	return tally.Answers["org.freedesktop.DBus.Error.LimitsExceeded"]
}

// Whatever anybody on the machine sends, the daemon lives on, answers each
// call, serves the administrator, and is afterwards what it was before.
func TestSoak(t *testing.T) {
	t.Parallel()
	length := soakDefault
	if text := os.Getenv(soakVariable); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", soakVariable, err)
		}
	}
	binary := filepath.Join(t.TempDir(), "attacker")
	build := exec.Command("go", "build", "-o", binary, "./attacker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the attacker: %v\n%s", err, out)
	}
	g := boot(t)
	ctx, cancel := context.WithTimeout(t.Context(), length+2*patience)
	defer cancel()
	g.ctx = ctx
	g.must(g.CopyIn(g.ctx, binary, "/usr/local/bin/attacker"))
	for i := range 20 {
		g.set(fmt.Sprint("other", i), sleeper)
	}
	// Jobs 1 to 8, which root's attacker knows and may cancel, are the prey's.
	g.set("prey", sleeper, "--now")
	g.sh("for i in $(seq 9); do hero_proc service restart prey; done")
	g.set("steady", sleeper, "--now")
	steady, restarts := g.identity("hero-core-steady.service"), g.prop(daemon, "NRestarts")
	pid := g.prop(daemon, "MainPID")

	var before, after size
	for round := range soakRounds {
		g.set("prey", sleeper, "--now") // root's attacker may remove it
		turn := (length / soakRounds * 2 / 3).String()
		var both sync.WaitGroup
		both.Go(func() { g.attack(nil, "-for", turn) })
		both.Go(func() { g.attack(asNobody, "-for", turn) })
		both.Wait()
		g.set("prey", sleeper, "--now")
		g.floodBeside(length / soakRounds / 3)
		g.quiet()
		after = g.size(pid)
		t.Logf("round %d: %+v", round, after)
		if round == 0 {
			before = after
		}
	}
	// What the collector has not given back yet it gives back in a while.
	g.waitFor(fmt.Sprintf("less than %d KiB more than %d", moreMemory, before.pss), func() bool {
		after = g.size(pid)
		return after.pss <= before.pss+moreMemory
	})
	if after.files > before.files+moreFiles {
		t.Errorf("it has %d files open, and had %d after the warm-up:\n%s", after.files, before.files, g.sh("ls -l /proc/%s/fd", pid))
	}
	if after.peak > mostMemory {
		t.Errorf("at its peak it had %d KiB", after.peak)
	}
	if now := g.prop(daemon, "MainPID"); now != pid {
		t.Errorf("its process is %s, and was %s", now, pid)
	}
	if n := g.prop(daemon, "NRestarts"); n != restarts {
		t.Errorf("it was restarted %s times", n)
	}
	if now := g.identity("hero-core-steady.service"); now != steady {
		t.Errorf("a service that nobody touched is %s, and was %s", now, steady)
	}
	g.hp("service", "status", "steady")
	if faults := g.sh("journalctl --boot --unit=hero_proc --output=cat | grep -e 'failed inside' -e panic: || true"); faults != "" {
		t.Errorf("the journal has faults of its own:\n%.4000s", faults)
	}
}

// floodBeside has a user fill as much of the bus as one user may, while root
// asks and must be answered.
func (g *guest) floodBeside(length time.Duration) {
	g.t.Helper()
	over, refused := make(chan struct{}), 0
	go func() {
		defer close(over)
		refused = g.attack(asNobody, "-flood", "200", "-for", length.String())
	}()
	longest, times := time.Duration(0), 0
	for flooded := true; flooded; {
		begun := time.Now()
		if r := g.run("hero_proc", "service", "list"); r.Exit != 0 {
			g.t.Errorf("beside the flood root's service list ends with status %d after %v: %s", r.Exit, time.Since(begun), r.Stderr)
		}
		times++
		longest = max(longest, time.Since(begun))
		select {
		case <-over:
			flooded = false
		default:
		}
	}
	g.t.Logf("beside a flood of which %d calls were refused root was answered %d times, at the latest after %v", refused, times, longest)
	if refused == 0 {
		g.t.Error("no call was refused as too many, which is no flood")
	}
}

// inFlight is the number of calls that the daemon works on, without the one
// that asks.
func (g *guest) inFlight() int {
	g.t.Helper()
	for line := range strings.Lines(g.hp("metrics")) {
		if text, ok := strings.CutPrefix(line, "hero_proc_api_calls_in_flight "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			g.must(err)
			return n - 1
		}
	}
	g.t.Fatal("the metrics don't tell the calls in flight")
	return 0
}

// quiet waits until nobody's call is worked on: those who left have lost theirs.
func (g *guest) quiet() {
	g.t.Helper()
	g.waitFor("an end of all calls", func() bool { return g.inFlight() == 0 })
}
