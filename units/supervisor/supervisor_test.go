package supervisor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
)

func TestBootOfAnEmptyStoreReportsHeroDB(t *testing.T) {
	d := newWorld(t).boot()
	d.expect("not-registered core/hero_db")
	d.expectLog("not-registered error")
	if h := d.Health(nil); !h.Ready || h.HeroDB != "not-registered" || h.Systemd != 252 {
		t.Errorf("health is %+v", h)
	}
}

func TestBootStartsWhatIsWanted(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"), def("a", "/bin/a", "requires", "hero_db"), def("b", "/bin/b", "status", "stop"), def("c", "/bin/c", "status", "ignore"),
		map[string]any{"name": "s", "status": "spec"})
	for _, name := range []string{"hero_db", "a", "b", "c"} {
		if s := d.status(name); s.State != units.StateInactive || !s.Unit.Loaded() {
			t.Errorf("%s is %s and %s before it is started", name, s.State, s.Unit.Load)
		}
	}
	d.kill()

	d = w.boot()
	d.expect()
	if s := d.status("hero_db"); s.State != units.StateRunning {
		t.Errorf("hero_db is %s (%s) at READY", s.State, s.Reason)
	}
	d.await("a", units.StateRunning)
	for _, name := range []string{"b", "c"} {
		if s := d.status(name); s.State != units.StateInactive || !s.Unit.Loaded() {
			t.Errorf("%s is %s and %s, want it loaded only", name, s.State, s.Unit.Load)
		}
	}
	if s := d.status("s"); s.Unit.Loaded() {
		t.Errorf("s, a definition only, has a unit")
	}
	job, ok := d.job("a")
	if !ok || job.Phase != units.PhaseRunning {
		t.Errorf("the history has %+v of a", job)
	}
}

func TestHealthyMachineIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"), def("a", "/bin/a"))
	d.kill()
	d = w.boot()
	before := d.await("hero_db", units.StateRunning).Unit
	d.await("a", units.StateRunning)
	d.kill()
	starts, sets := w.pid1.Calls("StartUnit"), w.pid1.Calls("StartTransientUnit")

	d = w.boot()
	after := d.await("hero_db", units.StateRunning).Unit
	if after.InvocationID != before.InvocationID || after.MainPID != before.MainPID {
		t.Errorf("hero_db was %s (process %d), is %s (process %d)", before.InvocationID, before.MainPID, after.InvocationID, after.MainPID)
	}
	if s, n := w.pid1.Calls("StartUnit"), w.pid1.Calls("StartTransientUnit"); s != starts || n != sets {
		t.Errorf("a healthy machine cost %d StartUnit and %d StartTransientUnit", s-starts, n-sets)
	}
	d.expect()
	if job, ok := d.job("hero_db"); !ok || job.Attempt != 1 || job.Phase != units.PhaseRunning {
		t.Errorf("hero_db was not adopted: %+v", job)
	}
}

func TestHeroDBPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		def    map[string]any
		policy func(*supervisor.Policy)
		hang   bool
		want   []string
		log    []string
		state  units.State
	}{
		{name: "stop", def: def("hero_db", "/bin/db", "status", "stop"), want: []string{"not-start-intent core/hero_db"}, log: []string{"not-start-intent warning"}, state: units.StateInactive},
		{name: "ignore", def: def("hero_db", "/bin/db", "status", "ignore"), want: []string{"not-start-intent core/hero_db"}, log: []string{"not-start-intent warning"}, state: units.StateInactive},
		{name: "spec", def: def("hero_db", "/bin/db", "status", "spec"), want: []string{"not-start-intent core/hero_db"}, log: []string{"not-start-intent warning"}, state: units.StateInactive},
		{name: "opted out", def: def("hero_db", "/bin/db", "status", "stop"), policy: func(p *supervisor.Policy) { p.NoAutostartDB = true }, state: units.StateInactive},
		{name: "another context", def: def("hero_db", "/bin/db"), policy: func(p *supervisor.Policy) { p.HeroDB.Context = "data" },
			want: []string{"not-registered data/hero_db"}, log: []string{"not-registered error"}, state: units.StateRunning},
		{name: "no such program", def: def("hero_db", "/nonexistent"), want: []string{"start-failed core/hero_db"}, log: []string{"start-failed error"}, state: units.StateFailed},
		{name: "ends at once", def: def("hero_db", "/bin/false"), want: []string{"start-failed core/hero_db"}, log: []string{"start-failed error"}, state: units.StateFailed},
		{name: "never ready", def: def("hero_db", "/bin/db", "ready", "notify"), hang: true, policy: func(p *supervisor.Policy) { p.StartTimeout = 100 * time.Millisecond },
			want: []string{"start-timeout core/hero_db"}, log: []string{"start-timeout error"}, state: units.StateActivating},
		{name: "requires what isn't there", def: def("hero_db", "/bin/db", "requires", "ghost"),
			want: []string{"dependency-missing core/hero_db", "dependency-missing core/hero_db"}, log: []string{"dependency-missing error"}, state: units.StateBlocked},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.boot()
			first.define(c.def)
			first.kill()
			if c.hang {
				w.pid1.Hang("hero-core-hero_db.service")
			}
			var policy []func(*supervisor.Policy)
			if c.policy != nil {
				policy = append(policy, c.policy)
			}
			d := w.boot(policy...)
			d.expect(c.want...)
			// The first boot, of the empty store, has left its line.
			d.expectLog(append([]string{"not-registered error"}, c.log...)...)
			d.await("hero_db", c.state)
		})
	}
}

func TestHeroDBWhoseDependencyFails(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("disk", "/bin/false", "ready", "notify"), def("hero_db", "/bin/db", "requires", "disk"))
	d.kill()
	d = w.boot()
	d.expect("dependency-failed core/hero_db")
	s := d.await("hero_db", units.StateBlocked)
	if !strings.Contains(s.Reason, "hero-core-disk.service, which is failed") {
		t.Errorf("hero_db is blocked because %q", s.Reason)
	}
}

func TestFaultsCostOnlyThemselves(t *testing.T) {
	w := newWorld(t)
	d := w.boot(func(p *supervisor.Policy) { p.NoAutostartDB = true })
	d.define(def("good", "/bin/good"), def("x", "/bin/x", "after", "y"), def("y", "/bin/y", "after", "x"), def("z", "/bin/z", "requires", "x"), def("m", "/bin/m", "requires", "ghost"))
	d.kill()
	d = w.boot(func(p *supervisor.Policy) { p.NoAutostartDB = true })
	d.expect("dependency-missing core/m", "dependency-cycle core/x", "dependency-cycle core/y", "dependency-failed core/z")
	d.await("good", units.StateRunning)
	for _, name := range []string{"m", "x", "y", "z"} {
		if s := d.status(name); s.State != units.StateBlocked || !s.Unit.Loaded() || s.Remedy == "" {
			t.Errorf("%s is %s and %s with remedy %q, want it blocked, loaded and mendable", name, s.State, s.Unit.Load, s.Remedy)
		}
		if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: name}); units.CodeOf(err) != units.CodeBlocked {
			t.Errorf("starting %s answered %v, want Blocked", name, err)
		}
	}
}

