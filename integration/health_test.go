package integration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// quick are flags of a probe that is asked often.
var quick = []string{"--health-interval", "200ms", "--health-timeout", "300ms", "--health-grace", "1ms", "--health-failures", "2"}

// condition is what service status says of a service.
type condition struct {
	State       string
	Reason      string
	HealthState string `json:"health_state"`
	Health      []struct {
		Action, Probe, State string
		Since                time.Time
		Failures             int
		LastError            string `json:"last_error"`
		Note                 string
	}
	Unit struct {
		InvocationID string `json:"invocation_id"`
	}
}

func (g *guest) condition(name string) condition {
	g.t.Helper()
	r := g.run("hero_proc", "--json", "service", "status", name) // whose exit status is the state
	var answer struct{ Service condition }
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
		g.t.Fatalf("%v in %s%s", err, r.Stdout, r.Stderr)
	}
	return answer.Service
}

// awaitHealth waits until a service's health reads as state.
func (g *guest) awaitHealth(name string, state units.HealthState) (c condition) {
	g.t.Helper()
	g.waitFor(name+" to be "+string(state), func() bool {
		c = g.condition(name)
		return c.HealthState == string(state)
	})
	return c
}

// codes are those of the events about health, oldest first, as the log has them.
func (g *guest) codes() string {
	g.t.Helper()
	var codes []string
	for _, row := range parseRows(g.t, g.hp("log", "query", "--source", units.SourceHealth, "--lines", "1000", "--json")) {
		codes = append(codes, row.Code+" "+row.Service)
	}
	return strings.Join(codes, ", ")
}

func (g *guest) awaitCodes(want string) {
	g.t.Helper()
	g.waitFor("the log to say "+want, func() bool { return g.codes() == want })
}

func (g *guest) signal(unit, signal string) {
	g.t.Helper()
	g.sh("systemctl kill --kill-whom=main --signal=%s %s", signal, unit)
}

// metric is a sample of the daemon's metrics.
func (g *guest) metric(name string) float64 {
	g.t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(g.hp("metrics"))
	if m == nil {
		g.t.Fatalf("there is no metric %s", name)
	}
	value, err := strconv.ParseFloat(m[1], 64)
	g.must(err)
	return value
}

