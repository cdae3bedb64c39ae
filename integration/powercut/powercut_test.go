// Package powercut shows that the store outlives power cuts: of a whole machine
// with a kernel and a disk of its own, emulated by qemu, which is killed.
//
// What lives here are the machine's work (guest.py), what must be there after
// it (the model), and the cuts. It is a package of its own, so that it runs
// beside the other machines' tests.
package powercut

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

// cuts is how many power cuts the same store has to outlive.
const cuts = 20

// patience bounds the wait for the machine's next word.
const patience = 6 * time.Minute

// HERO_PROC_SEED repeats the moments of a run that has failed, as far as an
// emulated machine repeats anything.
const envSeed = "HERO_PROC_SEED"

//go:embed guest.py
var program string

// services of the machine, beside hero_proc.
var services = map[string]string{
	"powercut-found": `[Unit]
Before=hero_proc.service
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -IS /opt/guest.py found
[Install]
WantedBy=multi-user.target
`,
	"powercut": `[Unit]
After=hero_proc.service
[Service]
ExecStart=/usr/bin/python3 -IS /opt/guest.py work
[Install]
WantedBy=multi-user.target
`,
	"powercut-churn": `[Service]
ExecStart=/usr/bin/python3 -IS /opt/guest.py churn
`,
}

var host *machine.Host

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, stop := machine.UntilInterrupted()
	defer stop()
	logf := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	var err error
	if host, err = machine.Open(logf); err != nil {
		logf("%v", err)
		return 1
	}
	defer func() {
		if err := host.Close(); err != nil {
			logf("cannot clean up: %v", err)
		}
	}()
	interrupted := context.AfterFunc(ctx, func() {
		_ = host.Close()
		os.Exit(130)
	})
	defer interrupted()
	return m.Run()
}

// newMachine is a machine with hero_proc and the work, off, with its image made.
func newMachine(t *testing.T) *machine.Machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	deb, err := integration.Package("../../dist", "deb")
	must(err)
	base, err := host.Bootable(ctx)
	must(err)
	m, err := host.New(base)
	must(err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	must(m.Boot(ctx))
	if out, err := integration.Install(ctx, m, deb); err != nil {
		t.Fatalf("cannot install %s: %v\n%s", deb, err, out)
	}
	must(m.WriteFile(ctx, "/opt/guest.py", strings.NewReader(program), 0o755))
	for name, unit := range services {
		must(m.WriteFile(ctx, "/etc/systemd/system/"+name+".service", strings.NewReader(unit), 0o644))
	}
	must(m.PowerOff(ctx))
	_, err = m.Output(ctx, "sh", "-ec", "systemctl enable powercut powercut-found; rm -rf /var/lib/hero_proc /var/log/journal /var/tmp/*.deb")
	must(err)
	must(m.MakeImage(ctx))
	return m
}

// words are what an emulated machine says, one after the other.
type words struct {
	t     *testing.T
	m     *machine.Machine
	lines chan string
}

type word struct {
	what  string // FOUND, STATE, TRY, ACK, RAN; "" once the machine is off
	value []byte
}

func listen(t *testing.T, m *machine.Machine, out io.ReadCloser) words {
	w := words{t, m, make(chan string, 1<<16)}
	go func() {
		defer close(w.lines)
		defer out.Close()
		read := bufio.NewReader(out)
		for {
			// Half a line at the end is none: the power went in it.
			line, err := read.ReadString('\n')
			if err != nil {
				return
			}
			w.lines <- strings.TrimSpace(line)
		}
	}()
	return w
}

func (w words) next() word {
	w.t.Helper()
	select {
	case line, ok := <-w.lines:
		if !ok {
			return word{}
		}
		what, value, _ := strings.Cut(line, " ")
		if what == "ERROR" {
			w.t.Fatalf("the machine says: %s\n%s", value, w.m.ConsoleLog())
		}
		return word{what, []byte(value)}
	case <-time.After(patience):
		w.t.Fatalf("the machine has said nothing for %s; its console:\n%s", patience, w.m.ConsoleLog())
		return word{}
	}
}