func TestSystemctlAndHeroProcDoNotFight(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	id := units.ID{Context: "core", Name: "a"}
	first, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if first, err = d.WaitReady(t.Context(), first.ID); err != nil || first.Phase != units.PhaseRunning {
		t.Fatalf("the first job is %+v, %v", first, err)
	}

	// As systemctl does it: by another connection.
	other, err := systemd.Connect(t.Context(), systemd.Options{Dial: w.bus.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	done, err := other.Stop(t.Context(), id.Unit(), "replace")
	if err != nil || <-done != "done" {
		t.Fatalf("cannot stop: %v", err)
	}
	ended, err := d.Wait(t.Context(), first.ID)
	if err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the first job ended as %+v, %v; want it canceled", ended, err)
	}
	if s := d.await("a", units.StateInactive); !s.Unit.Loaded() {
		t.Error("the stopped unit is not loaded any more")
	}
	done, err = other.Start(t.Context(), id.Unit(), "replace")
	if err != nil || <-done != "done" {
		t.Fatalf("cannot start: %v", err)
	}
	d.await("a", units.StateRunning)
	second, ok := d.job("a")
	if !ok || second.Run == first.Run || second.ID == first.ID {
		t.Errorf("the job of systemctl's start is %+v, after %+v", second, first)
	}
}

func TestRestartBringsTheNewDefinition(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/db"), def("a", "/bin/a", "requires", "db"), def("b", "/bin/b", "after", "db"))
	for _, name := range []string{"a", "b"} {
		if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: name}); err != nil {
			t.Fatal(err)
		}
		d.await(name, units.StateRunning)
	}
	db := units.ID{Context: "core", Name: "db"}
	old, before := d.status("db").Unit, d.status("b").Unit
	oldJob, _ := d.job("db")
	d.define(def("db", "/bin/db --faster"))
	if s := d.status("db"); !s.Stale || s.State != units.StateRunning || s.Unit.InvocationID != old.InvocationID {
		t.Errorf("after a change db is %+v, want it running on and stale", s)
	}
	job, err := d.Restart(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseRunning {
		t.Fatalf("the job of the restart is %+v, %v", job, err)
	}
	if s := d.status("db"); s.Stale || s.Unit.InvocationID == old.InvocationID {
		t.Errorf("after the restart db is %+v, want it new", s)
	}
	if ended, err := d.Wait(t.Context(), oldJob.ID); err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the job before is %+v, %v; want it canceled", ended, err)
	}
	d.await("a", units.StateRunning) // stopped with db, and started again
	if after := d.status("b").Unit; after.InvocationID != before.InvocationID {
		t.Error("b, which is only ordered after db, was restarted")
	}

	// With the definition that it has, a restart is systemd's own.
	job, err = d.Restart(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseRunning {
		t.Errorf("the job of the second restart is %+v, %v", job, err)
	}
}

func TestAStoppedServiceTakesItsNewDefinition(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	id := units.ID{Context: "core", Name: "a"}
	job, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	d.define(def("a", "/bin/a --new"))
	if _, err := d.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Wait(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); d.status("a").Stale; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stopped unit still has its old definition")
		}
	}
}