// A redis-server that is stopped with SIGSTOP is alive, and does not answer.
func TestRedisThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("systemd-run --quiet --collect --unit=listener --property=StandardOutput=file:/run/heard busctl monitor --json=short " +
		"--match=\"type='signal',sender='tf.ourworld.HeroProc1',path_namespace='/tf/ourworld/HeroProc1'\"")
	g.waitFor("the monitor", func() bool {
		return g.run("grep", "-q", "Monitoring bus", "/run/heard").Exit == 0 || g.run("sh", "-c", "journalctl -u listener | grep -q Monitoring").Exit == 0
	})
	g.set("hero_db", redis, append(quick, "--ready", "notify", "--timeout-stop", "1s", "--health", "redis://127.0.0.1:6379", "--on-unhealthy", "warn")...)
	g.set("client", sleeper, "--wants", "hero_db")
	g.hp("service", "start", "client")
	if c := g.awaitHealth("hero_db", units.HealthHealthy); c.State != "running" || len(c.Health) != 1 || c.Health[0].Probe != "redis://127.0.0.1:6379" || c.Health[0].Since.IsZero() {
		t.Errorf("a redis-server that answers reads as %+v", c)
	}
	if status := g.hp("service", "status", "client"); !strings.Contains(status, "Health: no probe\n") {
		t.Errorf("a service without a probe does not say so:\n%s", status)
	}

	// It is reported, and that is all.
	before := g.identity(heroDB)
	g.signal(heroDB, "STOP")
	g.awaitCodes("unhealthy hero_db") // by when it is decided what is done
	c := g.condition("hero_db")
	const why = "redis://127.0.0.1:6379 fails with: no answer in time"
	if c.State != "degraded" || !strings.Contains(c.Reason, why+"; not restarted, since on_unhealthy is warn") || c.Health[0].LastError != "no answer in time" || c.Health[0].Failures < 2 {
		t.Errorf("a redis-server that does not answer reads as %+v", c)
	}
	if list := g.hp("service", "list"); !strings.Contains(list, "degraded") || !strings.Contains(list, why) {
		t.Errorf("service list says:\n%s", list)
	}
	g.waitFor("the signal", func() bool {
		return g.run("grep", "-qE", `service/core/hero_5fdb".*"PropertiesChanged".*"HealthState":\{"type":"s","data":"unhealthy"\}`, "/run/heard").Exit == 0
	})
	if n := g.metric(`hero_proc_service_health{state="unhealthy"}`); n != 1 {
		t.Errorf("the metrics count %v unhealthy services", n)
	}
	g.signal(heroDB, "CONT")
	g.awaitCodes("unhealthy hero_db, healthy-again hero_db")
	if c := g.awaitHealth("hero_db", units.HealthHealthy); c.State != "running" || g.identity(heroDB) != before {
		t.Errorf("it answers again, and reads as %+v; it was %s, is %s", c, before, g.identity(heroDB))
	}

	// It is restarted, and answers again.
	g.hp("service", "set", "hero_db", "--on-unhealthy", "restart", "--unhealthy-restarts", "2")
	if g.identity(heroDB) != before {
		t.Error("what hero_proc does about health was changed, and the service restarted for it")
	}
	g.signal(heroDB, "STOP")
	g.awaitCodes("unhealthy hero_db, healthy-again hero_db, unhealthy-restart hero_db, healthy-again hero_db")
	if c := g.awaitHealth("hero_db", units.HealthHealthy); c.State != "running" || c.Unit.InvocationID == "" || strings.Contains(before, c.Unit.InvocationID) {
		t.Errorf("it was restarted, and reads as %+v", c)
	}
	entries := g.entries(units.SourceHealth)
	last := entries[len(entries)-1]
	if last.Code != string(units.EventUnhealthyRestart) || last.Priority != "4" || last.Service != "hero_db" || last.MessageID == "" ||
		!strings.Contains(last.Message, `action "main" of service "core/hero_db" is unhealthy, and is restarted, 1 of at most 2 times within 10m0s: `+why) ||
		!strings.Contains(last.Remediation, "hero_proc service status core/hero_db") {
		t.Errorf("the journal has %+v", last)
	}
	if explained := g.sh("journalctl -b -x HERO_SOURCE=%s", units.SourceHealth); !strings.Contains(explained, "Subject: Service core/hero_db was unhealthy and is restarted") {
		t.Errorf("the journal explains:\n%s", explained)
	}
	if jobs := g.sql("SELECT phase FROM jobs WHERE unit = '" + heroDB + "' ORDER BY id"); jobs != "canceled\nrunning" {
		t.Errorf("the history has %q", jobs)
	}

	// The budget is counted on by the next daemon.
	g.sh("systemctl restart hero_proc")
	g.awaitHealth("hero_db", units.HealthHealthy)
	g.signal(heroDB, "STOP")
	g.waitFor("the second restart", func() bool { return strings.Count(g.codes(), "unhealthy-restart hero_db") == 2 })
	g.awaitHealth("hero_db", units.HealthHealthy)
	g.signal(heroDB, "STOP")
	g.waitFor("the end of it", func() bool { return strings.HasSuffix(g.codes(), "unhealthy-restarts-spent hero_db") })
	given := g.identity(heroDB)
	failures := g.condition("hero_db").Health[0].Failures
	g.waitFor("some more failures", func() bool { return g.condition("hero_db").Health[0].Failures > failures+5 })
	if c := g.condition("hero_db"); c.State != "degraded" || !strings.Contains(c.Reason, "not restarted any more, since 2 restarts within 10m0s did not help") {
		t.Errorf("with the budget spent it reads as %+v", c)
	}
	if codes := g.codes(); strings.Count(codes, "unhealthy-restarts-spent") != 1 || strings.Count(codes, "unhealthy-restart ") != 2 || g.identity(heroDB) != given {
		t.Errorf("with the budget spent the log has %s; it was %s, is %s", codes, given, g.identity(heroDB))
	}
	if errors := g.rows(units.SourceHealth, units.LevelError); len(errors) != 1 || !strings.Contains(errors[0].Remedy, "hero_proc service restart core/hero_db") {
		t.Errorf("the errors are %+v", errors)
	}
	if n := g.metric("hero_proc_health_restarts_total"); n != 1 {
		t.Errorf("this daemon counts %v restarts", n)
	}

	// A stop is a stop, whoever asks for it, and it stays.
	g.sh("systemctl stop %s", heroDB)
	if c := g.condition("hero_db"); c.State != "inactive" || c.HealthState != "unknown" || c.Health[0].LastError != "it does not run" {
		t.Errorf("it was stopped, and reads as %+v", c)
	}
	// And a start by hand always works.
	g.hp("service", "start", "hero_db")
	g.awaitHealth("hero_db", units.HealthHealthy)
}

