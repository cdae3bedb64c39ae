package supervisor_test

import (
	"slices"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/systemd/systemdtest"
)

// submit starts an ad-hoc run of a command of context core.
func (d *daemon) submit(name, exec string, more ...any) units.Job {
	d.w.t.Helper()
	def := map[string]any{"name": name, "exec": exec}
	for i := 0; i < len(more); i += 2 {
		def[more[i].(string)] = more[i+1]
	}
	job, err := d.RunJob(d.w.t.Context(), def, nil)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return job
}

// ended waits for a job's end.
func (d *daemon) ended(job units.Job, phase units.Phase) units.Job {
	d.w.t.Helper()
	j, err := d.Wait(d.w.t.Context(), job.ID)
	if err != nil || j.Phase != phase {
		d.w.t.Fatalf("job %d is %+v, %v; want it %s", job.ID, j, err, phase)
	}
	return j
}

func (d *daemon) running(job units.Job) units.Job {
	d.w.t.Helper()
	j, err := d.WaitReady(d.w.t.Context(), job.ID)
	if err != nil || j.Phase != units.PhaseRunning || j.InvocationID == "" {
		d.w.t.Fatalf("job %d is %+v, %v; want it running", job.ID, j, err)
	}
	return j
}

// live are the units of the live jobs.
func (d *daemon) live() (names []string) {
	d.w.t.Helper()
	jobs, err := d.LiveJobs(d.w.t.Context())
	if err != nil {
		d.w.t.Fatal(err)
	}
	for _, j := range jobs {
		names = append(names, j.Unit)
	}
	return names
}

// unloaded waits until systemd has none of the runs' units any more.
func (d *daemon) unloaded(jobs ...units.Job) {
	d.w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := ""
		for _, j := range jobs {
			if u, err := d.manager.Unit(d.w.t.Context(), j.Unit); err != nil || u.Loaded() {
				left = j.Unit
			}
		}
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			d.w.t.Fatalf("%s is still loaded", left)
		}
	}
}

// machineRestarts is another boot: nothing of systemd's is left.
func (w *world) machineRestarts() {
	w.bus = privatebus.Start(w.t)
	w.pid1 = systemdtest.Start(w.t, w.bus)
	w.past = w.pid1
}

func TestRunsEndAndLeaveNothing(t *testing.T) {
	d := newWorld(t).boot()
	good, bad := d.submit("good", "/bin/true"), d.submit("bad", "/bin/false")
	if good.Unit != "hero-core-good-r1.service" || good.Run != 1 || good.Attempt != 1 {
		t.Errorf("the job is %+v", good)
	}
	d.ended(good, units.PhaseSucceeded)
	if j := d.ended(bad, units.PhaseFailed); j.ExitCode != 1 || j.ExitStatus != 1 || j.Action != "main" {
		t.Errorf("the failed job is %+v", j)
	}
	d.unloaded(good, bad)
	long := d.submit("long", "/bin/daemon")
	d.running(long)
	if err := d.Cancel(t.Context(), long.ID); err != nil {
		t.Fatal(err)
	}
	d.ended(long, units.PhaseCanceled)
	d.unloaded(long)
	if live := d.live(); live != nil {
		t.Errorf("live jobs: %q", live)
	}
}

