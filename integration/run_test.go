package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// submitted is a job as hero_proc run --json prints it.
type submitted struct {
	ID           int64  `json:"id"`
	Run          int64  `json:"run"`
	Unit         string `json:"unit"`
	InvocationID string `json:"invocation_id"`
	Phase        string `json:"phase"`
}

// submit runs a command of hero_proc run, which must be started.
func (g *guest) submit(args ...string) submitted {
	g.t.Helper()
	var answer struct{ Job submitted }
	out := g.hp(append([]string{"--json", "run"}, args...)...)
	g.must(json.Unmarshal([]byte(out), &answer))
	return answer.Job
}

// job is a job as hero_proc job show prints it.
func (g *guest) job(id int64) submitted {
	g.t.Helper()
	var answer struct{ Job submitted }
	g.must(json.Unmarshal([]byte(g.hp("--json", "job", "show", fmt.Sprint(id))), &answer))
	return answer.Job
}

// phase waits until a job is in that phase.
func (g *guest) phase(id int64, want string) submitted {
	g.t.Helper()
	var j submitted
	g.waitFor(fmt.Sprintf("job %d to be %s", id, want), func() bool {
		j = g.job(id)
		return j.Phase == want
	})
	return j
}

// runsLeft are the units of ad-hoc runs that systemd has.
func (g *guest) runsLeft() string {
	g.t.Helper()
	return g.sh("systemctl list-units --all --plain --no-legend 'hero-*-r[0-9]*.service'")
}

// noRunsLeft waits until all of them are unloaded.
func (g *guest) noRunsLeft() {
	g.t.Helper()
	g.waitFor("the units of the runs to be unloaded", func() bool { return g.runsLeft() == "" })
}