// Whoever stops a service that is about to be restarted has the last word.
func TestStoppedWhileUnhealthy(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("witness", redis, append(quick, "--health", "redis://127.0.0.1:6379")...)
	g.hp("service", "start", "witness")
	for i, stop := range []string{"systemctl stop UNIT", "hero_proc service stop NAME", "systemctl kill --signal=KILL UNIT; systemctl stop UNIT"} {
		name := fmt.Sprintf("db%d", i)
		unit := units.ID{Context: "core", Name: name}.Unit()
		port := 7000 + i
		g.set(name, fmt.Sprintf("redis-server --port %d --save '' --dir /tmp --daemonize no", port),
			append(quick, "--timeout-stop", "1s", "--health", fmt.Sprintf("redis://127.0.0.1:%d", port), "--health-failures", "1", "--health-timeout", "100ms", "--unhealthy-restarts", "1000")...)
		g.hp("service", "start", name)
		g.awaitHealth(name, units.HealthHealthy)
		// Whenever the stop comes: before it is found unhealthy, or while it is
		// being restarted.
		stop = strings.NewReplacer("UNIT", unit, "NAME", name).Replace(stop)
		g.sh("systemctl kill --kill-whom=main --signal=STOP %s; %s", unit, stop)
		asked := g.metric(`hero_proc_health_probes_total{answer="well"}`)
		g.waitFor("the scheduler to come round", func() bool { return g.metric(`hero_proc_health_probes_total{answer="well"}`) > asked+10 })
		if c := g.condition(name); c.State != "inactive" && c.State != "failed" {
			t.Errorf("after %q it is %s: %s", stop, c.State, c.Reason)
		}
		if state := g.prop(unit, "ActiveState"); state != "inactive" && state != "failed" {
			t.Errorf("after %q its unit is %s", stop, state)
		}
	}
}

// scripted is a server of HTTP whose answers are as a file says: G is good, B
// is not, and it begins at the front when it has come to the end. It counts them.
const scripted = `
import http.server, os
count = 0
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global count
        script = open("/run/script").read().strip()
        good = script[count % len(script)] == "G"
        count += 1
        with open("/run/count.new", "w") as f:
            f.write(str(count))
        os.replace("/run/count.new", "/run/count") # it is never half of it
        self.send_response(200 if good else 503)
        self.end_headers()
        self.wfile.write(b"all is well" if good else b"oh")
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", 8080), Page).serve_forever()
`

func TestFlappingKeepsToItsThresholds(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.must(g.WriteFile(g.ctx, "/usr/local/bin/scripted.py", strings.NewReader(scripted), 0o644))
	asked := func() int {
		n, err := strconv.Atoi(g.sh("cat /run/count 2>/dev/null || echo 0"))
		g.must(err)
		return n
	}
	// script has the next answers be so, at least once all of them.
	script := func(answers string) {
		t.Helper()
		g.sh("echo %s >/run/script.new; mv /run/script.new /run/script", answers)
		from := asked()
		g.waitFor("answers of "+answers, func() bool { return asked() > from+2*len(answers) })
	}
	g.sh("echo G >/run/script")
	g.set("page", "python3 /usr/local/bin/scripted.py", "--ready", "tcp:127.0.0.1:8080", "--health", "http://127.0.0.1:8080/", "--health-match", "is well",
		"--health-interval", "100ms", "--health-grace", "1ms", "--health-failures", "3", "--health-successes", "3", "--on-unhealthy", "warn")
	g.hp("service", "start", "page")
	g.awaitHealth("page", units.HealthHealthy)
	script("GBGBBGBB") // never three times
	if c := g.condition("page"); c.State != "running" || c.HealthState != "healthy" || g.codes() != "" {
		t.Errorf("it flaps within its threshold, and reads as %+v; reported: %s", c, g.codes())
	}
	script("B")
	if c := g.awaitHealth("page", units.HealthUnhealthy); c.State != "degraded" || c.Health[0].LastError != "status 503 Service Unavailable" {
		t.Errorf("it fails, and reads as %+v", c)
	}
	script("GGBGBGGB")
	if c := g.condition("page"); c.State != "degraded" || g.codes() != "unhealthy page" {
		t.Errorf("it flaps within its threshold, and reads as %+v; reported: %s", c, g.codes())
	}
	script("G")
	g.awaitCodes("unhealthy page, healthy-again page")
	if c := g.awaitHealth("page", units.HealthHealthy); c.State != "running" {
		t.Errorf("it answers, and reads as %+v", c)
	}
}

