package integration

import (
	"strings"
	"testing"
)

// asNobody runs a command as an unprivileged user.
var asNobody = []string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"}

func TestUnprivilegedUserMayLookOnly(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const private = "for-root-alone"
	g.set("hero_db", redis, "--ready", "notify", "--env", "TOKEN="+private, "--now")
	before, definition := g.identity(heroDB), g.hp("service", "show", "hero_db", "--json")
	if !strings.Contains(definition, private) {
		t.Fatalf("root's own look at the definition has no environment:\n%s", definition)
	}

	const object = "tf.ourworld.HeroProc1 /tf/ourworld/HeroProc1 tf.ourworld.HeroProc1.Manager"
	for _, command := range []string{
		"hero_proc service set hero_db --exec /usr/bin/false",
		"hero_proc service set mine --exec /usr/bin/false",
		"hero_proc service remove hero_db",
		"hero_proc service start hero_db",
		"hero_proc service stop hero_db",
		"hero_proc service restart hero_db",
		"hero_proc service enable hero_db",
		"hero_proc service disable hero_db",
		// Past the command line, to the bus.
		"busctl call " + object + " SetService a{sv}t 2 name s mine exec s /usr/bin/false 0",
		"busctl call " + object + " RemoveService sst core hero_db 0",
		"busctl call " + object + " StartService sst core hero_db 0",
		"busctl call " + object + " StopService sst core hero_db 0",
		"busctl call " + object + " RestartService sst core hero_db 0",
	} {
		r := g.run(append(asNobody, strings.Fields(command)...)...)
		// busctl has words of its own for it.
		if r.Exit == 0 || !strings.Contains(r.Stderr, "is refused to user 65534") && !strings.Contains(r.Stderr, "Access denied") {
			t.Errorf("nobody's %q ends with status %d and %q, want it refused", command, r.Exit, r.Stderr)
		}
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("hero_db is %s, was %s", after, before)
	}
	if after := g.hp("service", "show", "hero_db", "--json"); after != definition {
		t.Errorf("the definition is\n%s\nwas\n%s", after, definition)
	}

	for _, command := range []string{
		"hero_proc service list",
		"hero_proc service status hero_db",
		"hero_proc service show hero_db",
		"hero_proc log query",
		"hero_proc health",
		"hero_proc version",
		"busctl call " + object + " ListServices",
		"busctl call " + object + " GetService ss core hero_db",
	} {
		r := g.run(append(asNobody, strings.Fields(command)...)...)
		if r.Exit != 0 {
			t.Errorf("nobody's %q ends with status %d and %q, want it allowed", command, r.Exit, r.Stderr)
		}
		if strings.Contains(r.Stdout+r.Stderr, private) {
			t.Errorf("nobody's %q prints root's environment:\n%s", command, r.Stdout)
		}
	}
	for _, file := range []string{"/var/lib/hero_proc", database} {
		if r := g.run(append(asNobody, "cat", file)...); r.Exit == 0 || !strings.Contains(r.Stderr, "Permission denied") {
			t.Errorf("nobody can read %s: %s", file, r.Stderr)
		}
	}
	if modes := g.sh("stat -c %%a /var/lib/hero_proc %s", database); modes != "700\n600" {
		t.Errorf("the modes of the state directory and the store are %q", modes)
	}
}

func TestCommandLineWithoutDaemon(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.sh("systemctl mask --runtime --now hero_proc")
	r := g.run("hero_proc", "service", "list")
	if r.Exit != 1 || !strings.Contains(r.Stderr, "systemctl start hero_proc") {
		t.Errorf("without a daemon service list ends with status %d and %q, want it to say what to run", r.Exit, r.Stderr)
	}
}