func TestRunPassesOnHowItEnds(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("web", sleeper, "--env", "FROM=definition", "--user", "nobody")
	g.hp("service", "set", "web", "--action", "migrate", "--oneshot", "--exec", `sh -c 'id -un; echo "$FROM $MORE"; exit 3'`, "--env", "FROM=migrate", "--user", "nobody")
	g.set("secret", `sh -c 'test -s $CREDENTIALS_DIRECTORY/token && echo there'`, "--credential", "token=generate", "--status", "stop")
	for _, c := range []struct {
		name           string
		args           []string
		exit           int
		stdout, stderr string
	}{
		{"success", []string{"--wait", "--", "true"}, 0, "", ""},
		{"exit status", []string{"--wait", "--", "sh", "-c", "echo out; echo err >&2; exit 7"}, 7, "out\nerr\n", ""},
		{"signal", []string{"--wait", "--", "sh", "-c", "kill -KILL $$"}, 137, "", ""},
		{"no newline at the end", []string{"--wait", "--", "printf", "a\\nb"}, 0, "a\nb", ""},
		{"unprintable", []string{"--wait", "--", "printf", "\\377\\033\\n"}, 0, "\xff\x1b\n", ""},
		{"no such program", []string{"--wait", "--", "/nonexistent"}, 203, "", "EXEC"},
		{"time is up", []string{"--wait", "--property", "timeout_start=100ms", "--", "sleep", "infinity"}, 143, "", "timeout"},
		{"context", []string{"--wait", "--context", "lab", "--", "grep", "0::", "/proc/self/cgroup"}, 0, "0::/hero.slice/hero-lab.slice/hero-lab-grep-r8.service\n", ""},
		{"user", []string{"--wait", "--property", "user=nobody", "--env", "A=1", "--", "sh", "-c", "id -un; echo $A; pwd"}, 0, "nobody\n1\n/\n", ""},
		{"action", []string{"--wait", "--env", "MORE=more", "@web:migrate"}, 3, "nobody\nmigrate more\n", ""},
		{"action with a generated secret", []string{"--wait", "@secret"}, 0, "there\n", ""},
		{"pipe", []string{"--pipe", "--", "sh", "-c", "echo out; echo err >&2; exit 5"}, 5, "out\n", "err\n"},
		{"pipe and signal", []string{"--pipe", "--", "sh", "-c", "kill -TERM $$"}, 143, "", ""},

		{"unknown property", []string{"--property", "memmory_max=1M", "--", "true"}, 2, "", `did you mean "memory_max"?`},
		{"wrong value", []string{"--property", "memory_max=lots", "--", "true"}, 2, "", "memory_max is \"lots\""},
		{"nothing", nil, 2, "", "want a command"},
		{"no such service", []string{"@none:main"}, 4, "", "no service"},
		{"no such action", []string{"@web:none"}, 2, "", "main or migrate"},
		{"pipe and host", []string{"--pipe", "-H", "there", "--", "true"}, 2, "", "does not reach another machine"},
		{"pipe and process", []string{"--pipe", "--process", "--", "true"}, 2, "", "no end to wait for"},
	} {
		r := g.run(append([]string{"hero_proc", "run"}, c.args...)...)
		if r.Exit != c.exit || r.Stdout != c.stdout || !strings.Contains(r.Stderr, c.stderr) || c.stderr == "" && r.Stderr != "" {
			t.Errorf("%s: it ends with status %d, %q and %q; want %d, %q and %q", c.name, r.Exit, r.Stdout, r.Stderr, c.exit, c.stdout, c.stderr)
		}
	}
	if got := g.sh("echo hi | hero_proc run --pipe -- cat"); got != "hi" {
		t.Errorf("what went through the pipe is %q", got)
	}
	if got := g.sh("hero_proc run --pipe -- sh -c 'yes | head -n 200000' | wc -l"); got != "200000" {
		t.Errorf("%s lines came through the pipe", got)
	}
	g.noRunsLeft()
	g.sh("journalctl --sync")
	if got := g.sh("journalctl -o cat HERO_CONTEXT=lab HERO_SERVICE=grep HERO_ACTION=main"); !strings.Contains(got, "hero-lab.slice") {
		t.Errorf("the journal has %q under the fields of the run", got)
	}
	want := `core	true	run	over	1	succeeded	success	1	0
core	sh	run	over	1	failed	exit-code	1	7
core	sh	run	over	1	failed	signal	2	9`
	if got := g.sql(`SELECT r.context_name, r.service_name, origin, state, attempt, phase, result, exit_code, exit_status FROM runs r JOIN jobs ON run_id = r.id
		WHERE origin = 'run' ORDER BY r.id LIMIT 3`); got != want {
		t.Errorf("the history has\n%s\nwant\n%s", got, want)
	}
	if got := g.sql("SELECT DISTINCT action FROM jobs WHERE service_name = 'web'"); got != "migrate" {
		t.Errorf("the history has the actions %q of web", got)
	}
}

func TestRunShowsAllThatIsPrinted(t *testing.T) {
	t.Parallel()
	g := boot(t)
	for range 3 {
		if got := g.sh("hero_proc run --wait -- seq 10000 | sha256sum"); got != g.sh("seq 10000 | sha256sum") {
			t.Errorf("the output of 10,000 lines is another one: %s", got)
		}
	}
	// A line that the journal has in several pieces is one line again.
	if got := g.sh(`hero_proc run --wait -- python3 -c 'print("x" * 200000)' | wc -lc`); strings.Join(strings.Fields(got), " ") != "1 200001" {
		t.Errorf("a long line has come as %q (lines, bytes)", got)
	}
	// Nobody reads on: that ends it.
	g.sh("hero_proc run --name endless --wait -- sh -c 'while :; do echo y; sleep 0.01; done' | head -n 1")
	g.noRunsLeft()
}

