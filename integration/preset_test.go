package integration

import (
	"regexp"
	"strings"
	"testing"
)

// standIn takes hero_db's arguments, and is a server of its protocol with the
// admin secret for a password, which it reads from its standard input.
const standIn = `#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	--port) port=$2 ;;
	--dir) dir=$2 ;;
	--admin-secret) secret=$2 ;;
	*) echo "unknown option $1" >&2; exit 2 ;;
	esac
	shift 2
done
exec redis-server - --port "$port" --dir "$dir" --save "" --daemonize no <<END
requirepass $secret
END
`

const secretFile = "/var/lib/hero_proc/credentials/core/hero_db/admin_secret"

// asksFor is what anybody, root too, can ask the machine about hero_db.
const asksFor = `
hero_proc service show hero_db --json
hero_proc service set hero_db --preset hero_db --dry-run --json
hero_proc service status hero_db --json
hero_proc service why hero_db --json
hero_proc service list --json
hero_proc service tree --dot
hero_proc analyze --json
hero_proc log query --json
hero_proc job list --json
busctl call tf.ourworld.HeroProc1 /tf/ourworld/HeroProc1 org.freedesktop.DBus.ObjectManager GetManagedObjects
busctl introspect tf.ourworld.HeroProc1 /tf/ourworld/HeroProc1/service/core/hero_5fdb
busctl call tf.ourworld.HeroProc1 /tf/ourworld/HeroProc1/service/core/hero_5fdb tf.ourworld.HeroProc1.Service GetDefinition t 0
systemctl show hero-core-hero_db.service hero_proc.service
systemctl cat hero-core-hero_db.service
systemctl status --full hero-core-hero_db.service
journalctl -b --all --output=export`

// wantNoSecret looks for the secret wherever somebody might come across it.
// grep reads it from its file: an argument would be one such place.
func (g *guest) wantNoSecret(what string) {
	g.t.Helper()
	g.sh("journalctl --sync; cp %s /root/secret", secretFile)
	script := "set +e\n"
	for line := range strings.Lines(strings.TrimSpace(asksFor)) {
		line = strings.TrimSpace(line)
		script += line + " >/root/answer 2>&1 || { echo \"failed: " + line + "\"; cat /root/answer; }\n" +
			"grep -qf /root/secret /root/answer && echo \"told by: " + line + "\"\n"
	}
	script += `grep -alf /root/secret /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
		grep -arlf /root/secret /run/systemd/transient /run/systemd/units /etc /run/log /var/log 2>/dev/null
		find /var/lib/hero_proc -type f ! -path '*/credentials/*' -exec grep -alf /root/secret {} +
		true`
	if found := g.sh("%s", script); found != "" {
		g.t.Errorf("%s, the secret is in\n%s", what, found)
	}
}

func TestHeroDBPreset(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.must(g.WriteFile(g.ctx, "/usr/local/bin/hero_db", strings.NewReader(standIn), 0o755))
	g.hp("service", "set", "hero_db", "--preset", "hero_db", "--now")
	secret := g.sh("cat %s", secretFile)
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(secret) {
		t.Errorf("the secret has %d characters; want 64 hexadecimal digits", len(secret))
	}
	const modes = "600 root root\n700 root root\n700 root root\n700 root root\n700 root root"
	if got := g.sh("cd /var/lib/hero_proc/credentials; stat -c '%%a %%U %%G' core/hero_db/admin_secret core/hero_db core . /var/lib/hero_db"); got != modes {
		t.Errorf("the modes of the secret, its directories and the data directory are\n%s\nwant\n%s", got, modes)
	}
	if r := g.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", secretFile, "/run/credentials/"+heroDB+"/admin_secret"); r.Exit == 0 || r.Stdout != "" {
		t.Error("nobody can read the secret")
	}
	if without := g.sh("redis-cli PING 2>&1"); !strings.HasPrefix(without, "NOAUTH") {
		t.Errorf("without the secret, hero_db answers %q", without)
	}
	ping := func() string { return g.sh("REDISCLI_AUTH=$(cat %s) redis-cli PING 2>&1", secretFile) }
	if with := ping(); with != "PONG" {
		t.Errorf("with the secret, hero_db answers %q", with)
	}
	// Its health is asked with the secret, and that needs no further word.
	g.hp("service", "set", "hero_db", "--health", "redis://127.0.0.1:6379", "--health-interval", "1s")
	g.waitFor("hero_db to be healthy", func() bool { return strings.Contains(g.hp("service", "status", "hero_db"), "main: healthy") })
	g.wantNoSecret("after it was set")

	// It is kept: what it opens would be lost with it.
	before := g.identity(heroDB)
	if said := g.hp("service", "set", "hero_db", "--preset", "hero_db"); !strings.HasPrefix(said, "unchanged core/hero_db") {
		t.Errorf("set again, it says %q", said)
	}
	g.hp("service", "set", "hero_db", "--preset", "hero_db", "--memory-max", "1G", "--status", "start")
	if after := g.identity(heroDB); after != before {
		t.Errorf("setting it again has touched what runs: %s, then %s", before, after)
	}
	g.hp("service", "restart", "hero_db")
	g.hp("service", "remove", "hero_db", "--stop")
	g.hp("service", "set", "hero_db", "--preset", "hero_db", "--now")
	g.forget()
	g.reboot()
	if now := g.sh("cat %s", secretFile); now != secret {
		t.Error("the secret has changed")
	}
	if with := ping(); with != "PONG" {
		t.Errorf("after a reboot, hero_db answers %q", with)
	}
	if health := g.hp("health"); !strings.Contains(health, "hero_db: running now; active at the last boot") {
		t.Errorf("health says:\n%s", health)
	}
	g.wantNoSecret("after a reboot")

	// A secret that is gone is told of, and not replaced.
	g.sh("rm %s", secretFile)
	if r := g.run("hero_proc", "service", "restart", "hero_db"); r.Exit != 1 || !strings.Contains(r.Stderr, "243") {
		t.Errorf("without its secret, a restart exits with %d: %s", r.Exit, r.Stderr)
	}
	g.wantWhy("hero_db", "credential-gone")
	g.hp("service", "set", "core/hero_db")
	g.hp("service", "start", "hero_db")
	if with := ping(); with != "PONG" {
		t.Errorf("with its new secret, hero_db answers %q", with)
	}
	if now := g.sh("cat %s", secretFile); now == secret || len(now) != len(secret) {
		t.Error("set again, it has no new secret")
	}
}
