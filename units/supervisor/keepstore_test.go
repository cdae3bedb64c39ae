package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
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