func TestCancelEndsTheWholeCgroup(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const stubborn = `trap "" TERM; (trap "" TERM; exec sleep 1000) & sleep 1000 & wait; while :; do sleep 1; done`
	j := g.submit("--name", "stubborn", "--property", "timeout_stop=1s", "--", "sh", "-c", stubborn)
	g.phase(j.ID, "running")
	procs := "/sys/fs/cgroup" + g.prop(j.Unit, "ControlGroup") + "/cgroup.procs"
	g.waitFor("its children", func() bool { return len(strings.Fields(g.sh("cat %s", procs))) == 3 })
	pids := strings.Fields(g.sh("cat %s", procs))
	g.hp("job", "cancel", fmt.Sprint(j.ID))
	g.noRunsLeft()
	for _, pid := range pids {
		if g.run("test", "-d", "/proc/"+pid).Exit == 0 {
			t.Errorf("process %s is there after the end of its job", pid)
		}
	}
	if got := g.job(j.ID).Phase; got != "failed" && got != "canceled" {
		t.Errorf("the job is %s", got)
	}
	// Ctrl-C is a cancel, too.
	for _, mode := range []string{"--wait", "--pipe"} {
		cmd, err := g.Command(g.ctx, "sh", "-c", "echo $$ >/run/waiter; exec hero_proc run "+mode+" --name waited -- sleep 1000")
		g.must(err)
		g.must(cmd.Start())
		g.waitFor("the job to run", func() bool { return g.run("systemctl", "is-active", "--quiet", "hero-core-waited-r*").Exit == 0 })
		g.sh("kill -INT $(cat /run/waiter)")
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 130 {
			t.Errorf("%s: hero_proc ends with %d after Ctrl-C", mode, got)
		}
		if got := g.sql("SELECT phase FROM jobs ORDER BY id DESC LIMIT 1"); got != "canceled" {
			t.Errorf("%s: after Ctrl-C the job is %s", mode, got)
		}
		g.noRunsLeft()
	}
}

func TestUnprivilegedUserMayRunNothing(t *testing.T) {
	t.Parallel()
	g := boot(t)
	for mode, says := range map[string]string{"--wait": "may not read what services print", "--pipe": "is refused to user 65534", "--process": "is refused to user 65534"} {
		r := g.run(append(asNobody, "hero_proc", "run", mode, "--", "touch", "/run/was-here")...)
		if r.Exit != 1 || !strings.Contains(r.Stderr, says) {
			t.Errorf("%s: nobody's run ends with %d and %q", mode, r.Exit, r.Stderr)
		}
	}
	if g.run("test", "-e", "/run/was-here").Exit == 0 {
		t.Error("it was run all the same")
	}
	if got := g.sql("SELECT count(*) FROM runs"); got != "0" {
		t.Errorf("the history has %s runs", got)
	}
	// The store has a few connections, and opens the next one when two calls meet.
	fds := func() string {
		return g.sh("ls -l /proc/$(systemctl show -P MainPID %s)/fd | grep -v hero_proc.db | wc -l", daemon)
	}
	before := fds()
	g.must(g.WriteFile(g.ctx, "/usr/local/lib/flood.py", strings.NewReader(flood), 0o644))
	out, err := g.Output(g.ctx, append(asNobody, "python3", "/usr/local/lib/flood.py")...)
	g.must(err)
	if !strings.Contains(out, "InteractiveAuthorizationRequired") && !strings.Contains(out, "AccessDenied") {
		t.Errorf("the flood was answered with %s", out)
	}
	g.waitFor("the daemon to have as many descriptors as before", func() bool { return fds() == before })
}

