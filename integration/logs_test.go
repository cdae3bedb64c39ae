package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pastJob is a job as the command line prints it.
type pastJob struct {
	ID, Run       int64
	Action, Phase string
	Attempt       int
	InvocationID  string `json:"invocation_id"`
	Unit, Result  string
	Service       string
	ExitStatus    int `json:"exit_status"`
}

// pastJobs are the jobs that job list answers, the oldest first.
func (g *guest) pastJobs(flags ...string) []pastJob {
	g.t.Helper()
	text := g.hp(append([]string{"job", "list", "--json"}, flags...)...)
	var answer struct{ Jobs []pastJob }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		g.t.Fatalf("%v in %s", err, text)
	}
	return answer.Jobs
}

// line is a line of the journal as JSON.
type line struct {
	Schema  int `json:"schema_version"`
	Message any `json:"MESSAGE"`
	// Of processes, and what systemd says of the unit.
	Of, About       string
	Invocation      string `json:"_SYSTEMD_INVOCATION_ID"`
	AboutInvocation string `json:"INVOCATION_ID"`
	Unit            string `json:"_SYSTEMD_UNIT"`
	AboutUnit       string `json:"UNIT"`
}

func (g *guest) lines(args ...string) []line {
	g.t.Helper()
	g.sh("journalctl --sync")
	var all []line
	scan := bufio.NewScanner(strings.NewReader(g.hp(append(args, "--json")...)))
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			g.t.Fatalf("%v in %s", err, scan.Text())
		}
		if l.Schema != 1 {
			g.t.Errorf("schema_version is %d in %s", l.Schema, scan.Text())
		}
		all = append(all, l)
	}
	return all
}

const talker = `sh -c 'echo "I am $INVOCATION_ID"; exec sleep infinity'`

func TestLogsOfServicesAndJobs(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.define(fmt.Sprintf(`{"name": "talk", "actions": [
		{"name": "main", "exec": %[1]q}, {"name": "side", "exec": %[1]q}]}`, talker))
	g.set("other", talker)
	g.hp("service", "start", "talk", "other")
	g.hp("service", "restart", "talk")
	g.sh("systemctl daemon-reload && systemctl restart hero-core-talk.service && systemctl daemon-reload")
	g.active("hero-core-talk.service", "hero-core-talk@side.service", daemon)

	// Of the service: all of its units, in all of their invocations.
	said, about := map[string]int{}, map[string]int{}
	for _, l := range g.lines("service", "logs", "talk") {
		if l.AboutUnit != "" {
			about[l.AboutUnit]++
		} else {
			said[l.Unit]++
		}
	}
	if said["hero-core-talk.service"] != 3 || said["hero-core-talk@side.service"] != 3 || len(said) != 2 {
		t.Errorf("the units of the service said %v; want three lines each", said)
	}
	if about["hero-core-talk.service"] == 0 || about["hero-core-talk@side.service"] == 0 || len(about) != 2 {
		t.Errorf("systemd said of the units of the service: %v", about)
	}
	for _, l := range g.lines("service", "logs", "talk", "--action", "side") {
		if l.Unit != "hero-core-talk@side.service" && l.AboutUnit != "hero-core-talk@side.service" {
			t.Errorf("of the action side there is %+v", l)
		}
	}
	if last := g.lines("service", "logs", "talk", "-n", "2"); len(last) != 2 {
		t.Errorf("the last two lines are %+v", last)
	}
	if none := g.lines("service", "logs", "talk", "--until", "1h"); len(none) != 0 {
		t.Errorf("from before it ran there is %+v", none)
	}

	// Of a job: its own invocation, and nothing that anybody pretends.
	jobs := g.pastJobs("--service", "talk")
	if len(jobs) != 6 {
		t.Fatalf("the history of the service is %+v; want three activations of two actions", jobs)
	}
	for _, j := range jobs {
		g.sh(`printf 'MESSAGE=spoofed\nINVOCATION_ID=%s\n_SYSTEMD_INVOCATION_ID=%s\n' | setpriv --reuid nobody --clear-groups logger --journald`, j.InvocationID, j.InvocationID)
	}
	for _, j := range jobs {
		spoke := 0
		for _, l := range g.lines("job", "logs", strconv.FormatInt(j.ID, 10)) {
			switch {
			case l.AboutUnit == "" && l.Invocation == j.InvocationID:
				if spoke++; l.Message != "I am "+j.InvocationID {
					t.Errorf("job %d said %q", j.ID, l.Message)
				}
			case l.AboutUnit != j.Unit || l.AboutInvocation != j.InvocationID:
				t.Errorf("job %d has the line %+v", j.ID, l)
			}
		}
		if spoke != 1 {
			t.Errorf("job %d has %d lines of its own, want 1", j.ID, spoke)
		}
	}
	one := strconv.FormatInt(jobs[0].ID, 10)
	if out := g.hp("job", "logs", one); strings.Contains(out, "\x1b") || !strings.Contains(out, "I am "+jobs[0].InvocationID) {
		t.Errorf("in a pipe job logs prints %q", out)
	}

	// Reading is with the caller's rights.
	for _, args := range []string{"service logs talk", "job logs " + one} {
		r := g.run("sh", "-c", "setpriv --reuid nobody --regid nogroup --clear-groups hero_proc "+args)
		if r.Exit != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, "sudo hero_proc "+args) || !strings.Contains(r.Stderr, "systemd-journal") {
			t.Errorf("for nobody %s gives %+v", args, r)
		}
		r = g.run("sh", "-c", "setpriv --reuid nobody --regid nogroup --groups systemd-journal hero_proc "+args)
		if r.Exit != 0 || !strings.Contains(r.Stdout, "I am ") {
			t.Errorf("for one of the group %s gives %+v", args, r)
		}
	}
}

