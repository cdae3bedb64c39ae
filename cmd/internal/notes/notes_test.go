package notes

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestNotes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "notes")
	const unit = "hero-core-web@page.service"
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if names, err := Units(dir); err != nil || names != nil {
		t.Errorf("where there are none: %v, %v", names, err)
	}
	older := units.Event{Code: units.EventPortTaken, Message: "older", Time: at}
	newer := []units.Event{
		{Code: units.EventHolderEnded, Message: "ended", Remedy: "look", Time: at},
		{Code: "of-another-version", Message: "?", Time: at},
	}
	for _, events := range [][]units.Event{{older}, newer} {
		if err := Write(dir, unit, events); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := Units(dir); err != nil || !reflect.DeepEqual(names, []string{unit}) {
		t.Errorf("there are notes for %v, %v", names, err)
	}
	want := []units.Event{{
		Time: at, Source: units.SourcePrepare, Code: units.EventHolderEnded, Level: units.LevelWarning,
		Service: units.ID{Context: "core", Name: "web"}, Message: "ended", Remedy: "look", Unit: unit,
	}}
	if got, err := Take(dir, unit); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("took %+v, %v; want %+v", got, err, want)
	}
	if got, err := Take(dir, unit); err != nil || got != nil {
		t.Errorf("and again %+v, %v", got, err)
	}
}

// What can't be a note is said once, and is gone.
func TestWhatIsNoNote(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const unit = "hero-core-web.service"
	for name, data := range map[string][]byte{"no JSON": []byte("{"), "too large": make([]byte, maxSize+1)} {
		if err := os.WriteFile(filepath.Join(dir, unit+suffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Take(dir, unit); err == nil || got != nil {
			t.Errorf("%s: took %v, %v", name, got, err)
		}
		if names, err := Units(dir); err != nil || names != nil {
			t.Errorf("%s: it is still there: %v, %v", name, names, err)
		}
	}
	if got, err := Take(dir, "../x.service"); err != nil || got != nil {
		t.Errorf("outside: %v, %v", got, err)
	}
}
