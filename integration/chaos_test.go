package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/chaos"
)

// chaosVariable is the seed, to repeat a run that failed: it says its seed.
const chaosVariable = "HERO_PROC_CHAOS"

const (
	chaosRounds   = 200
	chaosServices = 30
	// chaosQuiet are those, of the services, that nobody ever touches.
	chaosQuiet = 10
	// chaosPatience is for one round. What is well takes less than a second.
	chaosPatience = 60 * time.Second
)

// restless is a machine with services in it, and what is known of them.
type restless struct {
	*guest
	rand    *rand.Rand
	entries []chaos.Entry
	cursor  string
	// touched are the services that the round has touched, lately those of the
	// one before: a signal may take its time.
	touched, lately map[string]bool
	// ensured says that the round has started the daemon anew.
	ensured bool
	runs    map[string]int // of ad-hoc jobs: their number, and the exit status they should have
	// doomed are the processes that have a deadly signal, which takes its time
	// where the kernel writes a core first.
	doomed []string
	deeds  []string
	// cuts is how often the daemon was killed amid what it was asked.
	cuts int
}

// definition is a service of three actions: one that is done before the
// others start, and two that stay.
func (r *restless) definition(i int) string {
	restart := []string{"always", "on-failure", "no"}[i%3]
	long := fmt.Sprintf(`"exec": ["/usr/bin/sleep", "infinity"], "restart": %q, "restart_delay": "100ms", "start_limit_burst": 100000, "start_limit_interval": "1s"`, restart)
	return fmt.Sprintf(`{"name": "c%d", "actions": [
		{"name": "prepare", "exec": ["/usr/bin/true"], "is_process": false, "start_limit_burst": 100000, "start_limit_interval": "1s"},
		{"name": "main", "depends_on": ["prepare"], %s},
		{"name": "side", "depends_on": ["main"], %s}]}`, i, long, long)
}

// victim is a service that may be touched, and notes that it was.
func (r *restless) victim() (name, unit string) {
	name = fmt.Sprint("c", r.rand.IntN(chaosServices-chaosQuiet))
	r.touched[name] = true
	return name, "hero-core-" + name + ".service"
}

func (r *restless) did(format string, args ...any) {
	r.deeds = append(r.deeds, fmt.Sprintf(format, args...))
}

// try runs a command that may be refused: what is down can't be killed.
func (r *restless) try(args ...string) {
	r.t.Helper()
	res := r.run(args...)
	r.did("%s (%d)", strings.Join(args, " "), res.Exit)
}

// touch does something to one service by systemd alone.
func (r *restless) touch() {
	r.t.Helper()
	name, unit := r.victim()
	side := "hero-core-" + name + "@side.service"
	switch r.rand.IntN(8) {
	case 0:
		r.try("systemctl", "stop", unit)
	case 1, 2:
		r.try("systemctl", "start", unit)
	case 3:
		r.try("systemctl", "restart", unit)
	case 4:
		r.kill("SEGV", unit) // as if it had crashed
	case 5:
		r.kill("KILL", unit)
	case 6:
		r.kill("TERM", unit)
	case 7:
		r.kill("ABRT", side)
	}
}

func (r *restless) kill(signal, unit string) {
	r.t.Helper()
	if pid := r.prop(unit, "MainPID"); pid != "0" {
		r.doomed = append(r.doomed, pid)
	}
	r.try("systemctl", "kill", "--signal="+signal, unit)
}

// bury waits until what was killed is dead.
func (r *restless) bury() {
	r.t.Helper()
	for _, pid := range r.doomed {
		r.waitFor("process "+pid+" to die", func() bool { return r.run("test", "-e", "/proc/"+pid).Exit != 0 })
	}
	r.doomed = nil
}

// round does something bad.
func (r *restless) round() {
	r.t.Helper()
	switch n := r.rand.IntN(20); {
	case n < 4:
		r.did("kill -9 of the daemon")
		r.sh("systemctl kill --signal=KILL %s", daemon)
		r.ensured = true
		for range r.rand.IntN(4) {
			r.touch()
		}
		r.sh("systemctl start %s", daemon)
	case n == 4:
		r.did("restart of the daemon")
		r.ensured = true
		r.sh("systemctl restart %s", daemon)
	case n < 7:
		r.did("restart of the bus")
		r.sh("systemctl restart dbus")
		for range r.rand.IntN(2) {
			r.touch()
		}
	case n == 7:
		r.did("daemon-reexec")
		r.sh("systemctl daemon-reexec")
	case n == 8:
		r.did("daemon-reload")
		r.sh("systemctl daemon-reload")
	case n < 12:
		name, _ := r.victim()
		r.try("hero_proc", "service", []string{"start", "stop", "restart"}[r.rand.IntN(3)], name)
	case n < 13:
		r.submit(false)
	case n == 13:
		r.submit(true)
	case n < 16:
		r.cutOff()
	default:
		for range 1 + r.rand.IntN(3) {
			r.touch()
		}
	}
}