// journald does not know the invocation of what it reads when the unit is down.
func TestLogsOfWhatEndsAtOnce(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("quick", `sh -c 'echo "I am $INVOCATION_ID"; /bin/echo more; echo -n "bye from $INVOCATION_ID"'`, "--restart", "no")
	for range 30 {
		g.hp("service", "start", "quick")
		g.waitFor("the end", func() bool { return g.prop("hero-core-quick.service", "ActiveState") == "inactive" })
	}
	g.sh("journalctl --sync")
	missing := g.sh("journalctl -q -o json _SYSTEMD_UNIT=hero-core-quick.service | grep -vc '\"_SYSTEMD_INVOCATION_ID\"' || true")
	t.Logf("of 90 lines %s have no invocation", missing)
	jobs := g.pastJobs("--service", "quick")
	if len(jobs) != 30 {
		t.Fatalf("the history has %d jobs, want 30", len(jobs))
	}
	for _, j := range jobs {
		number := strconv.FormatInt(j.ID, 10)
		want := []string{"I am " + j.InvocationID, "more", "bye from " + j.InvocationID}
		for _, how := range [][]string{{"job", "logs", number}, {"job", "logs", number, "-n", "100"}} {
			var said []string
			for _, l := range g.lines(how...) {
				if l.AboutUnit == "" {
					said = append(said, fmt.Sprint(l.Message))
				} else if l.AboutInvocation != j.InvocationID {
					t.Errorf("%q has %+v", how, l)
				}
			}
			if !slices.Equal(said, want) {
				t.Errorf("%q has the lines %q; want %q", how, said, want)
			}
		}
	}
	// Followed, each line comes once.
	for range 10 {
		g.hp("service", "start", "quick", "--no-wait")
		j := g.pastJobs("--service", "quick", "-n", "1")[0]
		out := g.hp("job", "logs", "-f", "-n", "100", strconv.FormatInt(j.ID, 10))
		j = g.pastJobs("--service", "quick", "-n", "1")[0]
		for _, want := range []string{"I am " + j.InvocationID, "]: more", "bye from " + j.InvocationID} {
			if strings.Count(out, want) != 1 {
				t.Errorf("followed, job %d has %q %d times, not once:\n%s", j.ID, want, strings.Count(out, want), out)
			}
		}
		if strings.Count(out, "I am ") != 1 {
			t.Errorf("followed, job %d has what others said:\n%s", j.ID, out)
		}
		g.waitFor("the end", func() bool { return g.prop("hero-core-quick.service", "ActiveState") == "inactive" })
	}
}

