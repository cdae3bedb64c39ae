package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// record is a job as the history has it.
type record struct {
	Unit, Phase, Result, Invocation string
	Run, Attempt                    int64
	Code, Status                    int32
	Created, Started, Ended         int64 // microseconds; 0 is never
}

// records are the jobs of one service, in the order in which they began.
func (g *guest) records(service string) (all []record) {
	g.t.Helper()
	out := g.sql(fmt.Sprintf(`SELECT json_object('Unit', unit, 'Phase', phase, 'Result', result, 'Invocation', invocation_id, 'Run', run_id,
		'Attempt', attempt, 'Code', exit_code, 'Status', exit_status, 'Created', created_at, 'Started', coalesce(started_at, 0), 'Ended', coalesce(ended_at, 0))
		FROM jobs WHERE service_name = '%s' ORDER BY created_at, id`, service))
	for line := range strings.Lines(out) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			g.t.Fatalf("%v in %q", err, line)
		}
		all = append(all, r)
	}
	return all
}

// now is the machine's time, in microseconds since 1970.
func (g *guest) now() int64 { return time.Now().UnixMicro() }

// ends are the jobs of a service as "phase result code/status attempt".
func ends(all []record) (words []string) {
	for _, r := range all {
		words = append(words, fmt.Sprintf("%s %s %d/%d attempt %d", r.Phase, r.Result, r.Code, r.Status, r.Attempt))
	}
	return words
}

// gone waits until systemd has nothing more to do for a unit.
func (g *guest) gone(unit string) {
	g.t.Helper()
	g.waitFor(unit+" to end", func() bool {
		s := g.prop(unit, "ActiveState")
		return s == "inactive" || s == "failed"
	})
}

// What ended while the daemon was down is in the history with its own status
// and time; what systemd restarted, and what systemctl did, with every attempt.
func TestHistoryOfTheTimeWithoutDaemon(t *testing.T) {
	t.Parallel()
	g := boot(t)
	wait := func(then string) string {
		return fmt.Sprintf("/usr/bin/sh -c 'exec 3<>/run/%s; read line <&3; %s'", "w-$HERO", then)
	}
	services := []struct {
		name, then string
		flags      []string
		do         string // how it ends
		want       []string
		failed     bool // stays loaded for that
	}{
		{name: "three", then: "exit 3", do: "echo go >/run/w-three", want: []string{"failed exit-code 1/3 attempt 1"}},
		{name: "well", then: "exit 0", do: "echo go >/run/w-well", want: []string{"succeeded success 0/0 attempt 1"}},
		{name: "killed", then: "exit 0", do: "systemctl kill --signal=KILL hero-core-killed.service", want: []string{"failed signal 2/9 attempt 1"}},
		{name: "stopped", then: "exit 0", do: "systemctl stop hero-core-stopped.service", want: []string{"canceled success 0/0 attempt 1"}},
		{name: "badstop", then: "exit 0", do: "systemctl stop hero-core-badstop.service", want: []string{"failed exit-code 1/9 attempt 1"}},
		{name: "again", then: "exit 4", do: "echo go >/run/w-again; sleep 0.4; echo go >/run/w-again; sleep 0.4; echo go >/run/w-again; sleep 0.4; echo go >/run/w-again",
			flags: []string{"--restart", "on-failure", "--restart-delay", "50ms", "--start-limit-burst", "4", "--start-limit-interval", "1m"},
			want:  []string{"failed exit-code 1/4 attempt 1", "failed exit-code 1/4 attempt 2", "failed exit-code 1/4 attempt 3", "failed exit-code 1/4 attempt 4"}},
		{name: "by_hand", then: "exit 5", do: "systemctl restart hero-core-by_hand.service; echo go >/run/w-by_hand",
			want: []string{"canceled success 0/0 attempt 1", "failed exit-code 1/5 attempt 1"}},
	}
	for _, s := range services {
		command := strings.Replace(wait(s.then), "$HERO", s.name, 1)
		if s.name == "badstop" {
			command = "/usr/bin/sh -c 'trap \"exit 9\" TERM; exec 3<>/run/w-badstop; while :; do sleep 0.05; done'"
		}
		flags := s.flags
		if flags == nil {
			flags = []string{"--restart", "no"}
		}
		g.sh("mkfifo /run/w-%s", s.name)
		g.set(s.name, command, flags...)
		g.hp("service", "start", s.name)
	}
	g.set("runs_on", sleeper)
	g.hp("service", "start", "runs_on")

	before := g.identity("hero-core-runs_on.service")
	g.sh("systemctl stop hero_proc")
	down := g.now()
	for _, s := range services {
		g.sh("%s", s.do)
	}
	for _, s := range services {
		g.gone("hero-core-" + s.name + ".service")
	}
	g.waitFor("the start limit", func() bool {
		return g.prop("hero-core-again.service", "Result") != "success" && g.prop("hero-core-again.service", "SubState") == "failed"
	})
	up := g.now()
	g.sh("systemctl start hero_proc")

	invocations := map[string]bool{}
	for _, s := range services {
		// Its return started what is wanted, and was stopped: that is the next job.
		var all []record
		g.waitFor("the job of "+s.name+" after the daemon's return", func() bool {
			all = g.records(s.name)
			return len(all) > len(s.want)
		})
		if len(all) <= len(s.want) || !slices.Equal(ends(all[:len(s.want)]), s.want) {
			t.Errorf("the history of %s is %q, want %q and then what the daemon has started", s.name, ends(all), s.want)
			continue
		}
		for i, r := range all[:len(s.want)] {
			if r.Ended < down || r.Ended > up || r.Ended < r.Created {
				t.Errorf("%s, job %d began %d and ended %d, want it between %d and %d", s.name, i, r.Created, r.Ended, down, up)
			}
			if i > 0 && r.Attempt > 1 && r.Run != all[0].Run {
				t.Errorf("%s, attempt %d is of run %d, want %d: a restart is of the same run", s.name, r.Attempt, r.Run, all[0].Run)
			}
			if i > 0 && (r.Created < all[i-1].Ended || r.Started < r.Created) {
				t.Errorf("%s, job %d began %d and was ready %d, after the one before ended %d", s.name, i, r.Created, r.Started, all[i-1].Ended)
			}
		}
		for _, r := range all {
			if invocations[r.Invocation] {
				t.Errorf("%s: invocation %s is there twice", s.name, r.Invocation)
			}
			invocations[r.Invocation] = true
		}
	}
	if lost := g.sql("SELECT unit FROM jobs WHERE phase = 'lost'"); lost != "" {
		t.Errorf("lost are %s", lost)
	}
	if after := g.identity("hero-core-runs_on.service"); after != before || len(g.records("runs_on")) != 1 {
		t.Errorf("what ran on is %s with jobs %q, was %s", after, ends(g.records("runs_on")), before)
	}
	// A second return finds nothing to add.
	g.waitFor("everything to run again", func() bool {
		return g.sql("SELECT count(*) FROM jobs WHERE phase = 'running'") == fmt.Sprint(len(services)+1)
	})
	history := g.sql("SELECT count(*), group_concat(id || phase) FROM jobs")
	g.sh("systemctl restart hero_proc")
	if again := g.sql("SELECT count(*), group_concat(id || phase) FROM jobs"); again != history {
		t.Errorf("after another restart the history is\n%s\nwas\n%s", again, history)
	}
}

