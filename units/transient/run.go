package transient

import (
	"strconv"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// FD is a file descriptor as the value of a property, of type h.
type FD int

// Run turns an ad-hoc run into its unit; streams are its standard input,
// output and error, nil for /dev/null and the journal.
//
// It comes before hero_proc in the order of systemd, and so is stopped after
// it: what a shutdown of the machine ends, nobody takes for canceled.
func Run(r units.AdHoc, run int64, streams *units.Streams, systemd int) Unit {
	a := r.Action
	ps := properties{
		// Keeps the unit loaded until its end was written down.
		{"AddRef", true},
		{"Description", r.String() + ", run " + strconv.FormatInt(run, 10)},
		{"Slice", units.SliceOf(r.Context)},
		{"Before", []string{runsTarget}},
	}
	ps.execution(a, systemd)
	// Executed is started, also for what is meant to end: whoever waits waits
	// for that end.
	alike := a
	alike.Process, alike.Ready, alike.Restart = true, units.ReadyExec, a.RestartPolicy()
	if !a.Process {
		// As for an action that runs to its end: it is the time for all of it.
		ps.duration("RuntimeMaxUSec", a.TimeoutStart)
		alike.TimeoutStart = 0
	}
	ps.lifecycle(r.RunUnit(run), alike, systemd)
	ps.limits(a)
	ps.logRate(a)
	ps.add("LogExtraFields", [][]byte{
		[]byte("HERO_CONTEXT=" + r.Context),
		[]byte("HERO_SERVICE=" + r.Name),
		[]byte("HERO_ACTION=" + a.Name),
		[]byte("HERO_RUN=" + strconv.FormatInt(run, 10)),
	})
	if streams != nil {
		for i, name := range []string{"StandardInput", "StandardOutput", "StandardError"} {
			ps.add(name+"FileDescriptor", FD(streams[i]))
		}
	}
	return Unit{r.RunUnit(run), ps}
}

// runsTarget is between hero_proc and the runs, so that a shutdown stops
// hero_proc first. It is a target, which is up for good, because no start of
// hero_proc may have to wait for a run that is slow to stop.
const runsTarget = "hero_proc-runs.target"
