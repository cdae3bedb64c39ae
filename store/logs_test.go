package store

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestLogEntryComesBackAsItWas(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	want := units.Event{
		Time: time.Date(2026, 3, 4, 5, 6, 7, 891011000, time.UTC), Source: units.SourceHeroDB, Code: units.EventStartFailed, Level: units.LevelError,
		Service: units.ID{Context: "core", Name: "hero_db"}, Message: `it's "broken"; DROP TABLE logs; --`, Remedy: "a\nb\x00c", Unit: "u", Result: "exit-code",
	}
	if err := s.appendLogs(t.Context(), []units.Event{want}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Logs(t.Context(), units.LogFilter{}); err != nil || !reflect.DeepEqual(got, []units.LogEntry{{ID: 1, Event: want}}) {
		t.Errorf("logs are %+v, %v", got, err)
	}
}

func TestLogFilter(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	at := func(second int) time.Time { return time.Unix(1_700_000_000+int64(second), 0) }
	event := func(second int, source string, level units.Level, context string) units.Event {
		name := ""
		if context != "" {
			name = fmt.Sprintf("%s%d", context, second%2)
		}
		return units.Event{Time: at(second), Source: source, Level: level, Service: units.ID{Context: context, Name: name}}
	}
	// The IDs are 1 to 9; the times are not in their order.
	err := s.appendLogs(t.Context(), []units.Event{
		event(1, "hero_proc", units.LevelInfo, ""),
		event(2, "hero_proc.store", units.LevelError, ""),
		event(3, "hero_procx", units.LevelError, "core"),
		event(4, "hero_proc.store.sub", units.LevelWarning, "core"),
		event(6, "heroXproc", units.LevelInfo, "other"),
		event(5, "100%.a", units.LevelError, "core"),
		event(7, "HERO_PROC", units.LevelInfo, "other"),
		event(7, "x.hero_proc.store", units.LevelInfo, "corex"),
		{Time: at(8), Source: "y", Level: units.LevelInfo, Service: units.ID{Context: "lab", Name: "db"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	all := []int64{1, 2, 3, 4, 6, 5, 7, 8, 9}
	for _, c := range []struct {
		name   string
		filter units.LogFilter
		want   []int64
	}{
		{"everything, by time", units.LogFilter{}, all},
		{"source and what is below it", units.LogFilter{Source: "hero_proc"}, []int64{1, 2, 4}},
		{"source further down", units.LogFilter{Source: "hero_proc.store"}, []int64{2, 4}},
		{"half a component", units.LogFilter{Source: "hero"}, nil},
		{"a dot at the end", units.LogFilter{Source: "hero_proc."}, nil},
		{"a percent sign is one", units.LogFilter{Source: "100%"}, []int64{6}},
		{"a percent sign alone", units.LogFilter{Source: "%"}, nil},
		{"a star", units.LogFilter{Source: "*"}, nil},
		{"an injection", units.LogFilter{Source: "x' OR '1'='1"}, nil},
		{"errors", units.LogFilter{Level: units.LevelError}, []int64{2, 3, 6}},
		{"warnings and worse", units.LogFilter{Level: units.LevelWarning}, []int64{2, 3, 4, 6}},
		{"info and worse", units.LogFilter{Level: units.LevelInfo}, all},
		{"warnings alone", units.LogFilter{Level: units.LevelWarning, Exact: true}, []int64{4}},
		{"info alone", units.LogFilter{Level: units.LevelInfo, Exact: true}, []int64{1, 5, 7, 8, 9}},
		{"exactly nothing said", units.LogFilter{Exact: true}, all},
		{"half a level", units.LogFilter{Level: "err"}, nil},
		{"several levels", units.LogFilter{Level: "error//info"}, nil},
		{"a service", units.LogFilter{Service: "core1"}, []int64{3, 6}},
		{"half a service", units.LogFilter{Service: "core"}, nil},
		{"a service of another context", units.LogFilter{Context: "other", Service: "core1"}, nil},
		{"a level that is none", units.LogFilter{Level: "' OR 1 --"}, nil},
		{"context", units.LogFilter{Context: "core"}, []int64{3, 4, 6}},
		{"service", units.LogFilter{Service: "db"}, []int64{9}},
		{"service of another context", units.LogFilter{Service: "db", Context: "core"}, nil},
		{"since is inclusive", units.LogFilter{Since: at(5)}, []int64{6, 5, 7, 8, 9}},
		{"until is inclusive", units.LogFilter{Until: at(5)}, []int64{1, 2, 3, 4, 6}},
		{"since and until", units.LogFilter{Since: at(2), Until: at(2)}, []int64{2}},
		{"since after until", units.LogFilter{Since: at(3), Until: at(2)}, nil},
		{"limit is of the newest", units.LogFilter{Limit: 3}, []int64{7, 8, 9}},
		{"limit more than there is", units.LogFilter{Limit: 100}, all},
		{"limit below nothing", units.LogFilter{Limit: -1}, all},
		{"all of it", units.LogFilter{Source: "hero_proc", Level: units.LevelWarning, Context: "core", Since: at(1), Until: at(9), Limit: 9}, []int64{4}},
		{"all but one match", units.LogFilter{Source: "hero_proc", Level: units.LevelWarning, Context: "other"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entries, err := s.Logs(t.Context(), c.filter)
			var got []int64
			for _, e := range entries {
				got = append(got, e.ID)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("entries are %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestLogLimits(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	events := make([]units.Event, units.MaxLogLimit+1)
	for i := range events {
		events[i] = units.Event{Time: time.Unix(int64(i), 0), Level: units.LevelInfo, Message: fmt.Sprint(i)}
	}
	if err := s.appendLogs(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]int{0: units.DefaultLogLimit, units.MaxLogLimit: units.MaxLogLimit, 1 << 40: units.MaxLogLimit} {
		got, err := s.Logs(t.Context(), units.LogFilter{Limit: limit})
		if err != nil || len(got) != want || got[want-1].Message != fmt.Sprint(units.MaxLogLimit) {
			t.Errorf("limit %d: %d entries, %v; want the newest %d", limit, len(got), err, want)
		}
	}
}

// What a filter selects for reading is what it prunes: no more, no less.
func TestPruneLogsDeletesWhatItSelects(t *testing.T) {
	t.Parallel()
	at := func(second int) time.Time { return time.Unix(1_700_000_000+int64(second), 0) }
	for _, c := range []struct {
		name   string
		filter units.LogFilter
		left   []int64
	}{
		{"everything", units.LogFilter{}, nil},
		{"everything, whatever the limit", units.LogFilter{Limit: 1}, nil},
		{"older than", units.LogFilter{Until: at(2)}, []int64{3, 4}},
		{"older than the first", units.LogFilter{Until: at(0)}, []int64{1, 2, 3, 4}},
		{"a source and what is below it", units.LogFilter{Source: "hero_proc.store"}, []int64{1, 4}},
		{"a level and worse", units.LogFilter{Level: units.LevelWarning}, []int64{1}},
		{"a level alone", units.LogFilter{Level: units.LevelWarning, Exact: true}, []int64{1, 2, 4}},
		{"a service", units.LogFilter{Service: "web"}, []int64{1, 3, 4}},
		{"a service, older than", units.LogFilter{Service: "web", Until: at(1)}, []int64{1, 2, 3, 4}},
		{"all of it", units.LogFilter{Source: "hero_proc", Level: units.LevelError, Context: "core", Service: "web", Since: at(2), Until: at(2)}, []int64{1, 3, 4}},
		{"all but one match", units.LogFilter{Source: "hero_proc", Level: units.LevelError, Context: "core", Service: "web", Since: at(3)}, []int64{1, 2, 3, 4}},
		{"a context, older than", units.LogFilter{Context: "core", Until: at(3)}, []int64{1, 4}},
		{"an injection", units.LogFilter{Source: "x' OR '1'='1"}, []int64{1, 2, 3, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			core := units.ID{Context: "core"}
			err := s.appendLogs(t.Context(), []units.Event{
				{Time: at(1), Source: "hero_proc", Level: units.LevelInfo},
				{Time: at(2), Source: "hero_proc.store", Level: units.LevelError, Service: units.ID{Context: "core", Name: "web"}},
				{Time: at(3), Source: "hero_proc.store.sub", Level: units.LevelWarning, Service: core},
				{Time: at(4), Source: "other", Level: units.LevelError, Service: core},
			})
			if err != nil {
				t.Fatal(err)
			}
			pruned, err := s.PruneLogs(t.Context(), c.filter)
			if err != nil || pruned != int64(4-len(c.left)) {
				t.Errorf("pruned %d, %v; want %d", pruned, err, 4-len(c.left))
			}
			entries, err := s.Logs(t.Context(), units.LogFilter{})
			var left []int64
			for _, e := range entries {
				left = append(left, e.ID)
			}
			if err != nil || !slices.Equal(left, c.left) {
				t.Errorf("left are %v, %v; want %v", left, err, c.left)
			}
		})
	}
}
