package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/store/migrate"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// clock is one that goes on by a second each time it is looked at.
func clock() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

// next is the schema of a hero_proc one version newer than this one.
var next = append(migrate.Updates[:len(migrate.Updates):len(migrate.Updates)],
	migrate.Script(`ALTER TABLE services ADD COLUMN note TEXT NOT NULL DEFAULT ''`))

func openWith(t *testing.T, dir string, opts Options) (*Store, []units.Event) {
	t.Helper()
	if opts.Now == nil {
		opts.Now = clock()
	}
	s, events, err := Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s, events
}

// open opens a store of which there is nothing to tell.
func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, events := openWith(t, dir, Options{})
	if len(events) > 0 {
		t.Fatalf("events of an undamaged store: %+v", events)
	}
	return s
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func define(name string) units.Service {
	a := units.NewAction("main")
	a.Exec = []string{"/usr/bin/" + name, "--flag"}
	return units.Service{ID: units.ID{Context: "core", Name: name}, Wanted: units.WantedStart, Actions: []units.Action{a}}
}

func put(t *testing.T, s *Store, service units.Service) {
	t.Helper()
	if _, err := s.UpdateService(t.Context(), service.ID, func(*units.Service) (units.Service, error) { return service, nil }); err != nil {
		t.Fatalf("UpdateService: %v", err)
	}
}

func backUp(t *testing.T, s *Store) (path string) {
	t.Helper()
	path, err := s.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// unreadable has a file that can't be read, by root either, in the place of path.
func unreadable(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
}

// fill puts services until the file has many pages.
func fill(t *testing.T, s *Store) {
	t.Helper()
	for i := range 40 {
		service := define(fmt.Sprintf("service%d", i))
		service.Description = strings.Repeat("x", 200)
		service.Actions[0].Env = map[string]string{"FILLER": strings.Repeat("y", 2000)}
		put(t, s, service)
	}
}

func names(t *testing.T, s *Store) []string {
	t.Helper()
	all, err := s.Services(t.Context())
	if err != nil {
		t.Fatalf("Services: %v", err)
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Service.Name)
	}
	return names
}

// crash copies the files of an open store as they lie on the disk.
func crash(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func list(t *testing.T, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func wantCode(t *testing.T, err error, want units.Code) {
	t.Helper()
	if err == nil || units.CodeOf(err) != want {
		t.Errorf("error is %v (%s), want code %s", err, units.CodeOf(err), want)
	}
}

// fillDisk is a disk with no room for one page more, until it is undone.
func fillDisk(t *testing.T, s *Store) (undo func()) {
	t.Helper()
	var pages, got int
	if err := s.w.QueryRow(`PRAGMA page_count`).Scan(&pages); err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		if err := s.w.QueryRow(fmt.Sprintf(`PRAGMA max_page_count = %d`, n)).Scan(&got); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages)
	return func() { limit(1 << 30) }
}

// hold is a writer that does not come to an end, until it is let go.
func hold(t *testing.T, s *Store) (letGo func()) {
	t.Helper()
	// Not the test's context: that one ends before the cleanups run.
	tx, err := s.w.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tx.Rollback() })
	return func() { tx.Rollback() }
}
