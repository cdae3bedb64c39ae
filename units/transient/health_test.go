package transient

import (
	"testing"
)

// A command may be any program, so it gets all that the service has; a socket
// needs the service's user, and a password only itself.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := decode(t, `{"name": "web", "actions": [
		{"name": "main", "exec": "web", "user": "www", "group": "web", "working_dir": "/srv", "env": {"A": "1"}, "credentials": {"p": "/p", "q": "/q"},
			"health": "exec:check --deep 'a $x'", "health_timeout": "1m"},
		{"name": "db", "exec": "db", "user": "db", "working_dir": "/srv", "env": {"A": "1"}, "credentials": {"p": "/p", "q": "/q"}, "health": "redis+unix:/run/db", "health_credential": "q"},
		{"name": "page", "exec": "page", "health": "http+unix:/run/page:/up", "health_status": 204, "health_match": "it is up"}
	]}`)
	common := func(description, more string, timeout string) string {
		return `  AddRef b true
  CollectMode s "inactive-or-failed"
  Description s "Health of core/web, ` + description + `"
  Slice s "hero-core.slice"
  Type s "oneshot"
  NotifyAccess s "main"
  SuccessExitStatus (aiai) ([1], [],)
  StandardOutput s "null"
  StandardError s "null"
  LogLevelMax i 2
  TimeoutStartUSec t ` + timeout + `
  TimeoutStopUSec t 1000000
` + more
	}
	for i, want := range []string{
		"hero_proc_health-core-web@main.service\n" + common("main", `  ExecStartEx a(sasas) [("/usr/libexec/hero_proc/hero_proc_probe", ["/usr/libexec/hero_proc/hero_proc_probe", "--once", "--timeout=1m0s", "exec:check --deep 'a $x'"], ["no-env-expand"],)]
  Environment as ["A=1"]
  LoadCredential a(ss) [("p", "/p",), ("q", "/q",)]
  User s "www"
  Group s "web"
  WorkingDirectory s "/srv"
`, "70000000"),
		"hero_proc_health-core-web@db.service\n" + common("db", `  ExecStartEx a(sasas) [("/usr/libexec/hero_proc/hero_proc_probe", ["/usr/libexec/hero_proc/hero_proc_probe", "--once", "--timeout=5s", "--credential=q", "redis+unix:/run/db"], ["no-env-expand"],)]
  LoadCredential a(ss) [("q", "/q",)]
  User s "db"
`, "15000000"),
		"hero_proc_health-core-web@page.service\n" + common("page", `  ExecStartEx a(sasas) [("/usr/libexec/hero_proc/hero_proc_probe", ["/usr/libexec/hero_proc/hero_proc_probe", "--once", "--timeout=5s", "--status=204", "--match=it is up", "http+unix:/run/page:/up"], ["no-env-expand"],)]
`, "15000000"),
	} {
		if got := show([]Unit{Health(s, i, 255)}); got != want {
			t.Errorf("the unit is\n%s\nwant\n%s", got, want)
		}
	}
}
