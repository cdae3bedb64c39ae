package packaging_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// readUnit gives the values of each key of the unit file.
func readUnit(t *testing.T) map[string][]string {
	t.Helper()
	keys := map[string][]string{}
	for line := range strings.Lines(read(t, "systemd/hero_proc.service")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			keys[key] = append(keys[key], value)
		}
	}
	return keys
}

func TestUnit(t *testing.T) {
	t.Parallel()
	unit := readUnit(t)
	for _, tc := range []struct{ key, want, why string }{
		{"Type", "notify", "what waits for it waits for hero_db"},
		{"NotifyAccess", "main", "nobody else may say that it is ready"},
		{"ExecStart", "/usr/bin/hero_proc_server", "policy is by environment, not by flags"},
		{"EnvironmentFile", "-/etc/default/hero_proc", "a machine without the file still boots"},
		{"StateDirectory", "hero_proc", "systemd makes it before the daemon starts"},
		{"StateDirectoryMode", "0700", "definitions are nobody else's business"},
		{"WatchdogSec", "60", "a daemon that hangs is started again"},
		{"Restart", "always", "nobody else brings it back"},
		{"StartLimitIntervalSec", "0", "systemd must never give up on it"},
		{"WantedBy", "multi-user.target", "enabling it means every boot"},
		{"CapabilityBoundingSet", "", "it needs none"},
		{"RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6", "it asks probes over TCP, and has no other business on a network"},
		{"SocketBindDeny", "any", "it listens nowhere"},
		{"ProtectSystem", "strict", "it writes to its own directory alone"},
	} {
		if got := unit[tc.key]; !slices.Equal(got, []string{tc.want}) {
			t.Errorf("%s= is %q, want %q: %s", tc.key, got, tc.want, tc.why)
		}
	}
	for _, key := range []string{"Requires", "BindsTo", "PartOf", "User", "StopWhenUnneeded"} {
		if got := unit[key]; got != nil {
			t.Errorf("%s=%s would stop the daemon with another unit, or take its rights away", key, got)
		}
	}
	for _, key := range []string{"PrivateNetwork", "IPAddressDeny"} {
		if got := unit[key]; got != nil {
			t.Errorf("%s=%s would keep the daemon from asking probes over TCP", key, got)
		}
	}
}

// environment is what the daemon reads: the HERO_PROC_ constants of its code.
func environment(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../cmd/internal/daemon/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("the daemon's code is not there: %v", err)
	}
	names := map[string]bool{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && regexp.MustCompile(`^HERO_PROC_[A-Z_]+$`).MatchString(s) {
					names[s] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(names))
}

// Whoever looks for a variable finds it, and finds none that does nothing.
func TestEnvironmentIsDocumented(t *testing.T) {
	t.Parallel()
	want := environment(t)
	if len(want) == 0 {
		t.Fatal("the daemon reads no variable at all")
	}
	for _, path := range []string{
		"default/hero_proc", "man/hero_proc_server.8", "skills/hero_proc_cmd/SKILL.md", "../cmd/hero_proc_server/CLAUDE.md",
	} {
		got := map[string]bool{}
		for _, name := range regexp.MustCompile(`HERO_PROC_[A-Z_]+`).FindAllString(read(t, path), -1) {
			got[name] = true
		}
		delete(got, "HERO_PROC_SERVER") // the title of the manual page
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
			t.Errorf("%s names %q, the daemon reads %q", path, names, want)
		}
	}
}

// Installing the package sets no policy.
func TestDefaultsAreCommentedOut(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(read(t, "default/hero_proc")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			t.Errorf("%q is in force", line)
		}
	}
}

func TestSkill(t *testing.T) {
	t.Parallel()
	skill := read(t, "skills/hero_proc_cmd/SKILL.md")
	if ok, _ := regexp.MatchString(`\A---\nname: hero_proc_cmd\ndescription: .+\n---\n`, skill); !ok {
		t.Errorf("the front matter is not name: hero_proc_cmd and a description:\n%.200s", skill)
	}
	// The first column of the table of codes.
	codes := 0
	for line := range strings.Lines(skill) {
		if column, ok := strings.CutPrefix(line, "| `"); ok {
			column, _, _ = strings.Cut("`"+column, "|")
			for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(column, -1) {
				codes++
				if _, ok := units.EventCode(m[1]).Info(); !ok {
					t.Errorf("it explains the code %q, which no event has", m[1])
				}
			}
		}
	}
	if codes == 0 {
		t.Error("it explains no code")
	}
}

// The units that the daemon makes run the prober where the package puts it.
func TestProberIsPackaged(t *testing.T) {
	t.Parallel()
	if nfpm := read(t, "../nfpm.yaml"); !strings.Contains(nfpm, "{src: build/bin/hero_proc_probe, dst: "+transient.Prober+", file_info: {mode: 0755}}") {
		t.Errorf("nfpm.yaml does not put build/bin/hero_proc_probe at %s", transient.Prober)
	}
}

// A file that is in no package is a file that was forgotten.
func TestEverythingIsPackaged(t *testing.T) {
	t.Parallel()
	used := read(t, "../nfpm.yaml") + read(t, "../Makefile")
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".go" {
			return err
		}
		if !strings.Contains(used, "packaging/"+path) {
			t.Errorf("packaging/%s is in neither nfpm.yaml nor the Makefile", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