func TestSetRefusesWithNothingLost(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	before, err := d.Definition(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []map[string]any{
		{"name": "a", "actions": []map[string]any{{"name": "main", "exec": "/bin/a", "colour": "red"}}},
		{"name": "a"},
		{"name": "a-r1", "actions": []map[string]any{{"name": "main", "exec": "/bin/a"}}},
		{"actions": []map[string]any{{"name": "main", "exec": "/bin/a"}}},
		{},
		nil,
	} {
		if err := d.Set(t.Context(), bad, false); units.CodeOf(err) != units.CodeInvalidDefinition {
			t.Errorf("setting %v answered %v, want InvalidDefinition", bad, err)
		}
	}
	after, err := d.Definition(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil || after.Digest() != before.Digest() {
		t.Errorf("the definition is %+v, %v; was %+v", after, err, before)
	}
	services, err := d.Services(t.Context())
	if err != nil || len(services) != 1 {
		t.Errorf("services are %+v, %v; want one", services, err)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/db"), def("cache", "/bin/cache"), def("a", "/bin/a", "requires", []string{"db", "cache"}), def("b", "/bin/b", "after", "a"))
	id := func(name string) units.ID { return units.ID{Context: "core", Name: name} }
	job, err := d.Start(t.Context(), id("a"))
	if err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	for _, c := range []struct {
		name string
		stop bool
		want units.Code // "" is done
	}{
		{"ghost", false, units.CodeNoSuchService},
		{"db", true, units.CodeInUse}, // a requires it
		{"a", false, units.CodeInUse}, // it runs
		{"a", true, ""},
		{"a", false, units.CodeNoSuchService},
		{"db", true, ""},
		{"cache", true, ""},
	} {
		err := d.Remove(t.Context(), id(c.name), c.stop)
		if (err == nil) != (c.want == "") || err != nil && units.CodeOf(err) != c.want {
			t.Errorf("removing %s (stop %v) answered %v, want %q", c.name, c.stop, err, c.want)
		}
		var refused *units.Error
		if want := "hero_proc service set core/a --requires cache"; c.name == "db" && errors.As(err, &refused) && refused.Remedy != want {
			t.Errorf("removing db is mended by %q, want %q", refused.Remedy, want)
		}
	}
	listed, err := d.manager.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range listed {
		// b still names a's unit, so systemd knows the name.
		if u.Loaded() != (u.Name == "hero-core-b.service") {
			t.Errorf("%s is %s", u.Name, u.Load)
		}
	}
	if ended, err := d.Supervisor.Job(t.Context(), job.ID); err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the job of the removed service is %+v, %v; want it canceled", ended, err)
	}
}

func TestLossOfTheBus(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("hero_db", "/bin/db"), def("down", "/bin/down"))
	if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: "hero_db"}); err != nil {
		t.Fatal(err)
	}
	before := d.await("hero_db", units.StateRunning).Unit
	w.bus.Restart()
	for deadline := time.Now().Add(20 * time.Second); !slices.Contains(d.reported(), "bus-back"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the bus is not back; reported: %q", d.reported())
		}
	}
	after := d.await("hero_db", units.StateRunning).Unit
	if after.InvocationID != before.InvocationID {
		t.Error("hero_db was restarted")
	}
	for deadline := time.Now().Add(20 * time.Second); !d.status("down").Unit.Loaded(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a unit that was down is not loaded again")
		}
	}
	if s := d.status("down"); s.State != units.StateInactive {
		t.Errorf("a unit that was down is %s", s.State)
	}
	d.expect("not-registered core/hero_db", "bus-lost", "bus-back")
}

func TestTouchedTellsWhatChanged(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	// b has no unit, of whose making systemd's signals may still tell.
	d.define(def("db", "/bin/db"), def("a", "/bin/a", "requires", "db"), def("b", "/bin/b", "status", "spec"))
	for len(d.Touched()) > 0 {
		<-d.Touched()
	}
	if got := d.TakeTouched(); !got.All {
		t.Errorf("after services came, touched is %+v, want all", got)
	}
	job, err := d.Start(t.Context(), units.ID{Context: "core", Name: "db"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WaitReady(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"core/db": false, "core/a": false}
	sawJob := false
	for deadline := time.After(20 * time.Second); !sawJob || !want["core/db"] || !want["core/a"]; {
		select {
		case <-d.Touched():
		case <-deadline:
			t.Fatalf("touched so far: %v, job %v", want, sawJob)
		}
		got := d.TakeTouched()
		for _, id := range got.Services {
			if _, ok := want[id.String()]; !ok {
				t.Errorf("%s is touched", id)
			}
			want[id.String()] = true
		}
		if got.All { // systemd could not be asked for a moment, and all was read again
			want["core/db"], want["core/a"], sawJob = true, true, true
		}
		sawJob = sawJob || slices.Contains(got.Jobs, job.ID)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("a", "/bin/a"))
	job, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	live, err := d.LiveJobs(t.Context())
	if err != nil || len(live) != 1 || live[0].ID != job.ID {
		t.Errorf("live jobs are %+v, %v; want %d alone", live, err, job.ID)
	}
	for range 2 { // the second time there is nothing to do
		if err := d.Cancel(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		if ended, err := d.Wait(t.Context(), job.ID); err != nil || ended.Phase != units.PhaseCanceled {
			t.Errorf("the job is %+v, %v; want it canceled", ended, err)
		}
	}
	if err := d.Cancel(t.Context(), 4711); units.CodeOf(err) != units.CodeNoSuchJob {
		t.Errorf("canceling a job that isn't there answered %v", err)
	}
}