// Following goes on until somebody ends it; following a job, until that ends.
func TestFollowingLogs(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("mkfifo /run/gate")
	g.set("count", `sh -c 'read go </run/gate; seq 1 500; echo -n no newline'`, "--restart", "no")
	g.hp("service", "start", "count", "--no-wait")
	g.waitFor("the job", func() bool { return len(g.pastJobs("--service", "count")) == 1 })
	number := strconv.FormatInt(g.pastJobs("--service", "count")[0].ID, 10)
	followed := func(follower string) string { return g.sh("cat /run/%s", follower) }
	for follower, flag := range map[string]string{"text": "", "json": "--json"} {
		g.sh("systemd-run -q --unit=%[1]s -p StandardOutput=file:/run/%[1]s hero_proc job logs -f -n 1000 %[2]s %[3]s", follower, number, flag)
		g.waitFor("a follower", func() bool { return g.run("test", "-s", "/run/"+follower).Exit == 0 })
	}
	g.sh("echo go >/run/gate")
	for _, follower := range []string{"text", "json"} {
		g.waitFor("the follower to end", func() bool { return g.prop(follower+".service", "ActiveState") != "active" })
		if state := g.prop(follower+".service", "ActiveState"); state != "inactive" {
			t.Errorf("following as %s ends as %s", follower, state)
		}
		out := followed(follower)
		ordered := regexp.MustCompile(`(?s)(\]: 1\n|"1").*(\]: 250\n|"250").*(\]: 500\n|"500").*no newline`)
		if !ordered.MatchString(out) || !strings.Contains(out, "hero-core-count.service: Deactivated successfully") || strings.Count(out, "\n") < 502 {
			t.Errorf("following the job as %s has printed:\n%s", follower, out)
		}
	}

	g.set("talk", talker)
	g.hp("service", "start", "talk")
	g.sh("systemd-run -q --unit=service -p StandardOutput=file:/run/service hero_proc service logs talk -f")
	g.waitFor("the follower of the service", func() bool { return g.run("grep", "-q", "I am ", "/run/service").Exit == 0 })
	if n := g.sh("pgrep -c journalctl || true"); n != "1" {
		t.Errorf("%s journalctl run, want one", n)
	}
	g.sh("systemctl kill --kill-whom=main --signal=INT service.service")
	g.waitFor("the follower to end", func() bool { return g.prop("service.service", "ActiveState") != "active" })
	if state, n := g.prop("service.service", "ActiveState"), g.sh("pgrep -c journalctl || true"); state != "inactive" || n != "0" {
		t.Errorf("interrupted, following ends as %s, and %s journalctl go on", state, n)
	}
}

// One that floods the journal harms neither it nor the daemon.
func TestFloodOfLogs(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const printed, burst = 200_000, 200
	memory := func() int {
		t.Helper()
		n, err := strconv.Atoi(g.sh("awk '/VmRSS/ {print $2}' /proc/$(systemctl show -P MainPID hero_proc)/status"))
		g.must(err)
		return n
	}
	g.set("calm", talker)
	g.set("flood", fmt.Sprintf(`sh -c 'seq -f "line %%g of a flood" 1 %d; n=0; while sleep 1; do n=$((n+1)); echo after $n; done'`, printed),
		"--log-rate-interval", "2s", "--log-rate-burst", strconv.Itoa(burst))
	before := memory()
	g.hp("service", "start", "flood", "calm")
	// What comes after it is suppressed too, until journald is through with it.
	after := ""
	g.waitFor("the flood to be over", func() bool {
		after = g.sh("journalctl -q -o cat _SYSTEMD_UNIT=hero-core-flood.service _TRANSPORT=stdout | grep -m 1 '^after ' || true")
		return after != ""
	})
	suppressedAfter, err := strconv.Atoi(strings.TrimPrefix(after, "after "))
	g.must(err)
	suppressedAfter--
	g.sh("journalctl --sync")
	kept := g.sh("journalctl -q -o cat _SYSTEMD_UNIT=hero-core-flood.service _TRANSPORT=stdout | grep -c 'of a flood'")
	// MESSAGE_ID of SD_MESSAGE_JOURNAL_DROPPED.
	suppressed := g.sh(`journalctl -q -o json MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e | grep -F 'from hero-core-flood.service' |
		python3 -c 'import json,sys; print(sum(int(json.loads(l)["N_DROPPED"]) for l in sys.stdin))'`)
	has, err := strconv.Atoi(kept)
	g.must(err)
	lost, err := strconv.Atoi(suppressed)
	g.must(err)
	t.Logf("of %d lines the journal has %d and suppressed %d", printed, has, lost)
	// Within each interval journald takes up to some times the burst where
	// there is much room on the disk.
	if has < burst || lost < printed/2 || has+lost != printed+suppressedAfter {
		t.Errorf("of %d lines and %d more the journal has %d, and says that it suppressed %d", printed, suppressedAfter, has, lost)
	}
	if calm := g.sh("journalctl -q -o cat _SYSTEMD_UNIT=hero-core-calm.service"); !strings.HasPrefix(calm, "I am ") {
		t.Errorf("the journal lacks the line of another service: %q", calm)
	}
	now := memory()
	t.Logf("the daemon has %d KiB, and had %d before the flood", now, before)
	if now > before+16<<10 {
		t.Errorf("the daemon has %d KiB, and had %d before the flood", now, before)
	}
}

