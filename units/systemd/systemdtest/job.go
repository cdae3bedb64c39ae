package systemdtest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/godbus/dbus/v5"
)

const (
	startJob   = "start"
	stopJob    = "stop"
	restartJob = "restart"
	// tryRestartJob is a restartJob of a unit that is up, else a nopJob.
	tryRestartJob = "try-restart"
	nopJob        = "nop"
)

type job struct {
	id      uint32
	unit    *unit
	kind    string
	running bool
}

func (j *job) path() dbus.ObjectPath {
	return dbus.ObjectPath(fmt.Sprintf("%s/job/%d", managerPath, j.id))
}

// transaction is what one call queues: for each unit the kind of its job.
type transaction map[*unit]string

// queue makes the jobs of a call, all or none.
func (s *Systemd) queue(u *unit, kind, mode string) (*job, *dbus.Error) {
	tx := make(transaction)
	if kind == tryRestartJob {
		if kind = restartJob; u.idle() {
			kind = nopJob
		}
	}
	if err := s.pull(tx, u, kind); err != nil {
		return nil, err
	}
	tx.dropCycles(u)
	for other, kind := range tx {
		if mode == "fail" && other.job != nil && other.job.kind != kind {
			return nil, failed(systemdName+".TransactionIsDestructive",
				fmt.Sprintf("Transaction for %s/%s is destructive (%s has '%s' job queued).", u.name, kind, other.name, other.job.kind))
		}
	}
	for _, other := range slices.SortedFunc(maps.Keys(tx), byName) {
		if other.job != nil && other.job.kind == tx[other] {
			continue // both wait for the one job
		}
		if other.job != nil && other.job.kind == startJob && tx[other] == restartJob {
			other.job.kind, other.job.running = restartJob, false // they become one
			continue
		}
		if other.job != nil {
			s.end(other, "canceled")
		}
		s.lastJob++
		other.job = &job{id: s.lastJob, unit: other, kind: tx[other]}
		s.jobs[s.lastJob] = other.job
		s.emit(managerPath, managerName+".JobNew", other.job.id, other.job.path(), other.name)
	}
	return u.job, nil
}

// pull adds a job, and those that its dependencies ask for.
func (s *Systemd) pull(tx transaction, u *unit, kind string) *dbus.Error {
	if before, ok := tx[u]; ok {
		if before != kind {
			return failed(systemdName+".TransactionJobsConflicting", "Transaction contains conflicting jobs for "+u.name)
		}
		return nil
	}
	if kind != stopJob && u.load != "loaded" {
		return failed(systemdName+".NoSuchUnit", "Unit "+u.name+" not found.")
	}
	tx[u] = kind
	if kind == nopJob {
		return nil
	}
	if kind != stopJob {
		for _, name := range get[[]string](u, "Requires") {
			if other := s.units[name]; other.load != "loaded" || other.idle() || other.sub == "auto-restart" {
				if err := s.pull(tx, other, startJob); err != nil {
					return err
				}
			}
		}
		for _, name := range get[[]string](u, "Wants") {
			if other := s.units[name]; other.idle() {
				attempt := maps.Clone(tx)
				if s.pull(attempt, other, startJob) == nil {
					maps.Copy(tx, attempt)
				}
			}
		}
		for _, other := range s.units {
			if (u.needs(other, "Conflicts") || other.needs(u, "Conflicts")) && (!other.idle() || other.job != nil) {
				if err := s.pull(tx, other, stopJob); err != nil {
					return err
				}
			}
		}
	}
	if kind != startJob {
		for _, other := range s.units {
			if other.needs(u, "Requires", "PartOf") && (!other.idle() || other.job != nil) {
				if err := s.pull(tx, other, kind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// dropCycles leaves out the units that are ordered after themselves, as
// systemd silently does.
func (tx transaction) dropCycles(anchor *unit) {
	cyclic := maps.Clone(tx)
	for n := -1; n != len(cyclic); {
		n = len(cyclic)
		maps.DeleteFunc(cyclic, func(u *unit, _ string) bool {
			before, after := false, false
			for other := range cyclic {
				before = before || other.isAfter(u)
				after = after || u.isAfter(other)
			}
			return !before || !after
		})
	}
	for u := range cyclic {
		if u != anchor {
			delete(tx, u)
		}
	}
}

// schedule runs every job that need not wait for another one.
func (s *Systemd) schedule() {
	for j := s.next(); j != nil; j = s.next() {
		j.running = true
		switch u := j.unit; {
		case j.kind == nopJob:
			s.finish(u, "done")
		case j.kind == stopJob:
			s.halt(u, stopJob)
			s.finish(u, "done")
		case j.kind == restartJob:
			s.halt(u, restartJob)
			j.kind = startJob
			s.begin(u)
		case u.active == "active":
			s.finish(u, "done")
		case u.sub == "auto-restart": // whose delay it waits for
		default:
			s.begin(u)
		}
	}
}

// next is the oldest job that can run.
func (s *Systemd) next() *job {
	var oldest *job
	for _, j := range s.jobs {
		if !j.running && (oldest == nil || j.id < oldest.id) && !s.waits(j) {
			oldest = j
		}
	}
	return oldest
}

// waits says that a job has to wait: a unit starts after those that it is
// After=, and stops before them; of a stop and a start, the stop comes first.
func (s *Systemd) waits(j *job) bool {
	for _, other := range s.jobs {
		switch {
		case j.kind != stopJob && j.unit.isAfter(other.unit):
			return true
		case other.kind == stopJob && other.unit.isAfter(j.unit):
			return true
		case j.kind != stopJob && other.kind == stopJob && (j.unit.needs(other.unit, "Conflicts") || other.unit.needs(j.unit, "Conflicts")):
			return true
		}
	}
	return false
}

// finish ends a unit's job. A start that failed takes with it those that are
// queued and require it.
func (s *Systemd) finish(u *unit, result string) {
	if u.job == nil {
		return
	}
	kind := u.job.kind
	s.end(u, result)
	if kind == startJob && result != "done" {
		for _, j := range slices.SortedFunc(maps.Values(s.jobs), byID) {
			if !j.running && j.kind != stopJob && j.unit.job == j && j.unit.needs(u, "Requires") {
				j.kind = startJob
				s.finish(j.unit, "dependency")
			}
		}
	}
}

// end removes a unit's job.
func (s *Systemd) end(u *unit, result string) {
	j := u.job
	u.job = nil
	delete(s.jobs, j.id)
	s.emit(managerPath, managerName+".JobRemoved", j.id, j.path(), u.name, result)
}

func byName(a, b *unit) int {
	if a.name < b.name {
		return -1
	}
	return 1
}

func byID(a, b *job) int { return int(a.id) - int(b.id) }
