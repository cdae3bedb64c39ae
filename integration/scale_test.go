package integration

import (
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
)

// A guard against a change of order, by a short run of the benchmark, in bounds
// that only such a change breaks: on a machine with little to do each figure is
// ten times as good, and more. And what a large context is like for its
// administrator.
func TestManyServices(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", binary, "./bench").CombinedOutput(); err != nil {
		t.Fatalf("cannot build the benchmark: %v\n%s", err, out)
	}
	g := boot(t)
	g.must(g.CopyIn(g.ctx, binary, "/usr/local/bin/bench"))
	n := strconv.Itoa(manyServices)
	r := g.run("bench", "-inside", "-parts=burst,api,cli", "-runs=1", "-sizes="+n, "-services="+n)
	if r.Exit != 0 {
		t.Fatalf("bench: exit status %d\n%s", r.Exit, r.Stderr)
	}
	var rows []struct {
		What, Way, Unit string
		Median, Ratio   float64
	}
	g.must(json.Unmarshal([]byte(r.Stdout), &rows))
	for _, want := range []struct {
		what, way string
		ms, ratio float64
	}{
		{what: "start 250 services", way: "hero_proc", ratio: 10},
		{what: "status of one, of 250 services, 1 client: p50", way: "hero_proc", ms: 200},
		{what: "status of all, of 250 services, 1 client: p50", way: "hero_proc", ms: 1000},
		{what: "hero_proc service list of 250 services", way: "hero_proc", ms: 2000},
	} {
		found := false
		for _, row := range rows {
			if row.What != want.what || row.Way != want.way {
				continue
			}
			found = true
			if want.ratio > 0 && (row.Ratio > want.ratio || row.Ratio == 0) || want.ms > 0 && row.Median > want.ms {
				t.Errorf("%s: %.1f %s, ratio %.1f; far from what it was\n%s", row.What, row.Median, row.Unit, row.Ratio, r.Stderr)
			}
		}
		if !found {
			t.Errorf("the benchmark has no row %q\n%s", want.what, r.Stderr)
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
	// One that is stopped stays loaded, as all are pinned; so it can be started.
	g.sh("systemctl stop hero-core-web0.service && systemctl start hero-core-web0.service")
	// Stopping the context stops all of them.
	g.sh("systemctl stop hero-core.slice")
	if left := up(); len(left) > 0 {
		t.Errorf("still active: %v", left)
	}
}
