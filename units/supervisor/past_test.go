package supervisor_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd"
)

// jobs are those of a service, in the order in which they began: "action phase
// result attempt", and a number for each run, from 1.
func (w *world) jobs(service string) (all []string) {
	w.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(w.dir, "hero_proc.db")+"?mode=ro")
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT action, phase, result, attempt, dense_rank() OVER (ORDER BY run_id), invocation_id FROM jobs WHERE service_name = ? ORDER BY created_at, id`, service)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var action, phase, result, invocation string
		var attempt, run int
		if err := rows.Scan(&action, &phase, &result, &attempt, &run, &invocation); err != nil {
			w.t.Fatal(err)
		}
		if invocation != "" && seen[invocation] {
			w.t.Errorf("invocation %s is in the history twice", invocation)
		}
		seen[invocation] = true
		all = append(all, fmt.Sprintf("%s %s %s attempt %d run %d", action, phase, result, attempt, run))
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// wantJobs waits until the history of a service is as it should be.
func (w *world) wantJobs(service string, want ...string) {
	w.t.Helper()
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = w.jobs(service); slices.Equal(got, want) {
			return
		}
	}
	w.t.Errorf("the history of %s is\n%q, want\n%q", service, got, want)
}

// elsewhere is a client of systemd's that is not the daemon, as systemctl.
func (w *world) elsewhere() *systemd.Manager {
	w.t.Helper()
	m, err := systemd.Connect(w.t.Context(), systemd.Options{Dial: w.bus.Dial})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(m.Close)
	return m
}

// down waits until a unit is neither up nor on its way.
func (w *world) down(m *systemd.Manager, unit string) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		u, err := m.Unit(w.t.Context(), unit)
		if err != nil {
			w.t.Fatal(err)
		}
		if !u.Alive() {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is still %s", unit, u.Active)
		}
	}
}

// restarted waits until systemd has restarted a unit so many times.
func (w *world) restarted(m *systemd.Manager, unit string, n uint32) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		u, err := m.Unit(w.t.Context(), unit)
		if err != nil || time.Now().After(deadline) {
			w.t.Fatalf("not restarted %d times: %+v, %v", n, u, err)
		}
		if u.Active == "active" && u.Restarts == n {
			return
		}
	}
}

func (w *world) result(job <-chan string, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	if got := <-job; got != "done" {
		w.t.Fatalf("the job ended as %q", got)
	}
}

// What a service went through while no daemon looked.
func TestHistoryIsFilledFromTheJournal(t *testing.T) {
	const unit = "hero-core-a.service"
	crashing := restarting("a", "start_limit_burst", 5, "restart_retry", false)
	for _, c := range []struct {
		name string
		def  map[string]any
		do   func(w *world, m *systemd.Manager)
		want []string // but for the last one, which the daemon starts on its return
	}{
		{"it ended well", def("a", "/bin/a"), func(w *world, m *systemd.Manager) { w.pid1.Crash(unit, "success") }, []string{"main succeeded success attempt 1 run 1"}},
		{"it crashed", def("a", "/bin/a"), func(w *world, m *systemd.Manager) { w.pid1.Crash(unit, "core-dump") }, []string{"main failed core-dump attempt 1 run 1"}},
		{"somebody stopped it", def("a", "/bin/a"), func(w *world, m *systemd.Manager) { w.result(m.Stop(t.Context(), unit, "replace")) },
			[]string{"main canceled success attempt 1 run 1"}},
		{"somebody restarted it, and it ended", def("a", "/bin/a"), func(w *world, m *systemd.Manager) {
			w.result(m.Restart(t.Context(), unit, "replace"))
			w.pid1.Crash(unit, "success")
		}, []string{"main canceled success attempt 1 run 1", "main succeeded success attempt 1 run 2"}},
		{"systemd restarted it twice, and somebody stopped it", crashing, func(w *world, m *systemd.Manager) {
			w.pid1.Crash(unit, "signal")
			w.restarted(m, unit, 1)
			w.pid1.Crash(unit, "exit-code")
			w.restarted(m, unit, 2)
			w.result(m.Stop(t.Context(), unit, "replace"))
		}, []string{"main failed signal attempt 1 run 1", "main failed exit-code attempt 2 run 1", "main canceled success attempt 3 run 1"}},
		{"systemd restarts it once too often", crashing, func(w *world, m *systemd.Manager) {
			for n := uint32(1); n < 5; n++ {
				w.pid1.Crash(unit, "signal")
				w.restarted(m, unit, n)
			}
			w.pid1.Crash(unit, "signal")
			w.down(m, unit)
		}, []string{"main failed signal attempt 1 run 1", "main failed signal attempt 2 run 1", "main failed signal attempt 3 run 1", "main failed signal attempt 4 run 1",
			"main failed signal attempt 5 run 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(c.def)
			if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"}); err != nil {
				t.Fatal(err)
			}
			d.await("a", units.StateRunning)
			w.wantJobs("a", "main running  attempt 1 run 1")
			d.kill()
			m := w.elsewhere()
			c.do(w, m)
			w.down(m, unit)
			d = w.boot()
			d.await("a", units.StateRunning)
			runs := 2
			if c.name == "somebody restarted it, and it ended" {
				runs = 3
			}
			w.wantJobs("a", append(c.want, fmt.Sprintf("main running  attempt 1 run %d", runs))...)
			d.kill()
			// Nothing of it is told twice.
			d = w.boot()
			d.await("a", units.StateRunning)
			w.wantJobs("a", append(c.want, fmt.Sprintf("main running  attempt 1 run %d", runs))...)
			d.expect("not-registered core/hero_db")
		})
	}
}

// pastOf is a journal that a test makes.
type pastOf func(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error)

func (p pastOf) Entries(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error) {
	return p(ctx, since, wanted)
}

// What nothing tells is lost, and it is said why.
func TestWhatTheJournalDoesNotTellIsLost(t *testing.T) {
	for _, c := range []struct {
		name   string
		past   func(*world)
		expect []string
		ends   string
	}{
		{"no journal is kept", func(w *world) { w.pid1.Forget() }, nil, "lost "},
		{"it can't be read", func(w *world) {
			w.past = pastOf(func(context.Context, time.Time, func(string) bool) ([]units.Entry, error) {
				return nil, errors.New("journalctl: exit status 1")
			})
		}, []string{"journal-unreadable"}, "lost "},
		{"it does not answer in time", func(w *world) {
			w.past = pastOf(func(ctx context.Context, _ time.Time, _ func(string) bool) ([]units.Entry, error) {
				if _, bounded := ctx.Deadline(); !bounded {
					return nil, nil
				}
				return nil, context.DeadlineExceeded
			})
		}, []string{"journal-unreadable"}, "lost "},
		{"it ends in the middle", func(w *world) {
			w.past = pastOf(func(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error) {
				entries, _ := w.pid1.Entries(ctx, since, wanted)
				return entries, errors.New("the journal is damaged")
			})
		}, []string{"journal-unreadable"}, "failed signal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(def("a", "/bin/a"))
			if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"}); err != nil {
				t.Fatal(err)
			}
			d.await("a", units.StateRunning)
			w.wantJobs("a", "main running  attempt 1 run 1")
			d.kill()
			m := w.elsewhere()
			w.pid1.Crash("hero-core-a.service", "signal")
			if err := m.ResetFailed(t.Context(), "hero-core-a.service"); err != nil {
				t.Fatal(err)
			}
			c.past(w)
			d = w.boot()
			d.await("a", units.StateRunning)
			w.wantJobs("a", "main "+c.ends+" attempt 1 run 1", "main running  attempt 1 run 2")
			d.expect(append(c.expect, "not-registered core/hero_db")...)
		})
	}
}

// A service that systemd restarts faster than the daemon looks has all of its
// attempts in the history.
func TestNothingIsMissedWhileTheDaemonRuns(t *testing.T) {
	const unit = "hero-core-a.service"
	w := newWorld(t)
	d := w.boot()
	d.define(restarting("a", "start_limit_burst", 100))
	if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	m := w.elsewhere()
	want := []string{}
	for n := 1; n <= 20; n++ {
		w.restarted(m, unit, uint32(n-1))
		w.pid1.Crash(unit, "signal")
		want = append(want, fmt.Sprintf("main failed signal attempt %d run 1", n))
	}
	w.wantJobs("a", append(want, "main running  attempt 21 run 1")...)
}

// What happens while the journal is read comes after what the units were.
func TestTheServiceIsRestartedWhileTheJournalIsRead(t *testing.T) {
	const unit = "hero-core-a.service"
	w := newWorld(t)
	d := w.boot()
	d.define(restarting("a", "start_limit_burst", 100))
	if _, err := d.Start(t.Context(), units.ID{Context: "core", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	d.await("a", units.StateRunning)
	w.wantJobs("a", "main running  attempt 1 run 1")
	d.kill()
	m := w.elsewhere()
	crash := func(n uint32) {
		w.pid1.Crash(unit, "signal")
		w.restarted(m, unit, n)
	}
	crash(1)
	var once sync.Once
	w.past = pastOf(func(ctx context.Context, since time.Time, wanted func(string) bool) ([]units.Entry, error) {
		once.Do(func() {
			crash(2)
			crash(3)
		})
		return w.pid1.Entries(ctx, since, wanted)
	})
	w.boot()
	w.wantJobs("a", "main failed signal attempt 1 run 1", "main failed signal attempt 2 run 1", "main failed signal attempt 3 run 1", "main running  attempt 4 run 1")
}

// All actions of a service that start together are one run.
func TestActionsOfOneStartAreOneRun(t *testing.T) {
	several := map[string]any{"name": "a", "actions": []map[string]any{
		{"name": "prepare", "exec": "/bin/true", "is_process": false},
		{"name": "serve", "exec": "/bin/serve", "depends_on": []string{"prepare"}, "restart": "no"},
		{"name": "report", "exec": "/bin/report", "depends_on": []string{"serve"}, "restart": "no"},
	}}
	started := func(run int, serve string) []string {
		return []string{fmt.Sprintf("prepare succeeded success attempt 1 run %d", run), fmt.Sprintf("report running  attempt 1 run %d", run), fmt.Sprintf("serve %s attempt 1 run %d", serve, run)}
	}
	id := units.ID{Context: "core", Name: "a"}
	sorted := func(w *world, want ...string) {
		t.Helper()
		slices.Sort(want)
		var got []string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			got = w.jobs("a")
			if slices.Sort(got); slices.Equal(got, want) {
				return
			}
		}
		w.t.Errorf("the history is\n%q, want\n%q", got, want)
	}
	for _, c := range []struct {
		name  string
		start func(w *world, d *daemon, m *systemd.Manager)
	}{
		{"by hero_proc", func(w *world, d *daemon, _ *systemd.Manager) {
			if _, err := d.Start(t.Context(), id); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"by systemctl", func(w *world, _ *daemon, m *systemd.Manager) { w.result(m.Start(t.Context(), id.Unit(), "replace")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			d := w.boot()
			d.define(several)
			m := w.elsewhere()
			c.start(w, d, m)
			sorted(w, started(1, "running ")...)
			// One that crashed and is started alone has a run of its own.
			report := id.ActionUnit("report")
			w.pid1.Crash(report, "signal")
			sorted(w, append(started(1, "running ")[:1:1], "report failed signal attempt 1 run 1", "serve running  attempt 1 run 1")...)
			w.result(m.Start(t.Context(), report, "replace"))
			sorted(w, append(started(1, "running ")[:1:1], "report failed signal attempt 1 run 1", "serve running  attempt 1 run 1", "report running  attempt 1 run 2")...)
		})
	}
}

// Also a start that no daemon saw is one run of all actions.
func TestActionsOfAStartThatNobodySawAreOneRun(t *testing.T) {
	id := units.ID{Context: "core", Name: "a"}
	w := newWorld(t)
	d := w.boot()
	d.define(map[string]any{"name": "a", "status": "stop", "actions": []map[string]any{
		{"name": "serve", "exec": "/bin/serve", "restart": "no"},
		{"name": "report", "exec": "/bin/report", "depends_on": []string{"serve"}, "restart": "no"},
	}})
	if _, err := d.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.wantJobs("a", "serve running  attempt 1 run 1", "report running  attempt 1 run 1")
	d.kill()
	m := w.elsewhere()
	w.result(m.Restart(t.Context(), id.Unit(), "replace"))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		u, err := m.Unit(t.Context(), id.ActionUnit("report"))
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("report is %+v, %v", u, err)
		}
		if u.Active == "active" {
			break
		}
	}
	w.result(m.Stop(t.Context(), id.Unit(), "replace"))
	w.down(m, id.ActionUnit("report"))
	w.boot()
	w.wantJobs("a", "serve canceled success attempt 1 run 1", "report canceled success attempt 1 run 1",
		"serve canceled success attempt 1 run 2", "report canceled success attempt 1 run 2")
}