// flood sends file descriptors, as nobody, with calls that take them, that
// don't, and of the wrong type, and waits for the answers.
const flood = `
import dbus, collections
fd = dbus.types.UnixFd(open("/dev/null"))
run = dbus.Dictionary({"name": dbus.String("x", variant_level=1), "exec": dbus.String("true", variant_level=1)}, signature="sv")
answers = collections.Counter()
manager = "tf.ourworld.HeroProc1.Manager"
for connection in range(10):
    bus = dbus.bus.BusConnection(dbus.bus.BusConnection.TYPE_SYSTEM)
    for method, signature, args in [
        ("RunJobWithFiles", "a{sv}hhht", (run, fd, fd, fd, dbus.UInt64(0))),
        ("RunJobWithFiles", "a{sv}hht", (run, fd, fd, dbus.UInt64(0))),
        ("RunJobWithFiles", "ah", ([fd, fd, fd],)),
        ("RunJob", "a{sv}t", (dbus.Dictionary({"stdin": dbus.types.UnixFd(open("/dev/null"), variant_level=1)}, signature="sv"), dbus.UInt64(0))),
        ("ListServices", "h", (fd,)),
    ] * 20:
        try:
            bus.call_blocking("tf.ourworld.HeroProc1", "/tf/ourworld/HeroProc1", manager, method, signature, args, timeout=20)
            answers["taken: " + method] += 1
        except dbus.DBusException as e:
            answers[e.get_dbus_name()] += 1
    bus.close()
print(dict(answers))
assert not any(a.startswith("taken") for a in answers), answers
`

// The daemon is killed, while runs are going and somebody waits for one.
func TestRunsOutliveTheDaemon(t *testing.T) {
	t.Parallel()
	g := boot(t)
	cmd, err := g.Command(g.ctx, "hero_proc", "run", "--wait", "--name", "waited", "--", "sh", "-c", "echo before; while ! test -e /run/go; do sleep 0.1; done; echo after; exit 9")
	g.must(err)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	g.must(cmd.Start())
	other := g.submit("--name", "other", "--", "sleep", "1000")
	other = g.phase(other.ID, "running")
	g.waitFor("the waited one to run", func() bool { return g.run("systemctl", "is-active", "--quiet", "hero-core-waited-r*").Exit == 0 })
	before := g.identity(other.Unit)
	kill := "systemctl kill --signal=KILL " + daemon
	for _, disturb := range []string{kill, kill, "systemctl restart dbus", "systemctl daemon-reexec", "systemctl restart " + daemon} {
		recoveries := g.recoveries()
		g.sh("%s", disturb)
		g.waitFor("everything to be read again", func() bool { return g.recoveries() > recoveries })
		g.back()
	}
	if after := g.identity(other.Unit); after != before {
		t.Errorf("the other run is %s, was %s", after, before)
	}
	if j := g.job(other.ID); j.Phase != "running" || j.InvocationID != other.InvocationID {
		t.Errorf("its job is %+v, was %+v", j, other)
	}
	g.sh("touch /run/go")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 9 || out.String() != "before\nafter\n" {
		t.Errorf("the waiting client ends with %d and %q, %q; want 9", got, out.String(), errs.String())
	}
	g.hp("job", "cancel", fmt.Sprint(other.ID))
	g.noRunsLeft() // so they are pinned again, and let go again
	if got := g.sql("SELECT service_name, phase, exit_status FROM jobs ORDER BY service_name"); got != "other\tcanceled\t15\nwaited\tfailed\t9" {
		t.Errorf("the history has\n%s", got)
	}
}