// A reboot stops everything: the journal of the boot before tells of it, if it
// is kept. Where it is not, and after a power cut, nobody knows.
func TestHistoryAcrossAReboot(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		prepare  string
		powerCut bool
		want     string // the phase of the job of the boot before
		says     bool   // that it is lost
	}{
		{name: "journal kept", prepare: "mkdir -p /var/log/journal; systemctl restart systemd-journald; journalctl --flush", want: "canceled success 0/0 attempt 1"},
		{name: "journal gone", prepare: "mkdir -p /etc/systemd/journald.conf.d; printf '[Journal]\nStorage=volatile\n' >/etc/systemd/journald.conf.d/volatile.conf; systemctl restart systemd-journald",
			want: "lost  0/0 attempt 1", says: true},
		{name: "power cut", prepare: "journalctl --flush", powerCut: true, want: "lost  0/0 attempt 1", says: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := boot(t)
			g.sh("%s", tc.prepare)
			g.set("web", sleeper)
			g.hp("service", "start", "web")
			// The daemon sees nothing of the end.
			g.sh("systemctl mask --runtime hero_proc; systemctl stop hero_proc; journalctl --sync")
			down := g.now()
			if tc.powerCut {
				g.must(g.Kill())
				g.on()
			} else {
				g.reboot()
			}
			var all []record
			g.waitFor("the job after the reboot", func() bool {
				all = g.records("web")
				return len(all) == 2 && all[1].Phase == "running"
			})
			if got := ends(all[:1])[0]; got != tc.want {
				t.Errorf("the job of the boot before is %q, want %q", got, tc.want)
			}
			if all[1].Attempt != 1 || all[1].Run == all[0].Run || all[0].Ended < down || all[0].Ended > all[1].Created {
				t.Errorf("after the reboot the history is %+v", all)
			}
			g.sh("journalctl --sync")
			if says := strings.Contains(g.sh("journalctl --boot --output=cat --unit=hero_proc"), "nothing tells how a job ended"); says != tc.says {
				t.Errorf("the log says that a job is lost: %v, want %v", says, tc.says)
			}
		})
	}
}

