package integration

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestDebUpgradeRemovePurge(t *testing.T) {
	t.Parallel()
	next, err := Package("../dist/next", "deb")
	if err != nil {
		t.Fatal(err)
	}
	g := boot(t)
	g.set("hero_db", redis, "--ready", "notify", "--now")
	g.environment("# the administrator's own", "HERO_PROC_DB_START_TIMEOUT=9s")
	before, main, version := g.identity(heroDB), g.prop(daemon, "MainPID"), g.hp("version")

	if out, err := Install(g.ctx, g.Machine, next); err != nil {
		t.Fatalf("cannot upgrade: %v\n%s", err, out)
	}
	if after := g.prop(daemon, "MainPID"); after == main {
		t.Errorf("after an upgrade the daemon is still process %s", after)
	}
	if after := g.hp("version"); after == version {
		t.Errorf("after an upgrade the version is still %s", after)
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("after an upgrade hero_db is %s, was %s", after, before)
	}
	if got := g.sh("cat %s", settings); !strings.Contains(got, "the administrator's own") {
		t.Errorf("the upgrade has overwritten %s:\n%s", settings, got)
	}

	g.sh("apt-get remove --yes hero-proc")
	p, err := g.Properties(g.ctx, daemon, "ActiveState", "LoadState")
	g.must(err)
	if p["ActiveState"] != "inactive" {
		t.Errorf("after a removal the daemon reads %v", p)
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("after a removal hero_db is %s, was %s", after, before)
	}
	g.sh("test -s %s && test -s %s", database, settings)

	// Back again, with what was registered.
	if out, err := Install(g.ctx, g.Machine, next); err != nil {
		t.Fatalf("cannot install again: %v\n%s", err, out)
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("after a second installation hero_db is %s, was %s", after, before)
	}
	if list := g.hp("service", "list"); !strings.Contains(list, "hero_db") {
		t.Errorf("after a second installation the list is\n%s", list)
	}

	g.sh("apt-get purge --yes hero-proc")
	left := g.sh("find / -xdev -iname '*hero?proc*' -not -path '/proc/*' -not -path '/var/lib/apt/*' -not -path '/var/log/*' -not -path '/var/tmp/*'")
	if left != "" {
		t.Errorf("after a purge there is still\n%s", left)
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("after a purge hero_db is %s, was %s", after, before)
	}
}

// files are what both packages install, beside what is their distribution's own.
var files = []string{
	settings,
	"/usr/bin/hero_proc",
	"/usr/bin/hero_proc_server",
	"/usr/lib/systemd/catalog/hero_proc.catalog",
	"/usr/lib/systemd/system/hero_proc.service",
	"/usr/share/bash-completion/completions/hero_proc",
	"/usr/share/dbus-1/system-services/tf.ourworld.HeroProc1.service",
	"/usr/share/dbus-1/system.d/tf.ourworld.HeroProc1.conf",
	"/usr/share/fish/vendor_completions.d/hero_proc.fish",
	"/usr/share/hero_proc/skills/hero_proc_cmd/SKILL.md",
	"/usr/share/man/man1/hero_proc.1.gz",
	"/usr/share/man/man8/hero_proc_server.8.gz",
}

func wantFiles(t *testing.T, got string) {
	t.Helper()
	have := strings.Fields(got)
	for _, f := range files {
		if !slices.Contains(have, f) {
			t.Errorf("the package does not install %s", f)
		}
	}
}

func TestDebOnAFreshMachine(t *testing.T) {
	t.Parallel()
	g := newGuest(t, bare)
	g.on()
	if out, err := Install(g.ctx, g.Machine, deb); err != nil {
		t.Fatalf("cannot install: %v\n%s", err, out)
	}
	wantFiles(t, g.sh("dpkg --listfiles hero-proc"))
	g.sh("dpkg --verify hero-proc")
	if got := g.sh("systemctl is-enabled hero_proc"); got != "enabled" {
		t.Errorf("hero_proc is %s", got)
	}
	if got := g.sh("dpkg-query --show --showformat='${Conffiles}' hero-proc"); !strings.Contains(got, settings) {
		t.Errorf("%s is no config file: %q", settings, got)
	}
	g.hp("service", "list")
}

// rpm runs rpm(8) on the host.
func rpm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "rpm", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("rpm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// The .rpm is installed with rpm --root, and what it has installed is then
// tried in a machine: its scripts have a systemd to talk to only there.
func TestRpm(t *testing.T) {
	t.Parallel()
	file, err := Package("../dist", "rpm")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	rpm(t, "--root", root, "--initdb")
	rpm(t, "--root", root, "-i", "--nodeps", "--noscripts", file)
	wantFiles(t, rpm(t, "--root", root, "-q", "-l", "hero-proc"))
	if got := rpm(t, "--root", root, "-q", "--configfiles", "hero-proc"); got != settings {
		t.Errorf("the config files are %q, want %s", got, settings)
	}
	rpm(t, "--root", root, "-V", "--nodeps", "hero-proc")

	g := newGuest(t, bare)
	g.on()
	tar := exec.CommandContext(g.ctx, "tar", "-C", root, "--create", "usr", "etc")
	data, err := tar.StdoutPipe()
	g.must(err)
	g.must(tar.Start())
	g.must(g.WriteFile(g.ctx, "/var/tmp/rpm.tar", data, 0o600))
	g.must(tar.Wait())
	g.sh("tar -C / --extract --no-overwrite-dir --file /var/tmp/rpm.tar")
	script := func(tag, versions string) {
		t.Helper()
		text := rpm(t, "-q", "--queryformat", "%{"+tag+"}", "-p", file)
		g.must(g.WriteFile(g.ctx, "/var/tmp/"+tag, strings.NewReader(text), 0o700))
		g.sh("sh -e /var/tmp/%s %s", tag, versions)
	}
	script("POSTIN", "1")
	g.active(daemon)
	g.set("hero_db", redis, "--ready", "notify", "--now")
	before, main := g.identity(heroDB), g.prop(daemon, "MainPID")
	script("POSTUN", "1") // of the old version, at the end of an upgrade
	if after := g.prop(daemon, "MainPID"); after == main || after == "0" {
		t.Errorf("after an upgrade the daemon is process %s, was %s", after, main)
	}
	script("PREUN", "0")
	if state := g.prop(daemon, "ActiveState"); state != "inactive" {
		t.Errorf("after a removal the daemon is %s", state)
	}
	if after := g.identity(heroDB); after != before {
		t.Errorf("after an upgrade and a removal hero_db is %s, was %s", after, before)
	}
}