func TestProcessesComeBackAfterAReboot(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		t.Run(map[bool]string{false: "reboot", true: "power cut"}[cut], func(t *testing.T) {
			t.Parallel()
			g := boot(t)
			g.set("web", sleeper)
			process := g.submit("--process", "--name", "process", "--env", "A=B", "--", "sleep", "infinity")
			once := g.submit("--name", "once", "--", "sleep", "infinity")
			canceled := g.submit("--process", "--name", "canceled", "--", "sleep", "infinity")
			stopped := g.submit("--process", "--name", "stopped", "--", "sleep", "infinity")
			ended := g.submit("--process", "--name", "ended", "--", "true")
			for _, j := range []submitted{process, once, canceled, stopped} {
				g.phase(j.ID, "running")
			}
			g.hp("job", "cancel", fmt.Sprint(canceled.ID))
			g.sh("systemctl stop %s", stopped.Unit)
			g.phase(canceled.ID, "canceled")
			g.phase(stopped.ID, "canceled")
			g.phase(ended.ID, "succeeded")
			g.waitFor("those that are over to be unloaded", func() bool { return strings.Count(g.runsLeft(), "\n") == 1 })
			for attempt := 2; attempt < 4; attempt++ {
				if cut {
					g.sh("sync")
					g.must(g.Kill())
					g.on()
				} else {
					g.reboot()
				}
				g.active(daemon, process.Unit)
				if got := g.runsLeft(); !strings.HasPrefix(got, process.Unit) || strings.Contains(got, "\n") {
					t.Errorf("after the boot there are\n%s", got)
				}
				if got := g.prop(process.Unit, "Environment"); got != "A=B" {
					t.Errorf("its environment is %q", got)
				}
				if got := g.sql(fmt.Sprintf("SELECT count(*), sum(phase = 'running'), max(attempt) FROM jobs WHERE run_id = %d", process.Run)); got != fmt.Sprintf("%d\t1\t%d", attempt, attempt) {
					t.Errorf("jobs of the process, those running, and the last attempt: %q", got)
				}
				if got := g.sql("SELECT count(*) FROM jobs j JOIN runs ON runs.id = run_id WHERE origin = 'run' AND phase IN ('pending', 'running')"); got != "1" {
					t.Errorf("%s jobs of runs are live", got)
				}
				if got := g.sql("SELECT code FROM logs WHERE source = 'hero_proc.autostart_process_jobs'"); got != strings.TrimSpace(strings.Repeat("run-queued-again\n", attempt-1)) {
					t.Errorf("reported were %q", got)
				}
				// How it ended, the journal may tell or not.
				if phase := g.job(once.ID).Phase; phase != "lost" && phase != "failed" && phase != "canceled" {
					t.Errorf("what is no process, and died with the machine, is %s", phase)
				}
				// A restart of the daemon starts nothing.
				before := g.identity(process.Unit)
				g.sh("systemctl restart %s", daemon)
				g.back()
				if after := g.identity(process.Unit); after != before {
					t.Errorf("after a restart of the daemon the process is %s, was %s", after, before)
				}
			}
		})
	}
}

// A run that takes its time to stop keeps nobody from starting hero_proc.
func TestRunThatIsSlowToStop(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.hp("run", "--name", "stubborn", "--property", "timeout_stop=1h", "--", "sh", "-c", "trap '' TERM; touch /run/trapped; sleep infinity & wait; sleep infinity & wait")
	unit := "hero-core-stubborn-r1.service"
	g.waitFor("the run to ignore SIGTERM", func() bool { return g.run("test", "-e", "/run/trapped").Exit == 0 })
	g.hp("job", "cancel", "1")
	g.state(unit, "deactivating")
	g.sh("systemctl kill --signal=KILL %s; systemctl restart %s", daemon, daemon)
	g.back()
	if state := g.prop(unit, "ActiveState"); state != "deactivating" {
		t.Errorf("the run is %s, want it still deactivating", state)
	}
	g.sh("systemctl kill --signal=KILL %s", unit)
	g.state(unit, "inactive")
}

// Nothing piles up: not in systemd, nor in the daemon.
func TestManyRunsLeaveNothing(t *testing.T) {
	t.Parallel()
	g := boot(t)
	// The store has a few connections, and opens the next one when two calls meet.
	fds := func() string {
		return g.sh("ls -l /proc/$(systemctl show -P MainPID %s)/fd | grep -v hero_proc.db | wc -l", daemon)
	}
	g.must(g.WriteFile(g.ctx, "/usr/local/lib/many.py", strings.NewReader(manyRuns), 0o644))
	many := func(n int) {
		g.sh("python3 /usr/local/lib/many.py %d", n)
		g.noRunsLeft()
	}
	g.sh("hero_proc run --pipe -- true </dev/null")
	many(10)
	before := fds()
	many(150)
	g.waitFor("the daemon to have as many descriptors as before", func() bool { return fds() == before })
	if got := g.sql("SELECT state, count(*) FROM runs WHERE origin = 'run' GROUP BY state"); got != "over\t321" {
		t.Errorf("the runs are %q", got)
	}
	if got := g.sql("SELECT phase, count(*) FROM jobs GROUP BY phase ORDER BY phase"); got != "failed\t80\nsucceeded\t241" {
		t.Errorf("the jobs are %q", got)
	}
}