// A start of a service with several actions is one run, whoever asks for it;
// systemd's restarts are further attempts of it, and what a job has used is
// told where systemd counts it.
func TestRunsAndJobs(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.must(g.WriteFile(g.ctx, "/root/set.py", strings.NewReader(`
import dbus
s = lambda x: dbus.String(x, variant_level=1)
manager = dbus.Interface(dbus.SystemBus().get_object("tf.ourworld.HeroProc1", "/tf/ourworld/HeroProc1"), "tf.ourworld.HeroProc1.Manager")
action = lambda **keys: dbus.Dictionary(keys, signature="sv")
manager.SetService(dbus.Dictionary({"name": "many", "status": "start", "actions": dbus.Array([
    action(name="prepare", exec="/usr/bin/sleep 0.3", is_process=False),
    action(name="serve", exec="/usr/bin/sleep infinity", depends_on=dbus.Array(["prepare"], signature="s"), restart="on-failure", restart_delay="100ms"),
    action(name="report", exec="/usr/bin/sleep infinity", depends_on=dbus.Array(["serve"], signature="s"), restart="no"),
], signature="a{sv}")}, signature="sv"), dbus.UInt64(0))
`), 0o600))
	g.sh("python3 /root/set.py")
	runs := func() string {
		return g.sql("SELECT dense_rank() OVER (ORDER BY run_id), action, phase, attempt FROM jobs WHERE service_name = 'many' ORDER BY run_id, action, attempt")
	}
	want := func(what, rows string) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if got = strings.ReplaceAll(runs(), "\t", " "); got == rows {
				return
			}
		}
		t.Errorf("%s: runs are\n%s\nwant\n%s", what, got, rows)
	}
	g.hp("service", "start", "many")
	first := "1 prepare succeeded 1\n1 report running 1\n1 serve running 1"
	want("by hero_proc", first)
	g.sh("systemctl kill --signal=KILL hero-core-many.service")
	// systemd restarts the others with it.
	first = "1 prepare succeeded 1\n1 prepare succeeded 2\n1 report canceled 1\n1 report running 2\n1 serve failed 1\n1 serve running 2"
	want("after a crash", first)
	g.sh("systemctl stop hero-core-many.service")
	first = "1 prepare succeeded 1\n1 prepare succeeded 2\n1 report canceled 1\n1 report canceled 2\n1 serve failed 1\n1 serve canceled 2"
	want("after a stop", first)
	g.sh("systemctl start hero-core-many.service")
	want("by systemctl", first+"\n2 prepare succeeded 1\n2 report running 1\n2 serve running 1")
	g.hp("service", "restart", "many")
	want("a restart", first+"\n2 prepare succeeded 1\n2 report canceled 1\n2 serve canceled 1\n3 prepare succeeded 1\n3 report running 1\n3 serve running 1")
	if origins := g.sql("SELECT group_concat(origin) FROM (SELECT origin FROM runs WHERE service_name = 'many' ORDER BY id)"); origins != "api,systemd,api" {
		t.Errorf("the runs are of %s", origins)
	}
	g.reboot()
	g.waitFor("the boot's run", func() bool { return g.sql("SELECT count(*) FROM jobs WHERE phase = 'running'") == "2" })
	if got := g.sql("SELECT origin, count(*) FROM runs JOIN jobs ON run_id = runs.id WHERE run_id = (SELECT max(id) FROM runs) GROUP BY origin"); got != "boot\t3" {
		t.Errorf("the run of the boot is %q, want one with three jobs", got)
	}

	g.set("busy", "/usr/bin/sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 1'", "--restart", "no")
	g.run("hero_proc", "service", "start", "busy")
	g.gone("hero-core-busy.service")
	var answer struct {
		Job struct {
			Phase  string  `json:"phase"`
			CPU    *uint64 `json:"cpu_nsec"`
			Memory *uint64 `json:"memory_peak_bytes"`
			Read   *uint64 `json:"io_read_bytes"`
		} `json:"job"`
	}
	number := g.sql("SELECT max(id) FROM jobs WHERE service_name = 'busy'")
	g.waitFor("the job to be over", func() bool {
		g.must(json.Unmarshal([]byte(g.hp("job", "show", number, "--json")), &answer))
		return answer.Job.Phase == "failed"
	})
	// systemd 252 counts no peak, and IO only if it is told to.
	if answer.Job.CPU == nil || *answer.Job.CPU < uint64(time.Millisecond) || answer.Job.Memory != nil || answer.Job.Read != nil {
		t.Errorf("the job has used %+v", answer.Job)
	}
	if text := g.hp("job", "show", number); !strings.Contains(text, "Memory peak: not counted") {
		t.Errorf("job show says\n%s", text)
	}
}
