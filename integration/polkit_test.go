package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// everyMethod is a program that calls, on the bus, every method that the
// objects of hero_proc say they have, and prints the errors. What the calls are
// about is the service that its arguments name. It reads no list of methods, so
// it has none that could be out of date.
const everyMethod = `
import json, sys
import dbus, xml.etree.ElementTree as ET

context, name, job = sys.argv[1:4]
root = "/tf/ourworld/HeroProc1"
variant = lambda v: dbus.String(v, variant_level=1)
values = {
    "context": context, "name": name, "flags": dbus.UInt64(0), "id": dbus.UInt64(job),
    "definition": dbus.Dictionary({"context": variant(context), "name": variant(name), "exec": variant("/usr/bin/sleep infinity")}, signature="sv"),
    "run": dbus.Dictionary({"context": variant(context), "name": variant(name), "exec": variant("/usr/bin/true")}, signature="sv"),
    "stdin": dbus.types.UnixFd(0), "stdout": dbus.types.UnixFd(1), "stderr": dbus.types.UnixFd(2),
    "filter": dbus.Dictionary({"context": variant(context)}, signature="sv"),
    "interface_name": "org.freedesktop.LogControl1", "property_name": "LogLevel", "value": variant("info"),
}
# A definition has actions, and one of them has the command.
values["definition"]["actions"] = dbus.Array([dbus.Dictionary({"exec": values["definition"].pop("exec")}, signature="sv")], signature="a{sv}", variant_level=1)

bus, errors = dbus.SystemBus(), {}
for path in [root + "/service/" + context + "/" + name, root + "/job/" + job, root, "/org/freedesktop/LogControl1"]:
    xml = bus.call_blocking("tf.ourworld.HeroProc1", path, "org.freedesktop.DBus.Introspectable", "Introspect", "", ())
    for interface in ET.fromstring(xml).findall("interface"):
        for method in interface.findall("method"):
            full = interface.get("name") + "." + method.get("name")
            if full == "org.freedesktop.DBus.Properties.Set" and "LogControl1" not in path:
                continue  # nothing there can be set
            args = [a for a in method.findall("arg") if a.get("direction", "in") == "in"]
            if method.get("name") == "Wait":
                continue  # until the job is over
            try:
                bus.call_blocking("tf.ourworld.HeroProc1", path, interface.get("name"), method.get("name"),
                                  "".join(a.get("type") for a in args), [values[a.get("name")] for a in args], timeout=20)
                errors[full] = "", ""
            except dbus.DBusException as e:
                errors[full] = e.get_dbus_name(), e.get_dbus_message()
print(json.dumps(errors))
`

// reading are the methods that change nothing. All others are taken for
// changes, so that a new one that is open to everybody shows.
var reading = []string{
	"Get", "GetAll", "Introspect", "Ping", "GetMachineId", "GetManagedObjects",
	"ListServices", "ListServicesFiltered", "ListJobs", "ListContexts", "GetService", "GetJob", "GetDefinition",
	"QueryLogs", "Metrics", "Wait", "WaitReady",
	"ListDependencies", "ExplainService", "AnalyzeBoot",
}

// defining are the changes that a grant to start and stop does not cover.
var defining = []string{"RunJob", "RunJobWithFiles", "SetService", "RemoveService", "Remove", "PruneLogs", "Set"}

func member(method string) string { return method[strings.LastIndex(method, ".")+1:] }

const (
	denied       = "org.freedesktop.DBus.Error.AccessDenied"
	authenticate = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
)

// as is a command that a user runs.
func as(user string, command ...string) []string {
	return append([]string{"setpriv", "--reuid=" + user, "--regid=nogroup", "--init-groups", "--"}, command...)
}

// callAll calls every method as a user, about a service and its job, and
// returns the errors of those that change something.
func (g *guest) callAll(user, context, name, job string) map[string]string {
	g.t.Helper()
	out, err := g.Output(g.ctx, as(user, "python3", "/usr/local/lib/every_method.py", context, name, job)...)
	g.must(err)
	var errors map[string][2]string
	g.must(json.Unmarshal([]byte(out), &errors))
	changes := map[string]string{}
	for method, says := range errors {
		name, message := says[0], says[1]
		if name == denied {
			g.t.Logf("%s is denied %s: %s", user, method, message)
		}
		if !slices.Contains(reading, member(method)) {
			changes[method] = name
		} else if name == denied || name == authenticate {
			g.t.Errorf("%s may not call %s: %s", user, method, name)
		}
	}
	if len(changes) < 10 {
		g.t.Errorf("there are only %d methods that change something: %v", len(changes), changes)
	}
	return changes
}

// running registers a service, starts it, and returns the number of its job.
func (g *guest) running(context, name string) string {
	g.t.Helper()
	g.set(name, sleeper, "--context", context, "--env", "TOKEN=of-"+context, "--now")
	path := g.sh("busctl --json=short call tf.ourworld.HeroProc1 /tf/ourworld/HeroProc1 tf.ourworld.HeroProc1.Manager StartService sst %s %s 0", context, name)
	var reply struct{ Data []string }
	g.must(json.Unmarshal([]byte(path), &reply))
	return reply.Data[0][strings.LastIndex(reply.Data[0], "/")+1:]
}