// manyRuns runs as many pairs of jobs as its argument says, one with streams
// and one without, of which every other fails.
const manyRuns = `
import dbus, sys
bus = dbus.SystemBus()
def run(method, signature, *args):
    return bus.call_blocking("tf.ourworld.HeroProc1", "/tf/ourworld/HeroProc1", "tf.ourworld.HeroProc1.Manager", method, signature, args)
def what(*command):
    return dbus.Dictionary({"name": dbus.String("many", variant_level=1), "exec": dbus.Array(command, signature="s", variant_level=1)}, signature="sv")
for i in range(int(sys.argv[1])):
    fd = dbus.types.UnixFd(open("/dev/null", "r+"))
    run("RunJobWithFiles", "a{sv}hhht", what("true"), fd, fd, fd, dbus.UInt64(0))
    last = run("RunJob", "a{sv}t", what("sh", "-c", "exit %d" % (i % 2)), dbus.UInt64(0))
    bus.call_blocking("tf.ourworld.HeroProc1", last, "tf.ourworld.HeroProc1.Job", "Wait", "t", (dbus.UInt64(0),), timeout=60)
`

// What ended while the daemon was down is finished from the journal.
func TestRunsThatEndWithoutTheDaemon(t *testing.T) {
	t.Parallel()
	g := boot(t)
	until := func(name string, status int) submitted {
		j := g.submit("--name", name, "--", "sh", "-c", fmt.Sprintf("while ! test -e /run/go; do sleep 0.1; done; exit %d", status))
		return g.phase(j.ID, "running")
	}
	good, bad := until("good", 0), until("bad", 4)
	process := g.submit("--process", "--name", "process", "--property", "restart_delay=100ms", "--", "sleep", "infinity")
	process = g.phase(process.ID, "running")
	g.sh("systemctl stop %s", daemon)
	g.sh("touch /run/go")
	for _, j := range []submitted{good, bad} {
		g.waitFor("the run to end", func() bool { return g.run("systemctl", "is-active", "--quiet", j.Unit).Exit != 0 })
	}
	for range 2 {
		before := g.prop(process.Unit, "InvocationID")
		g.sh("systemctl kill --signal=KILL %s", process.Unit)
		g.waitFor("systemd to start it again", func() bool {
			id := g.prop(process.Unit, "InvocationID")
			return id != "" && id != before && g.prop(process.Unit, "ActiveState") == "active"
		})
	}
	g.sh("systemctl start %s", daemon)
	g.back()
	g.waitFor("the units of those that ended to be unloaded", func() bool {
		return strings.HasPrefix(g.runsLeft(), process.Unit) && !strings.Contains(g.runsLeft(), "\n")
	})
	want := "bad\t1\tfailed\t4\ngood\t1\tsucceeded\t0\nprocess\t1\tfailed\t9\nprocess\t2\tfailed\t9\nprocess\t3\trunning\t0"
	if got := g.sql("SELECT service_name, attempt, phase, exit_status FROM jobs ORDER BY service_name, attempt"); got != want {
		t.Errorf("the history has\n%s\nwant\n%s", got, want)
	}
	if got := g.sql("SELECT count(DISTINCT run_id) FROM jobs WHERE service_name = 'process'"); got != "1" {
		t.Errorf("the process has %s runs", got)
	}
}
