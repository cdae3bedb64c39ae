package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// room is a store of which nothing is asked but whether it has room, and a
// place for what is reported.
type room struct {
	Store
	Journal
	LogQueue
	written int
	err     error
	told    []units.Event
}

func (r *room) Room(context.Context) (int, error) { return r.written, r.err }
func (r *room) Send(e units.Event) error          { r.told = append(r.told, e); return nil }
func (r *room) Append(units.Event)                {}

// A disk that is full is told of once, and so is the end of it.
func TestFullDiskIsToldOnce(t *testing.T) {
	t.Parallel()
	full := units.Errorf(units.CodeStoreFull, "the disk is full").WithRemedy("free some space")
	r := &room{}
	s := New(Options{Store: r, Journal: r, Queue: r, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	is := false
	for i, step := range []struct {
		err     error
		written int
		full    bool
		tells   units.EventCode // "" is nothing
		says    string
	}{
		{nil, 0, false, "", ""},
		{errors.New("interrupted"), 0, false, "", ""},
		{full, 0, true, units.EventStoreFull, "the disk is full"},
		{full, 0, true, "", ""},
		{errors.New("interrupted"), 0, true, "", ""},
		{nil, 7, false, units.EventStoreRoom, "7 jobs"},
		{nil, 0, false, "", ""},
		{full, 0, true, units.EventStoreFull, "the disk is full"},
		{nil, 0, false, units.EventStoreRoom, "can be changed"},
	} {
		r.err, r.written, r.told = step.err, step.written, nil
		if is = s.lookForRoom(t.Context(), is); is != step.full {
			t.Errorf("step %d: full is %v", i, is)
		}
		switch {
		case step.tells == "" && len(r.told) > 0, step.tells != "" && len(r.told) != 1:
			t.Errorf("step %d: told %+v", i, r.told)
		case step.tells != "":
			e := r.told[0]
			if e.Code != step.tells || !strings.Contains(e.Message, step.says) || (e.Code == units.EventStoreFull) != (e.Remedy == "free some space") {
				t.Errorf("step %d: told %+v", i, e)
			}
		}
	}
}

// kept is a store of which nothing is asked but what keepStore does with it at
// first.
type kept struct {
	room
	mend           bool
	damage, backup error
	backups        int
	bounded        chan struct{}
}

func (k *kept) Check(context.Context) (bool, error) { return k.mend, k.damage }
func (k *kept) BackUpInTime(context.Context) error  { k.backups++; return k.backup }
func (k *kept) Retain(context.Context, func(units.Past) bool) (units.Retained, error) {
	close(k.bounded)
	return units.Retained{}, nil
}

// What is wrong with the store is told, and no reason to leave it alone; damage
// that the next start mends ends the supervisor.
func TestStoreIsLookedAtFirst(t *testing.T) {
	t.Parallel()
	failed := func(text string) error { return units.Errorf(units.CodeStoreFailed, "%s", text) }
	for _, c := range []struct {
		name string
		k    kept
		ends bool
		told []string
	}{
		{"sound", kept{}, false, nil},
		{"damaged", kept{mend: true, damage: failed("damaged")}, true, nil},
		{"can't be looked at", kept{damage: failed("a bad sector")}, false, []string{"a bad sector"}},
		{"can't be backed up", kept{backup: failed("no backup")}, false, []string{"no backup"}},
		{"both", kept{damage: failed("a bad sector"), backup: failed("no backup")}, false, []string{"a bad sector", "no backup"}},
		{"full, which is told", kept{room: room{err: units.Errorf(units.CodeStoreFull, "full")}, backup: failed("no backup")}, false, []string{"full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k := &c.k
			k.bounded = make(chan struct{})
			s := New(Options{Store: k, Journal: k, Queue: k, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
			s.graph.Store(plan.NewGraph(nil))
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.keepStore()
			}()
			if c.ends {
				<-done
				if err := <-s.damaged; !errors.Is(err, k.damage) || k.backups > 0 {
					t.Errorf("it ends with %v, after %d backups", err, k.backups)
				}
			} else {
				<-k.bounded
				s.end()
				<-done
				if len(s.damaged) > 0 || k.backups != 1 {
					t.Errorf("it ends with %v, after %d backups", <-s.damaged, k.backups)
				}
			}
			var told []string
			for _, e := range k.told {
				if e.Source != units.SourceStore || e.Level != units.LevelError || e.Code == units.EventBootStepFailed && !strings.Contains(e.Remedy, "df -h") {
					t.Errorf("told %+v", e)
				}
				told = append(told, e.Message)
			}
			if !slices.Equal(told, c.told) {
				t.Errorf("told %q, want %q", told, c.told)
			}
		})
	}
}
