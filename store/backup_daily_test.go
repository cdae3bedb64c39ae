package store

import (
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestKeepBackups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, times, want string }{
		{"none", "", ""},
		{"few", "3T09 3T08", "++"},
		{"one day", "3T09 3T08 3T07 3T06 3T05", "+++--"},
		{"the last of each day", "9T09 9T08 9T07 9T06 8T23 8T01 7T00 3T09 2T09 1T00", "+++-+-++--"},
		{"daily", "9T00 8T00 7T00 6T00 5T00 4T00", "++++--"},
	} {
		var all []backup
		for _, at := range strings.Fields(c.times) {
			when, err := time.Parse("2006-01-2T15", "2026-01-"+at)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, backup{time: when})
		}
		var got strings.Builder
		for _, keep := range keepBackups(all) {
			got.WriteByte(map[bool]byte{true: '+', false: '-'}[keep])
		}
		if got.String() != c.want {
			t.Errorf("%s: of %s are kept %s, want %s", c.name, c.times, got.String(), c.want)
		}
	}
}

func TestBackupOfHistoryIsDaily(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	s, _ := openWith(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	for _, step := range []struct {
		name   string
		after  time.Duration
		do     func()
		backup int
	}{
		{"nothing", 48 * time.Hour, func() {}, 0},
		{"a job", 0, func() { save(t, s, job("u", "a", units.PhaseRunning)) }, 1},
		{"unchanged for days", 48 * time.Hour, func() {}, 1},
		{"another job", 0, func() { save(t, s, job("u", "b", units.PhaseRunning)) }, 2},
		{"one more at once", 0, func() { save(t, s, job("u", "c", units.PhaseRunning)) }, 2},
		{"in less than a day", 23 * time.Hour, func() {}, 2},
		{"in a day", time.Hour, func() {}, 3},
		{"one ends", 24 * time.Hour, func() {
			ended, err := s.Job(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			ended.Phase = units.PhaseFailed
			save(t, s, &ended)
		}, 4},
	} {
		now = now.Add(step.after)
		step.do()
		if err := s.BackUpIfChanged(t.Context()); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := list(t, s.backupDir(), "*"); len(got) != step.backup {
			t.Errorf("%s: backups are %q, want %d", step.name, got, step.backup)
		}
	}
}

// A loop that asks again and again costs nothing while nothing is written.
func TestBackupInTimeLooksAtWhatWasWritten(t *testing.T) {
	t.Parallel()
	s, _ := openWith(t, t.TempDir(), Options{})
	for _, step := range []struct {
		name  string
		do    func()
		looks bool
	}{
		{"at first", func() {}, true},
		{"nothing was written", func() {}, false},
		{"history was", func() { save(t, s, job("u", "a", units.PhaseRunning)) }, true},
		{"nothing again", func() {}, false},
		{"for an hour", func() { s.comparedAt = s.comparedAt.Add(-compareEvery) }, true},
		{"a backup was dear", func() {
			save(t, s, job("u", "b", units.PhaseRunning))
			s.backedUp, s.took = time.Now(), time.Hour
		}, false},
		{"which is long ago", func() {}, true},
	} {
		s.took = 0
		step.do()
		before := s.comparedAt
		if err := s.BackUpInTime(t.Context()); err != nil {
			t.Fatal(err)
		}
		if looked := s.comparedAt != before; looked != step.looks {
			t.Errorf("%s: it compared the store with its backup: %t", step.name, looked)
		}
	}
}