// cutOff asks for something and kills the daemon meanwhile, or as soon as it has
// answered, when what was asked for may be over before there is another one.
func (r *restless) cutOff() {
	r.t.Helper()
	name, _ := r.victim()
	ask := "hero_proc service " + []string{"start", "stop", "restart"}[r.rand.IntN(3)] + " " + name + " --no-wait"
	if r.rand.IntN(3) == 0 {
		ask = "hero_proc run --name adhoc -- /bin/sh -c 'exit 1'"
	}
	// From before the daemon is asked to after it has answered.
	after := fmt.Sprintf("sleep 0.%03d", r.rand.IntN(60))
	if r.rand.IntN(2) == 0 {
		after = "wait"
	}
	r.did("kill -9 of the daemon (%s) after: %s", after, ask)
	r.ensured = true
	r.cuts++
	r.sh("%s", r.killing(fmt.Sprintf("%s >/dev/null 2>&1 & %s", ask, after))+"; wait")
	r.sh("systemctl start %s", daemon)
}

// killing is a command after which the daemon is killed at once.
func (r *restless) killing(command string) string {
	r.t.Helper()
	return command + "; kill -9 " + r.prop(daemon, "MainPID")
}

// submit runs something beside the services. killed says that the daemon is as
// soon as it has answered.
func (r *restless) submit(killed bool) {
	r.t.Helper()
	status := r.rand.IntN(3)
	command := fmt.Sprintf("hero_proc run --json --name adhoc -- /bin/sh -c 'exit %d'", status)
	if killed {
		command = r.killing(command)
		r.ensured = true
		r.did("kill -9 of the daemon right after:")
	}
	var answer struct {
		Job struct {
			ID int64 `json:"id"`
		} `json:"job"`
	}
	out := r.sh("%s", command)
	if killed {
		r.sh("systemctl start %s", daemon)
	}
	r.must(json.Unmarshal([]byte(out), &answer))
	r.did("run of exit %d: job %d", status, answer.Job.ID)
	r.runs[strconv.FormatInt(answer.Job.ID, 10)] = status
}

func (r *restless) units() []chaos.Unit {
	r.t.Helper()
	var all []chaos.Unit
	// Without --all there are none that are down, but have not failed.
	for block := range strings.SplitSeq(r.sh("systemctl show --all --property=Id,LoadState,InvocationID,ActiveState,SubState 'hero-*.service'"), "\n\n") {
		p := map[string]string{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			p[k] = v
		}
		if p["LoadState"] == "not-found" {
			continue // somebody names it
		}
		all = append(all, chaos.Unit{Name: p["Id"], Invocation: p["InvocationID"], Active: p["ActiveState"], Sub: p["SubState"]})
	}
	slices.SortFunc(all, func(a, b chaos.Unit) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (r *restless) jobs() []chaos.Job {
	r.t.Helper()
	var all []chaos.Job
	rows := r.sql(`SELECT id, run_id, unit, attempt, phase, coalesce(nullif(invocation_id, ''), '-'), coalesce(ended_at, 0),
		coalesce(nullif(result, ''), '-'), exit_code, exit_status FROM jobs ORDER BY id`)
	for line := range strings.Lines(rows) {
		var j chaos.Job
		var ended int64
		_, err := fmt.Sscan(line, &j.ID, &j.Run, &j.Unit, &j.Attempt, &j.Phase, &j.Invocation, &ended, &j.Result, &j.ExitCode, &j.ExitStatus)
		r.must(err)
		j.Invocation, j.Result = strings.Trim(j.Invocation, "-"), strings.TrimPrefix(j.Result, "-")
		if ended != 0 {
			j.Ended = time.UnixMicro(ended)
		}
		all = append(all, j)
	}
	return all
}

// journal is what PID 1 has written so far.
func (r *restless) journal() []chaos.Invocation {
	r.t.Helper()
	args := []string{"journalctl", "--boot", "--output=json", "--quiet", "_PID=1",
		"--output-fields=MESSAGE_ID,UNIT,INVOCATION_ID,EXIT_CODE,EXIT_STATUS,UNIT_RESULT"}
	if r.cursor != "" {
		args = append(args, "--after-cursor="+r.cursor)
	}
	r.sh("journalctl --sync")
	out, err := r.Output(r.ctx, args...)
	r.must(err)
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			chaos.Entry
			Cursor string `json:"__CURSOR"`
		}
		r.must(json.Unmarshal(lines.Bytes(), &e))
		r.cursor = e.Cursor
		r.entries = append(r.entries, e.Entry)
	}
	r.must(lines.Err())
	all, err := chaos.Read(r.entries)
	r.must(err)
	return all
}