// cut is when the power goes: so many acknowledged changes and a start after
// the boot, or, when that is none, in the boot itself; and some time more.
type cut struct {
	acks  int
	delay time.Duration
}

// TestPowerCuts has definitions changed and history written, and cuts the
// power in it, again and again. What was acknowledged is seen outside of the
// machine, so no cut takes it away.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv(envSeed); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("%s is %q: %v", envSeed, v, err)
		}
	}
	t.Logf("repeat with %s=%d", envSeed, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	m := newMachine(t)
	must := model{defined: map[string]string{}}
	for i := range cuts + 1 {
		c := cut{acks: 1 + random.IntN(5), delay: time.Duration(random.IntN(300)) * time.Millisecond}
		if i > 0 && i < cuts && random.IntN(4) == 0 {
			c = cut{delay: time.Duration(random.IntN(3000)) * time.Millisecond}
		}
		must = life(t, m, must, c, i)
		if t.Failed() {
			t.Fatalf("in life %d\n%s", i, m.ConsoleLog())
		}
	}
	if len(must.ran) < cuts/4 || must.next < cuts/4 {
		t.Errorf("only %d changes and %d starts were seen: nothing was shown", must.next, len(must.ran))
	}
	t.Logf("%d changes and %d starts, over %d power cuts", must.next, len(must.ran), cuts)
}

// life is one boot until its power cut: it holds the machine to what must be
// there, and is what must be there after it.
func life(t *testing.T, m *machine.Machine, must model, c cut, number int) model {
	t.Helper()
	start := time.Now()
	out, err := m.Emulate(fmt.Sprintf("powercut.next=%d", must.next))
	if err != nil {
		t.Fatal(err)
	}
	w := listen(t, m, out)
	var said, first time.Duration
	acks, ran := 0, 0
	see := func(now word) {
		t.Helper()
		switch now.what {
		case "FOUND":
			if found := read[string](t, now); found != "ok" && (number > 0 || found != "no store") {
				t.Errorf("the power cut has left a store of which integrity_check says %s", found)
			}
		case "STATE":
			said = time.Since(start)
			v := read[view](t, now)
			for _, wrong := range must.wrong(v) {
				t.Error(wrong)
			}
			// What was under way has happened, or never will.
			must.defined = v.Stored
			for _, name := range []string{"hero_db", "c0", "c1", "c2"} {
				delete(must.defined, name)
			}
		case "TRY":
			must.next = read[int](t, now)
		case "ACK":
			n := read[int](t, now)
			if acks++; acks == 1 {
				first = time.Since(start)
			}
			must.defined, must.next = change(must.defined, n), n+1
		case "RAN":
			ran++
			must.ran = append(must.ran, read[string](t, now))
		default:
			t.Errorf("the machine says %q", now)
		}
	}
	for reached := false; !reached && !t.Failed(); {
		now := w.next()
		if now.what == "" {
			t.Fatalf("the machine went off by itself; its console:\n%s", m.ConsoleLog())
		}
		see(now)
		reached = c.acks == 0 && now.what == "FOUND" || c.acks > 0 && acks >= c.acks && ran > 0
	}
	// The moment is any: nothing is waited for.
	time.Sleep(c.delay)
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	for now := w.next(); now.what != ""; now = w.next() {
		see(now)
	}
	t.Logf("life %2d: found after %s, first change after %s, %d changes, %d starts, cut after %s",
		number, said.Round(time.Millisecond), first.Round(time.Millisecond), acks, ran, time.Since(start).Round(time.Millisecond))
	return must
}

func read[T any](t *testing.T, w word) (value T) {
	t.Helper()
	if err := json.Unmarshal(w.value, &value); err != nil {
		t.Fatalf("%s: %v in %s", w.what, err, w.value)
	}
	return value
}