func TestARegisteredActionAsARun(t *testing.T) {
	d := newWorld(t).boot()
	d.define(map[string]any{"name": "web", "actions": []map[string]any{
		{"name": "serve", "exec": "/bin/web"},
		{"name": "migrate", "exec": "/bin/true", "is_process": false, "env": map[string]string{"A": "1"}},
	}})
	job, err := d.RunJob(t.Context(), map[string]any{"service": "web", "action": "migrate"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if job.Service.String() != "core/web" || job.Action != "migrate" || job.Unit != "hero-core-web-r1.service" {
		t.Errorf("the job is %+v", job)
	}
	d.ended(job, units.PhaseSucceeded)
	d.unloaded(job)
	if s := d.status("web"); s.State != units.StateInactive || !s.Unit.Loaded() {
		t.Errorf("the service, which was never started, is %+v", s)
	}
}

func TestRunsAreRefused(t *testing.T) {
	d := newWorld(t).boot()
	for _, c := range []struct {
		name string
		def  map[string]any
		code units.Code
	}{
		{"no command", map[string]any{"name": "x"}, units.CodeInvalidDefinition},
		{"no name", map[string]any{"exec": "/bin/x"}, units.CodeInvalidDefinition},
		{"an unknown field", map[string]any{"name": "x", "exec": "/bin/x", "memmory_max": "1M"}, units.CodeInvalidDefinition},
		{"no such service", map[string]any{"service": "none"}, units.CodeNoSuchService},
	} {
		if _, err := d.RunJob(t.Context(), c.def, nil); units.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	_, err := d.RunJob(t.Context(), map[string]any{"name": "x", "exec": "/bin/x", "is_process": true}, &units.Streams{})
	if units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("a process with streams: %v", err)
	}
	if live := d.live(); live != nil {
		t.Errorf("live jobs: %q", live)
	}
}

func TestRunsAreAdopted(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	goes := d.running(d.submit("goes", "/bin/daemon"))
	fails := d.running(d.submit("fails", "/bin/daemon"))
	d.kill()
	w.pid1.Crash(fails.Unit, "exit-code")
	d = w.boot()
	if j := d.running(goes); j.InvocationID != goes.InvocationID || j.ID != goes.ID {
		t.Errorf("after a restart of the daemon the job is %+v, was %+v", j, goes)
	}
	// A failed unit stays, and says how it ended.
	if j := d.ended(fails, units.PhaseFailed); j.ExitStatus != 1 {
		t.Errorf("what failed meanwhile is %+v", j)
	}
	d.unloaded(fails)
	w.pid1.Crash(goes.Unit, "success") // and it is pinned again
	d.ended(goes, units.PhaseSucceeded)
	d.unloaded(goes)
}

func TestProcessesAreQueuedAgainAfterAReboot(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	process := d.running(d.submit("process", "/bin/daemon", "is_process", true))
	once := d.running(d.submit("once", "/bin/daemon"))
	canceled := d.running(d.submit("canceled", "/bin/daemon", "is_process", true))
	over := d.submit("over", "/bin/true", "is_process", true)
	d.ended(over, units.PhaseSucceeded)
	if err := d.Cancel(t.Context(), canceled.ID); err != nil {
		t.Fatal(err)
	}
	d.ended(canceled, units.PhaseCanceled)
	d.unloaded(canceled, over)
	d.kill()
	w.machineRestarts()
	want := []string{process.Unit}
	for i, events := range [][]string{{"not-registered core/hero_db", "run-queued-again core/process"}, {"not-registered core/hero_db"}} {
		d = w.boot()
		d.expect(events...)
		if got := d.live(); !slices.Equal(got, want) {
			t.Errorf("start %d: live are %q, want %q", i, got, want)
		}
		for _, before := range []units.Job{process, once} {
			if j, err := d.Job(t.Context(), before.ID); err != nil || j.Phase != units.PhaseLost {
				t.Errorf("start %d: what died with the machine is %+v, %v", i, j, err)
			}
		}
		d.kill() // the same machine: the process runs on
	}
	d = w.boot()
	jobs, err := d.LiveJobs(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].Run != process.Run || jobs[0].Attempt != 2 || jobs[0].InvocationID == process.InvocationID {
		t.Errorf("the live jobs are %+v, %v", jobs, err)
	}
	// And again, with the next boot.
	d.kill()
	w.machineRestarts()
	d = w.boot()
	if jobs, err = d.LiveJobs(t.Context()); err != nil || len(jobs) != 1 || jobs[0].Attempt != 3 {
		t.Errorf("the live jobs are %+v, %v", jobs, err)
	}
}

// What ended while no daemon looked, before the machine went down, did not die
// with it.
func TestAProcessThatHadEndedIsNotQueuedAgain(t *testing.T) {
	w := newWorld(t)
	d := w.boot()
	process := d.running(d.submit("process", "/bin/daemon", "is_process", true))
	d.kill()
	m := w.elsewhere()
	w.pid1.Crash(process.Unit, "success")
	w.down(m, process.Unit)
	journal := w.past
	w.machineRestarts()
	w.past = journal
	d = w.boot()
	if j, err := d.Job(t.Context(), process.ID); err != nil || j.Phase != units.PhaseSucceeded {
		t.Errorf("its job is %+v, %v", j, err)
	}
	if live := d.live(); live != nil {
		t.Errorf("live are %q", live)
	}
}
