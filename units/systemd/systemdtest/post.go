package systemdtest

import (
	"path"
	"strconv"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// post runs ExecStartPost=: true, false and sleep do what they do, as does the
// prober when it is to execute one of them. Any other probe has its answer
// from the test: [Systemd.Ready], [Systemd.Unready].
func (s *Systemd) post(u *unit) {
	argv := u.argv("ExecStartPost")
	s.set(u, "activating", "start-post")
	s.later(u, u.microseconds("TimeoutStartUSec", 90*time.Second), func() {
		if u.sub == "start-post" {
			s.posted(u, "timeout")
		}
	})
	probed := argv[0] == transient.Prober
	if probed {
		p, err := units.ParseProbe(argv[len(argv)-1])
		if err != nil {
			s.t.Errorf("the prober of %s can't work: %v", u.name, err)
		}
		argv = p.Command
	}
	if len(argv) == 0 {
		return
	}
	switch path.Base(argv[0]) {
	case "true":
		s.posted(u, "success")
	case "false":
		if probed {
			u.said = units.NotReady + "exec:false: exit status 1"
		}
		s.posted(u, "exit-code")
	case "sleep":
		seconds, err := strconv.ParseFloat(argv[len(argv)-1], 64)
		if err != nil {
			s.t.Errorf("ExecStartPost= of %s can't work: %v", u.name, err)
		}
		s.later(u, time.Duration(seconds*float64(time.Second)), func() {
			if u.sub == "start-post" {
				s.posted(u, "success")
			}
		})
	default:
		s.t.Errorf("ExecStartPost= of %s is %q; want the prober, true, false or sleep", u.name, argv)
	}
}

// probes is what the prober, as a unit of its own, executes, and what it says of
// that: it can be asked about true and false here, and about nothing else.
func (s *Systemd) probes(u *unit, argv []string) []string {
	p, err := units.ParseProbe(argv[len(argv)-1])
	if err != nil || p.Kind != units.ProbeExec {
		s.t.Errorf("the prober of %s can't work with %q: %v", u.name, argv, err)
		return argv
	}
	if path.Base(p.Command[0]) == "false" {
		u.said = units.NotReady + "exit status 1"
	}
	return p.Command
}

// posted is the end of ExecStartPost=. If it failed, the process is ended.
func (s *Systemd) posted(u *unit, result string) {
	if result == "success" && u.pid != 0 {
		s.set(u, "active", "running")
		s.write(u, units.EntryStarted, jobType(startJob))
		s.finish(u, "done")
		return
	}
	if u.pid != 0 {
		u.pid, u.code, u.status, u.exitedAt = 0, killed, 15, time.Now()
	}
	if u.result == "success" {
		u.result = result
	}
	s.settle(u, true)
}

// Unready lets the probe of a unit that is starting give up, and say why.
func (s *Systemd) Unready(name, says string) {
	s.t.Helper()
	s.withProcess(name, func(u *unit) {
		u.said = units.NotReady + says
		s.posted(u, "exit-code")
	})
}

// Say sets what the unit's program, or its prober, says of itself: STATUS= of
// sd_notify(3).
func (s *Systemd) Say(name, status string) {
	s.t.Helper()
	s.withProcess(name, func(u *unit) { u.said = status })
}