// One machine with a real polkitd and the example rules as they are installed:
// the group "web" may control the service web, alice may do everything in the
// context lab.
func TestPolkit(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("groupadd web; useradd --groups web bob; useradd alice")
	g.must(g.WriteFile(g.ctx, "/usr/local/lib/every_method.py", strings.NewReader(everyMethod), 0o644))
	web, other, lab := g.running("core", "web"), g.running("core", "other"), g.running("lab", "web")
	units := []string{"hero-core-web.service", "hero-core-other.service", "hero-lab-web.service"}

	refused := func(why, user, context, name, job string, want ...string) {
		t.Helper()
		before := []string{g.identity(units[0]), g.identity(units[1]), g.identity(units[2]), g.hp("service", "list", "--json")}
		for method, err := range g.callAll(user, context, name, job) {
			if !slices.Contains(want, err) {
				t.Errorf("%s: %s calls %s about %s/%s, and the error is %q; want %q", why, user, method, context, name, err, want)
			}
		}
		after := []string{g.identity(units[0]), g.identity(units[1]), g.identity(units[2]), g.hp("service", "list", "--json")}
		if !slices.Equal(before, after) {
			t.Errorf("%s: the services are\n%v\nwere\n%v", why, after, before)
		}
	}

	for _, user := range []string{"nobody", "bob", "alice"} {
		refused("without a rule", user, "core", "web", web, authenticate)
	}
	// busctl says that somebody may be asked for a password, but there is nobody
	// to ask. It has words of its own for that.
	if r := g.run(as("bob", "busctl", "call", "tf.ourworld.HeroProc1", "/tf/ourworld/HeroProc1", "tf.ourworld.HeroProc1.Manager",
		"StopService", "sst", "core", "web", "0")...); r.Exit == 0 || !strings.Contains(r.Stderr, "Access denied") {
		t.Errorf("with nobody to ask busctl ends with status %d and %q", r.Exit, r.Stderr)
	}

	// So does the command line, but on a terminal alone.
	stop := strings.Join(as("bob", "hero_proc", "service", "stop", "web"), " ")
	for command, want := range map[string]string{
		stop: "the call does not allow to ask",
		"script --quiet --return --command '" + stop + "' /dev/null":        "there is no agent to ask with",
		"script --quiet --return --command '" + stop + " --json' /dev/null": "the call does not allow to ask",
	} {
		if r := g.run("sh", "-c", command); r.Exit != 1 || !strings.Contains(r.Stdout+r.Stderr, want) {
			t.Errorf("%s ends with status %d and %q%q; want %q", command, r.Exit, r.Stdout, r.Stderr, want)
		}
	}

	// polkitd reads its rules anew as it sees them come, in several steps, and
	// what it is asked meanwhile it may never answer: it starts with them.
	g.sh("cp /usr/share/doc/hero-proc/examples/50-hero_proc.rules /etc/polkit-1/rules.d/ && systemctl restart polkit.service")
	g.waitFor("polkit reads the rules", func() bool {
		return g.run(as("bob", "hero_proc", "service", "start", "web")...).Exit == 0
	})
	refused("a rule for one service, about another", "bob", "core", "other", other, authenticate)
	refused("a rule for one service, about its namesake", "bob", "lab", "web", lab, authenticate)
	refused("a rule for one context, about another", "alice", "core", "web", web, authenticate)
	refused("rules for others", "nobody", "core", "web", web, authenticate)

	for method, err := range g.callAll("bob", "core", "web", web) {
		want := ""
		if slices.Contains(defining, member(method)) {
			want = authenticate
		}
		if err != want {
			t.Errorf("bob, who may control web, calls %s, and the error is %q; want %q", method, err, want)
		}
	}

	for _, tt := range []struct {
		user, context string
		sees          bool
	}{{"alice", "lab", true}, {"alice", "core", false}, {"bob", "core", false}, {"nobody", "lab", false}} {
		r := g.run(as(tt.user, "hero_proc", "service", "show", "web", "--context", tt.context, "--json")...)
		if r.Exit != 0 || strings.Contains(r.Stdout, "of-"+tt.context) != tt.sees {
			t.Errorf("%s looks at %s/web and gets status %d, %s%s; want the environment: %v", tt.user, tt.context, r.Exit, r.Stdout, r.Stderr, tt.sees)
		}
	}
	for method, err := range g.callAll("alice", "lab", "web", lab) {
		// Whether it can be done is another matter: the service may be gone by then.
		allowed := err != denied && err != authenticate
		if want := member(method) != "Set"; allowed != want { // the log level is nobody's context
			t.Errorf("alice, to whom lab belongs, calls %s, and the error is %q; want it allowed: %v", method, err, want)
		}
	}
	r := g.run(as("alice", "hero_proc", "service", "set", "own", "--context", "lab", "--exec", "/usr/bin/id", "--oneshot")...)
	if r.Exit != 0 {
		t.Errorf("alice can't register a service of lab: %s", r.Stderr)
	}

	// Without polkit there is root alone.
	g.sh("systemctl mask --quiet --runtime --now polkit.service")
	web = g.running("core", "web")
	lab = g.running("lab", "web")
	refused("without polkit", "bob", "core", "web", web, denied)
	refused("without polkit", "alice", "lab", "web", lab, denied)
	if r := g.run(as("bob", "hero_proc", "service", "stop", "web")...); r.Exit != 1 || !strings.Contains(r.Stderr, "polkit is not there to ask, so only root may do that") {
		t.Errorf("without polkit bob's stop ends with status %d and %q", r.Exit, r.Stderr)
	}
	g.hp("service", "stop", "web")
	g.hp("service", "remove", "web")
}