func TestLogQueryAndPrune(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("web", sleeper)
	g.sql(`DELETE FROM logs`)
	// Ages in hours, beside what the daemon itself may yet say.
	for i, row := range []string{
		"1, 'hero_proc.auto_start_db', 'error', 'core', 'hero_db'",
		"2, 'hero_proc', 'warning', 'core', 'web'",
		"3, 'hero_procx', 'error', 'core', 'web'",
		"4, 'hero_proc.auto_start_db', 'info', 'lab', 'web'",
		"5, 'hero_proc.auto_start_dbx', 'error', 'lab', 'db'",
	} {
		g.sql(fmt.Sprintf(`INSERT INTO logs (time, source, level, context_name, service_name, code, message, remedy, unit, result)
			SELECT (strftime('%%s', 'now') - 3600 * column1) * 1000000, column2, column3, column4, column5, '', '%d', '', '', '' FROM (VALUES (%s))`, i+1, row))
	}
	query := func(flags ...string) string {
		t.Helper()
		var messages []string
		for _, r := range parseRows(t, g.hp(append([]string{"log", "query", "--json"}, flags...)...)) {
			messages = append(messages, r.Message)
		}
		return strings.Join(messages, " ")
	}
	for _, c := range []struct{ flags, want string }{
		{"", "5 4 3 2 1"},
		{"--source hero_proc", "5 4 2 1"},
		{"--source hero_proc.auto_start_db", "4 1"},
		{"--source hero", ""},
		{"--level warning", "5 3 2 1"},
		{"--level warning --exact", "2"},
		{"--context lab", "5 4"},
		{"--service web", "4 3 2"},
		{"--service core/web --level error", "3"},
		{"--since 150m", "2 1"},
		{"--until 150m", "5 4 3"},
		{"--source hero_proc --since 270m --until 90m --context lab", "4"},
		{"-n 2", "2 1"},
	} {
		if got := query(strings.Fields(c.flags)...); got != c.want {
			t.Errorf("log query %s has %q; want %q", c.flags, got, c.want)
		}
	}
	for _, c := range []struct{ flags, deleted, left string }{
		{"--older-than 1d", "0", "5 4 3 2 1"},
		{"--older-than 150m --context lab --level info", "1", "5 3 2 1"},
		{"--older-than 0s --source hero_proc.auto_start_dbx --service db", "1", "3 2 1"},
		{"--older-than 90m --level warning", "1", "3 1"},
		{"--older-than 150m", "1", "1"},
		{"--older-than 0s", "1", ""},
	} {
		said := g.hp(append([]string{"log", "prune"}, strings.Fields(c.flags)...)...)
		if left := query(); said != "deleted "+c.deleted+" reports\n" || left != c.left {
			t.Errorf("log prune %s says %q and leaves %q; want %s deleted, and %q left", c.flags, said, left, c.deleted, c.left)
		}
	}
}
