package integration

import (
	"fmt"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// A call to a daemon that is not running starts it, by way of the bus. Who
// makes that call gets the same answer as anybody else, and what the call
// changes is changed in what the store has.
func TestCallThatStartsTheDaemon(t *testing.T) {
	t.Parallel()
	const (
		many   = 20
		rounds = 2
	)
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--env", "KEEP=me", "--now")
	g.set("web", sleeper, "--requires", "hero_db")
	g.sh("for i in $(seq %d); do hero_proc service set s$i --exec '%s' --requires hero_db --status stop; done", many, sleeper)
	g.forget()
	before := g.identity(heroDB)

	// Each call is made again and again: what it may not meet is a moment of
	// the daemon's start.
	for _, tc := range []struct {
		name string
		call func(round int) []string
		want func(out string) bool // nil: what it changes is looked at
	}{
		{
			name: "list", call: func(int) []string { return []string{"list"} },
			want: func(out string) bool {
				return strings.Count(out, "core/s") == many && strings.Contains(out, "hero_db")
			},
		},
		{
			name: "status", call: func(int) []string { return []string{"status", "hero_db"} },
			want: func(out string) bool { return strings.Contains(out, string(units.StateRunning)) },
		},
		{
			name: "show", call: func(int) []string { return []string{"show", "hero_db"} },
			want: func(out string) bool { return strings.Contains(out, "KEEP") },
		},
		{name: "start", call: func(int) []string { return []string{"start", "web"} }},
		{name: "stop", call: func(int) []string { return []string{"stop", "web"} }},
		{name: "restart", call: func(int) []string { return []string{"restart", "web"} }},
		{name: "set of one thing", call: func(round int) []string {
			return []string{"set", "hero_db", "--description", fmt.Sprintf("round %d", round), "--exec", redis}
		}},
		{name: "set of a new one", call: func(round int) []string {
			return []string{"set", fmt.Sprintf("new%d", round), "--exec", sleeper, "--status", "stop"}
		}},
		{name: "disable", call: func(int) []string { return []string{"disable", "hero_db"} }},
		{name: "enable", call: func(int) []string { return []string{"enable", "hero_db"} }},
	} {
		for round := range rounds {
			g.sh("systemctl stop hero_proc")
			r := g.run(append([]string{"hero_proc", "service"}, tc.call(round)...)...)
			if r.Exit != 0 {
				t.Errorf("%s, round %d, ends with status %d and %q", tc.name, round, r.Exit, r.Stderr)
			}
			if tc.want != nil && !tc.want(r.Stdout) {
				t.Errorf("%s, round %d, prints\n%s", tc.name, round, r.Stdout)
			}
			definition := g.hp("service", "show", "hero_db", "--json")
			for _, kept := range []string{`"KEEP"`, `"notify"`, `/usr/bin/redis-server`} {
				if !strings.Contains(definition, kept) {
					t.Fatalf("%s, round %d, has lost %s of the definition:\n%s", tc.name, round, kept, definition)
				}
			}
		}
	}
	if n := g.sql("SELECT count(*) FROM services"); n != fmt.Sprint(2+many+rounds) {
		t.Errorf("the store has %s services, want %d", n, 2+many+rounds)
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("hero_db is %s, was %s", after, before)
	}
	// The daemon was stopped again and again while it started: no failure.
	g.back()
	if events := g.sql("SELECT source, code, message FROM logs WHERE level = 'error'"); events != "" {
		t.Errorf("the logs table has\n%s", events)
	}
}

// A client may be quicker than the daemon at boot, too.
func TestFirstCallOfABoot(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--env", "KEEP=me")
	g.must(g.WriteFile(g.ctx, "/etc/systemd/system/early.service", strings.NewReader(`[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket local-fs.target
[Service]
Type=oneshot
ExecStart=sh -c 'hero_proc service list >/run/early; hero_proc service set hero_db --description early >>/run/early'
[Install]
WantedBy=sysinit.target
`), 0o644))
	g.sh("systemctl enable early.service")
	g.forget()
	g.reboot()
	g.active(daemon, heroDB)
	g.wantSilence()
	g.waitFor("early.service to end", func() bool { return g.prop("early.service", "ActiveState") != "activating" })
	if result, out := g.prop("early.service", "Result"), g.sh("cat /run/early"); result != "success" || !strings.Contains(out, "hero_db") {
		t.Errorf("the first client of the boot ended with %s, and printed\n%s", result, out)
	}
	if definition := g.hp("service", "show", "hero_db"); !strings.Contains(definition, "KEEP") || !strings.Contains(definition, "early") {
		t.Errorf("the first client's change made of the definition\n%s", definition)
	}
}

func TestEnableDisable(t *testing.T) {
	t.Parallel()
	g := boot(t)
	const web = "hero-core-web.service"
	g.set("hero_db", redis, "--ready", "notify")
	g.set("web", sleeper, "--requires", "hero_db", "--now")
	up := g.identity(web)
	is := func(when, state string) {
		t.Helper()
		if got := g.prop(web, "ActiveState"); got != state {
			t.Errorf("%s web is %s, want %s", when, got, state)
		}
		if load := g.prop(web, "LoadState"); load != "loaded" {
			t.Errorf("%s web is %s", when, load)
		}
	}

	g.hp("service", "disable", "web")
	if after := g.identity(web); after != up {
		t.Errorf("disable has touched what runs: it is %s, was %s", after, up)
	}
	g.reboot()
	is("disabled, after a boot,", "inactive")
	g.hp("service", "enable", "web")
	is("enabled, before a boot,", "inactive")
	g.reboot()
	is("enabled, after a boot,", "active")
	g.hp("service", "disable", "--now", "web")
	is("after disable --now", "inactive")
	g.hp("service", "enable", "--now", "web")
	is("after enable --now", "active")
	if r := g.run("hero_proc", "service", "disable", "web", "nobody"); r.Exit == 0 {
		t.Errorf("disabling a service that isn't there succeeds: %s", r.Stdout)
	}
	if wanted := g.sql("SELECT status FROM services WHERE name = 'web'"); wanted != "start" {
		t.Errorf("a slip in the last name has made the wanted status of the first %q", wanted)
	}
}
