package supervisor_test

import (
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

const heroDB = "hero-core-hero_db.service"

func TestBootWaitsForTheProbeOfHeroDB(t *testing.T) {
	w := newWorld(t)
	first := w.boot()
	first.define(def("hero_db", "/bin/db", "ready", "exec:sleep 0.3"), def("a", "/bin/a", "requires", "hero_db"))
	first.kill()
	d := w.boot()
	d.expect()
	db := d.status("hero_db")
	if db.State != units.StateRunning {
		t.Errorf("hero_db is %s (%s) at READY", db.State, db.Reason)
	}
	a := d.await("a", units.StateRunning)
	if a.Unit.ActiveSince.Before(db.Unit.ActiveSince) {
		t.Errorf("a was up at %s, before hero_db was ready at %s", a.Unit.ActiveSince, db.Unit.ActiveSince)
	}
}

func TestBootSaysWhyHeroDBIsNotReady(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, ready string
		want        string // what is reported, and why
		reason      string
		state       units.State
	}{
		{
			name: "its probe gives up", ready: "exec:false", state: units.StateFailed,
			want: "start-failed", reason: "exit-code (killed by signal 15, terminated), not ready: exec:false: exit status 1",
		},
		{
			name: "its probe waits on", ready: "redis://", state: units.StateActivating,
			want: "start-timeout", reason: heroDB + " is still activating (start-post) after 300ms",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.boot()
			first.define(def("hero_db", "/bin/db", "ready", c.ready))
			first.kill()
			d := w.boot(func(p *supervisor.Policy) { p.StartTimeout = 300 * time.Millisecond })
			d.expect(c.want + " core/hero_db")
			d.expectLog("not-registered error", c.want+" error")
			d.await("hero_db", c.state)
			if h := d.Health(nil); h.HeroDB != c.want || !strings.Contains(h.HeroDBReason, c.reason) {
				t.Errorf("health says %s because %q; want %s because %q", h.HeroDB, h.HeroDBReason, c.want, c.reason)
			}
		})
	}
}

// A start is over when the probe has succeeded; until then the status says
// what is waited for.
func TestStartOfWhatHasAProbe(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/db", "ready", "redis://"), def("web", "/bin/web", "requires", "db"))
	job, err := d.Start(t.Context(), units.ID{Context: "core", Name: "web"})
	if err != nil || job.Phase != units.PhasePending {
		t.Fatalf("the start of web is %+v, %v", job, err)
	}
	const db = "hero-core-db.service"
	d.awaitReason("db", "not ready yet (start-post)")
	w.pid1.Say(db, "waiting for redis://127.0.0.1:6379: LOADING")
	if got, want := d.status("db").Reason, "not ready yet (start-post), waiting for redis://127.0.0.1:6379: LOADING"; got != want {
		t.Errorf("db reads %q, want %q", got, want)
	}
	if web, want := d.status("web"), "waits for core/db, waiting for redis://127.0.0.1:6379: LOADING"; web.State != units.StateActivating || web.Reason != want {
		t.Errorf("web is %s (%s) before db is ready, want activating (%s)", web.State, web.Reason, want)
	}
	// Any program may say anything, and anybody may read it.
	w.pid1.Say(db, "loading\x1b[2J\nand so on")
	d.awaitReason("db", "not ready yet (start-post), loading?[2J")
	w.pid1.Say(db, strings.Repeat("x", 5000))
	d.awaitReason("db", "not ready yet (start-post), "+strings.Repeat("x", 1000)+"…")
	if again, err := d.Start(t.Context(), job.Service); err != nil || again.ID != job.ID {
		t.Errorf("a second start of what waits is %+v, %v; want that it is the first", again, err)
	}
	w.pid1.Ready(db)
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseRunning {
		t.Errorf("the start of web ends in %+v, %v", job, err)
	}
	d.await("db", units.StateRunning)

	if _, err := d.Stop(t.Context(), units.ID{Context: "core", Name: "db"}); err != nil {
		t.Fatal(err)
	}
	d.await("web", units.StateInactive)
	d.await("db", units.StateInactive)
	if job, err = d.Start(t.Context(), units.ID{Context: "core", Name: "web"}); err != nil {
		t.Fatal(err)
	}
	d.awaitReason("db", "not ready yet (start-post)")
	w.pid1.Unready(db, "redis://127.0.0.1:6379 after 30s: connection refused")
	if job, err = d.WaitReady(t.Context(), job.ID); err != nil || job.Phase != units.PhaseFailed || job.Result != "dependency" {
		t.Errorf("the start of web without db ends in %+v, %v", job, err)
	}
	const says = "exit-code (killed by signal 15, terminated), not ready: redis://127.0.0.1:6379 after 30s: connection refused"
	if s := d.await("db", units.StateFailed); s.Reason != "systemd's result is "+says {
		t.Errorf("db failed because %q", s.Reason)
	}
	if s := d.await("web", units.StateBlocked); !strings.HasPrefix(s.Reason, "it requires "+db+", which is failed: "+says) {
		t.Errorf("web is blocked because %q", s.Reason)
	}
}

// A stop of what still waits is a stop, and no failure.
func TestStopOfWhatHasAProbe(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	d.define(def("db", "/bin/db", "ready", "tcp:localhost:80"))
	id := units.ID{Context: "core", Name: "db"}
	job, err := d.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	d.await("db", units.StateActivating)
	if _, err := d.Stop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	d.await("db", units.StateInactive)
	if job, err = d.Wait(t.Context(), job.ID); err != nil || job.Phase != units.PhaseCanceled {
		t.Errorf("the start ends in %+v, %v", job, err)
	}
}
