package systemdtest

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Entries are what PID 1 would have written in the journal since a time:
// [forge.ourworld.tf/lhumina_code/hero_proc/units/journal.Reader] has the same.
func (s *Systemd) Entries(ctx context.Context, since time.Time, wanted func(unit string) bool) ([]units.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []units.Entry
	for _, e := range s.journal {
		if !e.Time.Before(since) && wanted(e.Unit) {
			all = append(all, e)
		}
	}
	return all, ctx.Err()
}

// Forget is a journal that was not kept.
func (s *Systemd) Forget() {
	s.do(func() { s.journal = nil })
}

// write puts an entry about a unit in the journal. It is about the unit's
// last activation, also when that is over.
func (s *Systemd) write(u *unit, kind units.EntryKind, more ...func(*units.Entry)) {
	if u.isSlice() || u.invocation == [16]byte{} {
		return
	}
	e := units.Entry{Kind: kind, Unit: u.name, InvocationID: hex.EncodeToString(u.invocation[:]), Boot: "b", Time: time.Now()}
	for _, set := range more {
		set(&e)
	}
	s.journal = append(s.journal, e)
}

// writeExit tells of the end of the main process, if it did not end well. A
// SIGTERM counts as well.
func (s *Systemd) writeExit(u *unit) {
	if u.code == exited && u.status != 0 || slices.Contains([]int32{killed, dumped}, u.code) && u.status != 15 {
		s.write(u, units.EntryExited, func(e *units.Entry) {
			e.Command, e.ExitCode, e.ExitStatus = "ExecStart", u.code, u.status
		})
	}
}

// judge tells of the end of an activation.
func (s *Systemd) judge(u *unit) {
	if u.result == "success" {
		s.write(u, units.EntryDeactivated)
	} else {
		s.write(u, units.EntryFailed, func(e *units.Entry) { e.Result = u.result })
	}
}

func jobType(kind string) func(*units.Entry) {
	return func(e *units.Entry) { e.Job = kind }
}
