package integration

import (
	"strings"
	"testing"
)

// What happens to a service is told on the bus, whoever does it, and what is
// told is what the object then says.
func TestSignalsFromARealService(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("systemd-run --quiet --collect --unit=listener --property=StandardOutput=file:/run/heard busctl monitor --json=short " +
		"--match=\"type='signal',sender='tf.ourworld.HeroProc1',path_namespace='/tf/ourworld/HeroProc1'\"")
	g.waitFor("the monitor", func() bool {
		return g.run("grep", "-q", "Monitoring bus", "/run/heard").Exit == 0 || g.run("sh", "-c", "journalctl -u listener | grep -q Monitoring").Exit == 0
	})
	heard := func(what, pattern string) {
		t.Helper()
		g.waitFor(what, func() bool { return g.run("grep", "-qE", pattern, "/run/heard").Exit == 0 })
	}
	g.set("web", sleeper)
	const path = "/tf/ourworld/HeroProc1/service/core/web"
	heard("that the service came", `"InterfacesAdded".*`+path)
	heard("that its context came", `"InterfacesAdded".*/tf/ourworld/HeroProc1/context/core"`)
	g.sh("systemctl start hero-core-web.service")
	heard("that it runs", path+`".*"PropertiesChanged".*"State":\{"type":"s","data":"running"\}`)
	heard("that a job came", `"InterfacesAdded".*/tf/ourworld/HeroProc1/job/1"`)
	managed := g.sh("busctl call tf.ourworld.HeroProc1 /tf/ourworld/HeroProc1 org.freedesktop.DBus.ObjectManager GetManagedObjects")
	for _, object := range []string{"context/core", "service/core/web", "job/1"} {
		if !strings.Contains(managed, `"/tf/ourworld/HeroProc1/`+object+`"`) {
			t.Errorf("%s is not among the managed objects: %s", object, managed)
		}
	}
	g.sh("systemctl stop hero-core-web.service")
	heard("that it stopped", path+`".*"PropertiesChanged".*"State":\{"type":"s","data":"inactive"\}`)
	heard("how the job ended", `/job/1".*"PropertiesChanged".*"Phase":\{"type":"s","data":"canceled"\}`)
	heard("that the job went", `"InterfacesRemoved".*/tf/ourworld/HeroProc1/job/1"`)
	g.hp("service", "remove", "web")
	heard("that the service went", `"InterfacesRemoved".*`+path)

	g.sh("systemctl restart dbus.service")
	g.waitFor("the daemon's return to systemd", func() bool {
		return g.run("hero_proc", "service", "set", "web", "--exec", sleeper).Exit == 0
	})
	g.waitFor("the service's object after a restart of the bus", func() bool {
		return g.run("busctl", "get-property", "tf.ourworld.HeroProc1", path, "tf.ourworld.HeroProc1.Service", "State").Exit == 0
	})
}

func TestServiceLogLevel(t *testing.T) {
	t.Parallel()
	g := boot(t)
	level := func(want string) {
		t.Helper()
		if got := g.sh("systemctl service-log-level hero_proc"); got != want {
			t.Errorf("the log level is %q; want %q", got, want)
		}
	}
	level("info")
	if got := g.sh("systemctl service-log-target hero_proc"); got != "journal" {
		t.Errorf("the log target is %q; want journal", got)
	}
	for _, word := range []string{"debug", "warning", "info"} {
		g.sh("systemctl service-log-level hero_proc %s", word)
		level(word)
	}
	if r := g.run("systemctl", "service-log-target", "hero_proc", "kmsg"); r.Exit == 0 {
		t.Error("the log target was set")
	}
	if r := g.run(append(asNobody, "busctl", "set-property", "tf.ourworld.HeroProc1", "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel", "s", "debug")...); r.Exit == 0 {
		t.Error("nobody has set the log level")
	}
	level("info")
	// What the daemon logs carries the identifier that it gives.
	if got := g.sh("journalctl --boot --output=cat --identifier=$(busctl get-property tf.ourworld.HeroProc1 /org/freedesktop/LogControl1 org.freedesktop.LogControl1 SyslogIdentifier | cut -d'\"' -f2)"); !strings.Contains(got, "ready") {
		t.Errorf("under its identifier the journal has:\n%s", got)
	}
}
