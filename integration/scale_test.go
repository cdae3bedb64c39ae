package integration

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// manyServices are a context that is large enough for slices inside of its own,
// fewServices are not.
const (
	manyServices = 250
	fewServices  = 190
	// times is how many more the large one has than one with next to nothing.
	times = 25
)

// measured are the figures of a short run of the benchmark in the machine: what
// was measured, and how long ours took in milliseconds, and beside systemd's own.
func (g *guest) measured(parts string, services int) (ms, ratio map[string]float64) {
	g.t.Helper()
	n := strconv.Itoa(services)
	r := g.run("bench", "-inside", "-parts="+parts, "-runs=1", "-sizes="+n, "-services="+n)
	if r.Exit != 0 {
		g.t.Fatalf("bench: exit status %d\n%s", r.Exit, r.Stderr)
	}
	var rows []struct {
		What, Way     string
		Median, Ratio float64
	}
	g.must(json.Unmarshal([]byte(r.Stdout), &rows))
	ms, ratio = map[string]float64{}, map[string]float64{}
	for _, row := range rows {
		if row.Way == "hero_proc" {
			what := strings.Replace(row.What, n+" services", "N services", 1)
			ms[what], ratio[what] = row.Median, row.Ratio
		}
	}
	g.t.Log(r.Stderr)
	return ms, ratio
}

// A guard against a change of order, by short runs of the benchmark: figures of
// one run beside each other, as what a machine does with so much to do tells
// nothing. And what a large context is like for its administrator.
func TestManyServices(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", binary, "./bench").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the benchmark: %v\n%s", err, out)
	}
	g := boot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	g.ctx = ctx
	g.must(g.CopyIn(g.ctx, binary, "/usr/local/bin/bench"))
	one, _ := g.measured("api,cli", manyServices/times)
	many, beside := g.measured("burst,api,cli", manyServices)
	// As much as static unit files cost is what it is to be.
	if r := beside["start N services"]; r == 0 || r > 10 {
		t.Errorf("to start %d services takes %.1f times as long as from static unit files", manyServices, r)
	}
	for what, bound := range map[string]float64{
		"status of one, of N services, 1 client: p50": times / 2,         // is to cost what it costs with few
		"status of all, of N services, 1 client: p50": times * times / 5, // is to grow with their number, not with its square
		"hero_proc service list of N services":        times * times / 5,
	} {
		if one[what] == 0 || many[what] == 0 {
			t.Errorf("the benchmark has no figure for %q", what)
		} else if r := many[what] / one[what]; r > bound {
			t.Errorf("%s: with %d services it takes %.1f times as long as with %d", what, manyServices, r, manyServices/times)
		}
	}

	// The benchmark has left its store: the services start again.
	g.sh("systemctl start hero_proc")
	up := func() []string {
		return strings.Fields(g.sh("systemctl list-units --state=active --plain --no-legend 'hero-core-*.service' | cut -d ' ' -f 1"))
	}
	g.waitFor("the services", func() bool { return len(up()) == manyServices })
	slice := g.prop("hero-core-web0.service", "Slice")
	if !strings.HasPrefix(slice, "hero-core-") {
		t.Errorf("web0 is in %s, want one inside of hero-core.slice", slice)
	}
	if group := g.prop("hero-core-web0.service", "ControlGroup"); !strings.HasPrefix(group, "/hero.slice/hero-core.slice/"+slice+"/") {
		t.Errorf("web0 is in %s", group)
	}
	// What is set for the context is set above all of them.
	g.sh("systemctl set-property hero-core.slice TasksMax=5000")
	if got := g.prop("hero-core.slice", "TasksMax"); got != "5000" {
		t.Errorf("TasksMax of the context is %s", got)
	}
	// They stay where they are, and nothing is stale, when the context gets small.
	invocation := g.prop("hero-core-web0.service", "InvocationID")
	g.sh("for i in $(seq %d %d); do hero_proc service remove --stop web$i; done", fewServices, manyServices-1)
	g.sh("systemctl kill --kill-whom=main --signal=KILL hero_proc")
	g.waitFor("hero_proc again", func() bool { return strings.Contains(g.run("hero_proc", "service", "list").Stdout, "core/web0 ") })
	if list := g.hp("service", "list"); strings.Contains(list, "older definition") || strings.Contains(list, "restart") {
		t.Errorf("services are stale:\n%s", list)
	}
	if now := g.prop("hero-core-web0.service", "InvocationID"); now != invocation {
		t.Errorf("web0 was restarted: %s, was %s", now, invocation)
	}
	if n := len(up()); n != fewServices {
		t.Errorf("%d services are active, want %d", n, fewServices)
	}
	// One that is stopped stays loaded, or is loaded again where the daemon was
	// not ready to pin it; so it can be started.
	g.sh("systemctl stop hero-core-web0.service")
	g.waitFor("web0 to be started", func() bool { return g.run("systemctl", "start", "hero-core-web0.service").Exit == 0 })
	// Stopping the context stops all of them.
	g.sh("systemctl stop hero-core.slice")
	if left := up(); len(left) > 0 {
		t.Errorf("still active: %v", left)
	}
}
