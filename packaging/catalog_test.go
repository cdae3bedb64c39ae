package packaging_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// entry is one of a message catalog: https://systemd.io/CATALOG.
type entry struct {
	headers map[string]string
	body    string
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func readCatalog(t *testing.T) map[string]entry {
	t.Helper()
	entries := map[string]entry{}
	for _, text := range strings.Split("\n"+read(t, "catalog/hero_proc.catalog"), "\n-- ")[1:] {
		id, text, _ := strings.Cut(text, "\n")
		head, body, _ := strings.Cut(text, "\n\n")
		if _, double := entries[id]; double {
			t.Errorf("catalog: %s is there twice", id)
		}
		e := entry{headers: map[string]string{}, body: body}
		for line := range strings.Lines(head) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			e.headers[key] = value
		}
		entries[id] = e
	}
	return entries
}

// Every event is explained, and nothing else is.
func TestCatalogIsTheEventTable(t *testing.T) {
	t.Parallel()
	catalog := readCatalog(t)
	for _, event := range units.Events {
		e, ok := catalog[event.MessageID]
		if !ok {
			t.Errorf("event %s (%s) has no entry", event.Code, event.MessageID)
			continue
		}
		delete(catalog, event.MessageID)
		for key, want := range map[string]string{"Subject": "", "Defined-By": "hero_proc", "Support": "https://", "Documentation": "man:hero_proc"} {
			if got := e.headers[key]; got == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q, want %q", event.Code, key, got, want)
			}
		}
		if strings.TrimSpace(e.body) == "" {
			t.Errorf("%s: nothing is explained", event.Code)
		}
		if event.Level == units.LevelError && !strings.HasSuffix(strings.TrimSpace(e.body), "\n\n@HERO_REMEDIATION@") {
			t.Errorf("%s: is an error, and doesn't end in what mends it", event.Code)
		}
	}
	for id := range catalog {
		t.Errorf("entry %s is that of no event", id)
	}
}

// journalctl prints the bare name of a field that an entry lacks, so only
// those may be used that the event always has. HERO_RESULT is never sure.
func TestCatalogFields(t *testing.T) {
	t.Parallel()
	every := []string{"HERO_SOURCE", "HERO_ERROR_CODE", "HERO_REMEDIATION"}
	service := append(slices.Clone(every), "HERO_CONTEXT", "HERO_SERVICE")
	unit := append(slices.Clone(service), "HERO_UNIT")
	less := map[units.EventCode][]string{
		units.EventNotRegistered:  service,
		units.EventNotStartIntent: service,
		units.EventStoreRestored:  every,
		units.EventStoreReset:     every,
		units.EventBootStepFailed: every,
		units.EventBusLost:        every,
		units.EventBusBack:        every,
	}
	field := regexp.MustCompile(`@([A-Z_]+)@`)
	catalog := readCatalog(t)
	for _, event := range units.Events {
		may, ok := less[event.Code]
		if !ok {
			may = unit
		}
		e := catalog[event.MessageID]
		for _, m := range field.FindAllStringSubmatch(e.headers["Subject"]+e.body, -1) {
			if !slices.Contains(may, m[1]) {
				t.Errorf("%s: uses @%s@, which its entries may lack", event.Code, m[1])
			}
		}
	}
}
