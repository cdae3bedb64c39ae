package units

import (
	"regexp"
	"testing"
)

func TestEventsAreTotalAndUnique(t *testing.T) {
	t.Parallel()
	id128 := regexp.MustCompile(`^[0-9a-f]{32}$`)
	codes, ids := map[EventCode]bool{}, map[string]bool{}
	for _, i := range Events {
		if codes[i.Code] || ids[i.MessageID] {
			t.Errorf("%s or %s is there twice", i.Code, i.MessageID)
		}
		codes[i.Code], ids[i.MessageID] = true, true
		if !id128.MatchString(i.MessageID) {
			t.Errorf("%s: %q is no message ID", i.Code, i.MessageID)
		}
		if got, ok := i.Code.Info(); !ok || got != i {
			t.Errorf("%s.Info() is %+v, %t", i.Code, got, ok)
		}
	}
	declared := constants(t, "events.go", "EventCode")
	for _, c := range declared {
		if !codes[EventCode(c)] {
			t.Errorf("%s has no row", c)
		}
	}
	if len(declared) != len(Events) {
		t.Errorf("%d codes and %d rows", len(declared), len(Events))
	}
	if _, ok := EventCode("none").Info(); ok {
		t.Error("an unknown code has a row")
	}
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	for level, want := range map[Level]int{LevelError: 3, LevelWarning: 4, LevelInfo: 6, "": 6} {
		if got := level.Priority(); got != want {
			t.Errorf("%q has priority %d, want %d", level, got, want)
		}
	}
}
