package daemon

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "forge.ourworld.tf/lhumina_code/hero_proc/"

// rules say what a package, and everything below it, may import: packages of
// this module, and modules of others. The standard library is open to all,
// where nothing is said against it.
var rules = []struct {
	pkg     string
	may     []string // of this module; "…/" is everything below
	others  []string
	why     string
	without []string // of the standard library
}{
	{pkg: "units", why: "the domain is data and pure functions", without: []string{"os", "os/exec", "net", "log", "log/slog", "database/sql", "io", "context", "sync"}},
	{pkg: "units/plan", may: []string{"units"}, why: "decisions are pure", without: []string{"os", "os/exec", "net", "log", "log/slog", "database/sql", "context", "sync"}},
	{pkg: "units/transient", may: []string{"units"}, why: "the mapping is pure", without: []string{"os", "os/exec", "net", "log", "log/slog", "database/sql", "context", "sync"}},
	{pkg: "units/systemd", may: []string{"units", "units/transient", "integration/privatebus"}, others: []string{"github.com/coreos/go-systemd", "github.com/godbus/dbus"}, why: "the adapter decides nothing"},
	{pkg: "units/journal", may: []string{"units"}, why: "it reads what PID 1 wrote, and decides nothing"},
	{pkg: "units/supervisor", may: []string{"units", "units/plan", "units/transient"}, others: []string{"golang.org/x/sync"}, why: "it declares the interfaces that it needs"},
	{pkg: "dbusapi", may: []string{"units", "dbusapi/…", "dbusapi", "integration/privatebus"}, others: []string{"github.com/godbus/dbus"}, why: "it knows a controller, not the supervisor or the store"},
	{pkg: "store", may: []string{"units", "store/…"}, others: []string{"github.com/mattn/go-sqlite3"}, why: "it keeps what it is given"},
	{pkg: "cmd/internal/cli", may: []string{"units", "dbusapi/client"}, others: []string{"github.com/urfave/cli"}, why: "the CLI's only way to the daemon is the client"},
	{pkg: "cmd/hero_proc", may: []string{"cmd/internal/cli"}, why: "main calls, prints, exits"},
	{pkg: "units/probe", may: []string{"units", "units/probe/probetest"}, why: "it asks, and knows nobody"},
	{pkg: "cmd/internal/probe", may: []string{"units", "units/probe"}, why: "it asks, and starts in no time"},
	{pkg: "cmd/internal/prepare", may: []string{"units", "cmd/internal/notes"}, others: []string{"github.com/mdlayher/netlink", "golang.org/x/sys/unix"}, why: "it looks, and starts in no time"},
	{pkg: "cmd/internal/notes", may: []string{"units"}, why: "it is between the prober and the daemon"},
	{pkg: "cmd/hero_proc_probe", may: []string{"cmd/internal/probe", "cmd/internal/prepare", "cmd/internal/notes"}, others: []string{"github.com/coreos/go-systemd/v22/daemon"}, why: "main calls, prints, exits"},
	{pkg: "cmd/hero_proc_server", may: []string{"cmd/internal/daemon"}, why: "main calls, prints, exits"},
}

// only are the packages that alone may import something of others.
var only = map[string][]string{
	"github.com/coreos/go-systemd/v22/dbus": {"units/systemd"},
	"github.com/mattn/go-sqlite3":           {"store", "store/migrate"},
	"database/sql":                          {"store", "store/migrate"},
	"github.com/urfave/cli/v2":              {"cmd/internal/cli"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		for _, imported := range fields[1:] {
			if owners, ok := only[imported]; ok && !within(pkg, owners) {
				t.Errorf("%s imports %s, which is for %v alone", pkg, imported, owners)
			}
		}
		for _, r := range rules {
			if pkg != r.pkg && (r.pkg == "units" || !strings.HasPrefix(pkg, r.pkg+"/")) {
				continue
			}
			seen[r.pkg] = true
			for _, imported := range fields[1:] {
				if !allowed(imported, r.may, r.others, r.without) {
					t.Errorf("%s imports %s: %s", pkg, imported, r.why)
				}
			}
		}
	}
	for _, r := range rules {
		if !seen[r.pkg] {
			t.Errorf("there is a rule for %s, and no such package", r.pkg)
		}
	}
}

func within(pkg string, owners []string) bool {
	for _, o := range owners {
		if pkg == o {
			return true
		}
	}
	return false
}

func allowed(imported string, may, others, without []string) bool {
	if own, ok := strings.CutPrefix(imported, module); ok {
		for _, m := range may {
			if below, all := strings.CutSuffix(m, "…"); own == m || all && strings.HasPrefix(own, below) {
				return true
			}
		}
		return false
	}
	if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
		for _, o := range others {
			if imported == o || strings.HasPrefix(imported, o+"/") {
				return true
			}
		}
		return false
	}
	return !within(imported, without)
}