// A command, a socket that only the service's user may use, and a password are
// asked as the service is; and of all that nobody reads in the journal.
func TestHealthAskedAsTheService(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh(`mkdir -m 700 /etc/safe /run/db && chown redis: /run/db
		head -c 24 /dev/urandom | base64 >/etc/safe/password && chmod 600 /etc/safe/password
		printf 'port 7000\nsave ""\ndir /run/db\nunixsocket /run/db/socket\nunixsocketperm 700\nrequirepass %%s\n' "$(cat /etc/safe/password)" >/etc/safe.conf
		chown redis /etc/safe.conf && chmod 400 /etc/safe.conf
		mkdir -m 700 /run/mine && touch /run/mine/well && chown -R nobody: /run/mine`)
	secret := g.sh("cat /etc/safe/password")
	g.set("password", "redis-server /etc/safe.conf", append(quick, "--user", "redis", "--on-unhealthy", "warn", "--health-timeout", "5s",
		"--health", "redis://127.0.0.1:7000", "--credential", "password=/etc/safe/password", "--health-credential", "password")...)
	g.set("socket", sleeper, append(quick, "--user", "redis", "--health-timeout", "5s", "--on-unhealthy", "warn",
		"--health", "redis+unix:/run/db/socket", "--credential", "password=/etc/safe/password", "--health-credential", "password")...)
	g.set("command", sleeper, append(quick, "--user", "nobody", "--health-timeout", "5s", "--on-unhealthy", "warn", "--env", "DIR=/run/mine",
		"--health", `exec:sh -c 'test "$(id -un)" = nobody && test -e "$DIR/well" || { echo "it is not well"; exit 3; }'`)...)
	g.set("missing", sleeper, append(quick, "--health", "exec:/nonexistent/check", "--on-unhealthy", "warn")...)
	for _, name := range []string{"password", "socket", "command", "missing"} {
		g.hp("service", "start", name)
	}
	for _, name := range []string{"password", "socket", "command"} {
		g.awaitHealth(name, units.HealthHealthy)
	}
	if c := g.awaitHealth("missing", units.HealthUnhealthy); c.Health[0].LastError != "it can't be executed: no such file or directory" {
		t.Errorf("a probe without a program reads as %+v", c)
	}
	g.sh("rm /run/mine/well")
	if c := g.awaitHealth("command", units.HealthUnhealthy); c.Health[0].LastError != "exit status 3: it is not well" || c.Health[0].Probe != "exec:sh" {
		t.Errorf("the command that fails reads as %+v", c)
	}
	g.sh("touch /run/mine/well")
	g.awaitHealth("command", units.HealthHealthy)

	// Somebody else's password is wrong.
	g.hp("service", "set", "password", "--credential", "password=/etc/hostname")
	g.hp("service", "restart", "password")
	if c := g.awaitHealth("password", units.HealthUnhealthy); c.Health[0].LastError != "it refuses the password that the credential has (WRONGPASS)" {
		t.Errorf("with a wrong password it reads as %+v", c)
	}
	// A password that is gone is nobody's failure but ours: it can't be asked.
	g.sh("mv /etc/safe/password /etc/safe/elsewhere")
	g.waitFor("socket to be unknown", func() bool { return g.condition("socket").HealthState == "unknown" })
	if c := g.condition("socket"); c.State != "running" || !strings.Contains(c.Health[0].LastError, "the probe can't be run: systemd's result is exit-code (status 243/CREDENTIALS") {
		t.Errorf("without its password it reads as %+v", c)
	}
	g.sh("mv /etc/safe/elsewhere /etc/safe/password")
	g.awaitHealth("socket", units.HealthHealthy)

	g.sh("journalctl --sync")
	if journal := g.sh("journalctl -b -o export"); strings.Contains(journal, secret) {
		t.Error("the password is in the journal")
	}
	for _, unit := range []string{"command", "missing", "socket"} {
		name := units.ID{Context: "core", Name: unit}.HealthUnit("main")
		if said := g.sh("journalctl -b -o short UNIT=%s + _SYSTEMD_UNIT=%s", name, name); said != "-- No entries --" {
			t.Errorf("the journal has of the probe:\n%s", said)
		}
	}
	for _, name := range []string{"password", "socket", "command", "missing"} {
		g.hp("service", "stop", name)
	}
	g.waitFor("the probes' units to be gone", func() bool {
		return g.sh("systemctl list-units --all --plain --no-legend 'hero_proc_health*'") == ""
	})
}

