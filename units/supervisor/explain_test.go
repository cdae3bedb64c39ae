package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// chain is an explanation in short.
func (d *daemon) chain(name string) []string {
	d.w.t.Helper()
	e, err := d.Explain(d.w.t.Context(), units.ID{Context: "core", Name: name})
	if err != nil {
		d.w.t.Fatal(err)
	}
	var got []string
	for _, l := range e.Links {
		line := fmt.Sprintf("%s %s: it %s", l.Name, l.State, l.What)
		if (l.InvocationID != "") != (l.State == units.StateFailed) {
			line += fmt.Sprintf(" (invocation %q)", l.InvocationID)
		}
		got = append(got, line)
	}
	for _, ev := range e.Events {
		got = append(got, "event "+string(ev.Code))
	}
	return got
}

func (d *daemon) wantChain(name string, want ...string) {
	d.w.t.Helper()
	if got := d.chain(name); !slices.Equal(got, want) {
		d.w.t.Errorf("the chain of %s is\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestExplainReadsWhatIsToBlame(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("c", "/bin/false"), def("b", "/bin/sleep 1000", "requires", "c"), def("a", "/bin/sleep 1000", "requires", "b"), def("well", "/bin/sleep 1000"))
	d.wantChain("nothing", "nothing : it is not registered")
	d.wantChain("a",
		"a inactive: it is not started: what it requires is not up",
		"b inactive: it is not started: what it requires is not up",
		"c inactive: it was never started, as far as the history goes back")
	for _, name := range []string{"well", "c"} {
		job, err := d.Start(t.Context(), units.ID{Context: "core", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.WaitReady(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
	}
	d.await("c", units.StateFailed)
	d.wantChain("well", "well running: it runs, and nothing is wrong")
	d.wantChain("b", "b blocked: it can't be started: what it requires is not up", "c failed: it has failed")
	if _, err := d.Explain(t.Context(), units.ID{Context: "NO", Name: "x"}); units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("of a name that is none: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := d.Explain(ended, units.ID{Context: "core", Name: "a"}); err != nil && units.CodeOf(err) != units.CodeTimeout {
		t.Errorf("for a caller who has left: %v", err)
	}

	// At the next boot what can't start is reported, and told.
	d.define(def("orphan", "/bin/sleep 1000", "requires", "gone"))
	d.kill()
	d = w.boot()
	d.wantChain("orphan", "orphan blocked: it can't be started: what it requires is not up", "gone : it is not registered", "event dependency-missing")
}

func TestAnalyzeBootReadsTheHistory(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/sleep 1000"), def("web", "/bin/sleep 1000", "requires", "db"))
	if a, err := d.AnalyzeBoot(t.Context()); err != nil || len(a.Units) != 0 || a.Booted.IsZero() {
		t.Errorf("before anything was started, the boot is %+v, %v", a, err)
	}
	d.kill()
	d = w.boot()
	d.await("web", units.StateRunning)
	var got []string
	for len(got) < 2 { // the history follows what runs
		a, err := d.AnalyzeBoot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, u := range a.Units {
			if !u.Ready.IsZero() {
				got = append(got, fmt.Sprintf("%s after %q, critical %v", u.Service, u.WaitedFor, u.Critical))
			}
		}
	}
	want := []string{`core/db after "", critical true`, `core/web after "hero-core-db.service", critical true`}
	if !slices.Equal(got, want) {
		t.Errorf("the boot was %q, want %q", got, want)
	}
	deps, err := d.Dependencies(t.Context())
	if err != nil || len(deps) != 1 || deps[0].On.Name != "db" || deps[0].Relation != units.RelationRequires {
		t.Errorf("dependencies are %+v, %v", deps, err)
	}
}

// A secret is made when a definition asks for it, and loaded from its file.
func TestGeneratedCredentials(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	with := def("db", "/bin/sleep 1000")
	with["actions"].([]map[string]any)[0]["credentials"] = map[string]any{"key": units.GeneratedCredential, "other": "/etc/other"}
	d.define(with)
	path := filepath.Join(w.dir, "credentials/core/db/key")
	secret, err := os.ReadFile(path)
	if err != nil || len(secret) != 64 {
		t.Fatalf("the secret has %d bytes, %v", len(secret), err)
	}
	d.define(with)
	if again, err := os.ReadFile(path); err != nil || string(again) != string(secret) {
		t.Errorf("set again, the secret is another one, %v", err)
	}
	service, err := d.Definition(t.Context(), units.ID{Context: "core", Name: "db"})
	if err != nil || service.Actions[0].Credentials["key"] != units.GeneratedCredential {
		t.Errorf("the definition says %q, %v", service.Actions[0].Credentials["key"], err)
	}
	// A definition that is refused makes none.
	bad := def("bad", "/bin/sleep 1000", "requires", []any{"-"})
	bad["actions"].([]map[string]any)[0]["credentials"] = map[string]any{"key": units.GeneratedCredential}
	if err := d.Set(t.Context(), bad, false); units.CodeOf(err) != units.CodeInvalidDefinition {
		t.Errorf("a bad definition: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "credentials/core/bad")); !os.IsNotExist(err) {
		t.Errorf("a bad definition has made a secret: %v", err)
	}
}