// faults are what does not agree now; there may be some while the daemon has
// not heard of all yet.
func (r *restless) faults(before []chaos.Unit) (faults []string, now []chaos.Unit) {
	r.t.Helper()
	now = r.units()
	for _, u := range now {
		if !u.Settled() {
			return []string{fmt.Sprintf("%s is %s (%s)", u.Name, u.Active, u.Sub)}, now
		}
	}
	jobs := r.jobs()
	faults = chaos.Check(jobs, r.journal(), now, r.cuts)
	faults = append(faults, chaos.Untouched(before, now, func(unit string) bool {
		name := strings.TrimSuffix(strings.TrimPrefix(unit, "hero-core-"), ".service")
		name, _, _ = strings.Cut(name, "@")
		return r.touched[name] || r.lately[name] || strings.HasPrefix(name, "adhoc-r")
	}, r.ensured)...)
	for id, status := range r.runs {
		at := slices.IndexFunc(jobs, func(j chaos.Job) bool { return strconv.FormatInt(j.ID, 10) == id })
		switch {
		case at < 0:
			faults = append(faults, fmt.Sprintf("job %s, which was acknowledged, is not in the history", id))
		case jobs[at].Ended.IsZero() || jobs[at].ExitStatus != status || (status == 0) != (jobs[at].Phase == "succeeded"):
			faults = append(faults, fmt.Sprintf("it should have ended with status %d: %v", status, jobs[at]))
		}
	}
	// Units are read one after the other: what changes meanwhile may be half seen.
	if after := r.units(); len(faults) == 0 && !slices.Equal(now, after) {
		return []string{"it goes on changing"}, after
	}
	return faults, now
}

// agreed waits until nothing is on its way and the history agrees with systemd
// and the journal, as it must after whatever was done.
func (r *restless) agreed(before []chaos.Unit) []chaos.Unit {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, chaosPatience)
	defer cancel()
	for {
		r.back()
		faults, now := r.faults(before)
		if len(faults) == 0 {
			return now
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			r.t.Fatalf("%d things don't agree:\n%s\n\nthe last of what was done:\n%s", len(faults), strings.Join(faults, "\n"),
				strings.Join(r.deeds[max(0, len(r.deeds)-20):], "\n"))
		}
	}
}

// Whatever happens to the daemon, the bus, systemd and the services, in
// whatever order: the history agrees with systemd and the journal at every
// step, and nothing is restarted that nobody restarted.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(chaosVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", chaosVariable, err)
		}
	}
	t.Logf("to do the same again: %s=%d", chaosVariable, seed)
	g := boot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	g.ctx = ctx
	r := &restless{guest: g, rand: rand.New(rand.NewPCG(seed, 0)), touched: map[string]bool{}, runs: map[string]int{}}
	for i := range chaosServices {
		g.must(g.WriteFile(g.ctx, "/root/service.json", strings.NewReader(r.definition(i)), 0o644))
		g.hp("service", "set", "--file", "/root/service.json", "--now")
	}
	now := r.agreed(nil)
	quiet := g.identity("hero-core-c29.service")
	for round := range chaosRounds {
		r.lately, r.touched = r.touched, map[string]bool{}
		r.ensured = false
		r.did("round %d:", round)
		r.round()
		r.bury()
		now = r.agreed(now)
	}
	if after := g.identity("hero-core-c29.service"); after != quiet {
		t.Errorf("a service that nobody touched is %s, and was %s", after, quiet)
	}
	if n := g.sql("PRAGMA integrity_check"); n != "ok" {
		t.Errorf("the store's integrity: %s", n)
	}
	t.Logf("%d jobs, %d entries of PID 1's, %d ad-hoc jobs", len(r.jobs()), len(r.entries), len(r.runs))
}