// However many probes there are, and however long their answers take: few are
// asked at once, and the daemon does what it has to.
func TestHealthOfManyServices(t *testing.T) {
	t.Parallel()
	const many, few = 200, 32
	g := newGuest(t, installed)
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/hero_proc.service.d/watchdog.conf", strings.NewReader("[Service]\nWatchdogSec=3\n"), 0o644))
	g.on()
	g.set("db", redis, "--ready", "notify")
	g.hp("service", "start", "db")
	g.sh(`for i in $(seq %d); do
		hero_proc service set s$i --exec '%s' --health redis://127.0.0.1:6379 --health-interval 1s --health-timeout 500ms --health-grace 1ms --health-failures 2 --on-unhealthy warn >/dev/null
	done; hero_proc service start $(seq -f s%%g %d) --no-wait >/dev/null`, many, sleeper, many)
	watch := func(state string) {
		t.Helper()
		most := 0.0
		g.waitFor("all to be "+state, func() bool {
			most = max(most, g.metric("hero_proc_health_probes_in_flight"))
			return g.metric(fmt.Sprintf(`hero_proc_service_health{state=%q}`, state)) == many
		})
		t.Logf("until all were %s, at most %v probes were asked at once", state, most)
		if most > few {
			t.Errorf("until all were %s, %v probes were asked at once, want %d at most", state, most, few)
		}
	}
	watch("healthy")
	before := g.identity(daemon)
	g.signal("hero-core-db.service", "STOP")
	watch("unhealthy")
	g.signal("hero-core-db.service", "CONT")
	watch("healthy")
	if after := g.identity(daemon); after != before {
		t.Errorf("the daemon was %s, is %s", before, after)
	}
	if n := len(strings.Split(g.codes(), ", ")); n != 2*many {
		t.Errorf("there are %d events, want one for each service that is unhealthy, and one when it is not", n)
	}
}

// watched is a program that says that it is alive until a file is there.
const watched = `
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ["NOTIFY_SOCKET"]
s.connect("\0" + address[1:] if address[0] == "@" else address)
while True:
    if not os.path.exists("/run/hang"):
        s.send(b"WATCHDOG=1")
    time.sleep(int(os.environ["WATCHDOG_USEC"]) / 4e6)
`

// systemd has its own eye on programs that know how to talk to it.
func TestWatchdogOfAService(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.must(g.WriteFile(g.ctx, "/usr/local/bin/watched.py", strings.NewReader(watched), 0o644))
	const unit = "hero-core-watched.service"
	g.set("watched", "python3 /usr/local/bin/watched.py", "--watchdog", "1s", "--restart-delay", "100ms")
	g.hp("service", "start", "watched")
	began, id := g.usec(unit, "ActiveEnterTimestampMonotonic"), g.identity(unit)
	g.waitFor("it to be watched for a while", func() bool { return g.usec(unit, "WatchdogTimestampMonotonic") > began+3*time.Second })
	if now := g.identity(unit); now != id {
		t.Errorf("it says that it is alive, and was %s, is %s", id, now)
	}
	g.sh("touch /run/hang")
	g.waitFor("systemd to kill and restart it", func() bool { return g.prop(unit, "NRestarts") != "0" })
	g.sh("rm /run/hang")
	g.waitFor("the history", func() bool {
		return strings.HasPrefix(g.sql("SELECT phase || ' ' || result FROM jobs WHERE unit = '"+unit+"' ORDER BY id"), "failed watchdog")
	})
	g.waitFor("it to be up again", func() bool { return g.prop(unit, "ActiveState") == "active" })

	g.hp("service", "set", "watched", "--restart", "no")
	g.hp("service", "restart", "watched")
	g.sh("touch /run/hang")
	g.waitFor("systemd to kill it", func() bool { return g.prop(unit, "ActiveState") == "failed" })
	if c := g.condition("watched"); c.State != "failed" || !strings.Contains(c.Reason, "systemd's result is watchdog, as it has sent no WATCHDOG=1 in time (") {
		t.Errorf("it reads as %+v", c)
	}
}
