package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// whole is a service that says something in every field.
func whole() units.Service {
	a := units.Action{
		Name: "web", Exec: []string{"/usr/bin/web", "", `a "b" 'c'`, "\\%$;\n"}, Process: true, DependsOn: []string{"prepare"},
		Env: map[string]string{"A": "1", "QUOTE": `'); DROP TABLE services; --`}, Credentials: map[string]string{"token": "/etc/token"},
		User: "nobody", Group: "nogroup", WorkingDir: "/srv", Ready: units.ReadyNotify, Restart: units.RestartAlways,
		RestartDelay: 1500 * time.Millisecond, StartLimitBurst: 3, StartLimitInterval: time.Minute, TimeoutStart: 90 * time.Second, TimeoutStop: time.Second,
		KillSignal: "SIGINT", MemoryMax: 1<<53 + 1, CPUQuota: 150, TasksMax: 1 << 20, OpenFiles: 1 << 20, LogRateInterval: time.Second, LogRateBurst: 7,
	}
	first := units.NewAction("prepare")
	first.Exec, first.Process = []string{"/bin/true"}, false
	return units.Service{
		ID: units.ID{Context: "other", Name: "whole-1.x"}, Description: `it's; "all" of it %s ?`, Wanted: units.WantedStop,
		Requires: []string{"core/a"}, After: []string{"b"}, Wants: []string{"c", "d"}, Conflicts: []string{"e"},
		Actions: []units.Action{a, first}, // the order is not that of the names
	}
}

func TestServiceComesBackAsItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	bare := units.Service{ID: units.ID{Context: "core", Name: "bare"}, Wanted: units.WantedSpec}
	want := []units.Service{bare, define("one"), whole()}
	for _, service := range []units.Service{whole(), define("one"), bare} {
		put(t, s, service)
	}
	closeStore(t, s)
	s = open(t, dir)
	all, err := s.Services(t.Context())
	if err != nil || len(all) != len(want) {
		t.Fatalf("services are %+v, %v", all, err)
	}
	for i, service := range want {
		if all[i].Err != nil || !reflect.DeepEqual(all[i].Service, service) {
			t.Errorf("listed as %+v\nwant %+v", all[i], service)
		}
		if got, err := s.Service(t.Context(), service.ID); err != nil || !reflect.DeepEqual(got, service) {
			t.Errorf("read as %+v, %v\nwant %+v", got, err, service)
		}
	}
}

func TestUpdateService(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	one := define("one")
	other := define("one")
	other.Wanted, other.Actions[0].Name = units.WantedStop, "other"
	invalid := define("one")
	invalid.Actions[0].Exec = nil
	for _, c := range []struct {
		name   string
		old    *units.Service
		answer units.Service
		err    error
		code   units.Code // of the error; "" is none
		want   *units.Service
	}{
		{"registers", nil, one, nil, "", &one},
		{"replaces, actions too", &one, other, nil, "", &other},
		{"refused by the caller", &one, other, mine, units.CodeInternal, &one},
		{"refused by the caller when new", nil, one, mine, units.CodeInternal, nil},
		{"renames", &one, define("two"), nil, units.CodeInvalidArgument, &one},
		{"what could not be read again", &one, invalid, nil, units.CodeInvalidDefinition, &one},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			if c.old != nil {
				put(t, s, *c.old)
			}
			updated, err := s.UpdateService(t.Context(), one.ID, func(old *units.Service) (units.Service, error) {
				if !reflect.DeepEqual(old, c.old) {
					t.Errorf("old is %+v, want %+v", old, c.old)
				}
				return c.answer, c.err
			})
			switch {
			case c.code != "":
				wantCode(t, err, c.code)
				if c.err != nil && err != c.err {
					t.Errorf("the caller's error came back as %v", err)
				}
			case err != nil || !reflect.DeepEqual(updated, c.answer):
				t.Errorf("answer is %+v, %v", updated, err)
			}
			got, err := s.Service(t.Context(), one.ID)
			if c.want == nil {
				wantCode(t, err, units.CodeNoSuchService)
			} else if err != nil || !reflect.DeepEqual(got, *c.want) {
				t.Errorf("stored is %+v, %v; want %+v", got, err, *c.want)
			}
		})
	}
}

func TestUpdateKeepsWhenItWasRegistered(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, define("one"))
	put(t, s, define("one"))
	var created, updated int64
	if err := s.r.QueryRow(`SELECT created_at, updated_at FROM services`).Scan(&created, &updated); err != nil {
		t.Fatal(err)
	}
	if created < time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() || updated <= created {
		t.Errorf("created_at %d, updated_at %d", created, updated)
	}
}

// One row that can't be read costs only itself.
func TestBrokenRow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, spoil string }{
		{"no JSON", `UPDATE services SET definition = '{' WHERE name = 'two'`},
		{"null", `UPDATE services SET definition = 'null' WHERE name = 'two'`},
		{"another type", `UPDATE services SET definition = '[1]' WHERE name = 'two'`},
		{"an unknown field", `UPDATE services SET definition = '{"colour": "red"}' WHERE name = 'two'`},
		{"an action that is no JSON", `UPDATE actions SET definition = '' WHERE service_name = 'two'`},
		{"an action with a wrong value", `UPDATE actions SET definition = '{"exec": 7}' WHERE service_name = 'two'`},
		{"a name that is none", `INSERT INTO services VALUES ('core', '../two', 'start', '{}', 0, 0); DELETE FROM services WHERE name = 'two'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, t.TempDir())
			for _, name := range []string{"one", "two", "zero"} {
				put(t, s, define(name))
			}
			if _, err := s.w.Exec(c.spoil); err != nil {
				t.Fatal(err)
			}
			all, err := s.Services(t.Context())
			if err != nil || len(all) != 3 {
				t.Fatalf("services are %+v, %v", all, err)
			}
			var broken units.ID
			for _, r := range all {
				if strings.HasSuffix(r.Service.Name, "two") {
					broken = r.Service.ID
					wantCode(t, r.Err, units.CodeInvalidDefinition)
				} else if r.Err != nil || !reflect.DeepEqual(r.Service, define(r.Service.Name)) {
					t.Errorf("another one is %+v", r)
				}
			}
			_, err = s.Service(t.Context(), broken)
			wantCode(t, err, units.CodeInvalidDefinition)
			if !strings.Contains(err.Error(), broken.String()) {
				t.Errorf("error is %v", err)
			}
			_, err = s.UpdateService(t.Context(), broken, func(*units.Service) (units.Service, error) {
				t.Error("was given a service that can't be read")
				return define("two"), nil
			})
			wantCode(t, err, units.CodeInvalidDefinition)
			if err := s.RemoveService(t.Context(), broken); err != nil {
				t.Errorf("RemoveService: %v", err)
			}
			if got := names(t, s); !slices.Equal(got, []string{"one", "zero"}) {
				t.Errorf("services are %q", got)
			}
		})
	}
}

func TestRemoveServiceLeavesTheHistory(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	service := whole()
	put(t, s, service)
	put(t, s, define("one"))
	job := units.Job{Service: service.ID, Unit: service.Unit(), Phase: units.PhaseRunning, Created: s.now()}
	if err := s.SaveJobs(t.Context(), []units.Record{{Job: &job, Origin: units.OriginAPI}}); err != nil {
		t.Fatal(err)
	}
	if err := s.appendLogs(t.Context(), []units.Event{{Time: s.now(), Level: units.LevelInfo, Service: service.ID}}); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveService(t.Context(), service.ID); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]int{"services": 1, "actions": 1, "runs": 1, "jobs": 1, "logs": 1} {
		var got int
		if err := s.r.QueryRow("SELECT count(*) FROM " + table).Scan(&got); err != nil || got != want {
			t.Errorf("%s has %d rows, %v; want %d", table, got, err, want)
		}
	}
	wantCode(t, s.RemoveService(t.Context(), service.ID), units.CodeNoSuchService)
	_, err := s.Service(t.Context(), service.ID)
	wantCode(t, err, units.CodeNoSuchService)
}

// Whatever a caller sends is a value, never a part of a statement.
func TestNothingIsMadeOfInput(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, define("one"))
	for _, text := range []string{`' OR '1'='1`, `'); DROP TABLE services; --`, `%`, `_ne`, "\x00", "one\x00", "\xff\xfe", `*`, ``} {
		for _, id := range []units.ID{{Context: "core", Name: text}, {Context: text, Name: "one"}, {Context: text, Name: text}} {
			_, err := s.Service(t.Context(), id)
			wantCode(t, err, units.CodeNoSuchService)
			wantCode(t, s.RemoveService(t.Context(), id), units.CodeNoSuchService)
		}
		if _, ok, err := s.LastJob(t.Context(), text); ok || err != nil {
			t.Errorf("LastJob(%q): %v, %v", text, ok, err)
		}
		if _, ok, err := s.JobByInvocation(t.Context(), text); ok || err != nil {
			t.Errorf("JobByInvocation(%q): %v, %v", text, ok, err)
		}
	}
	if got := names(t, s); !slices.Equal(got, []string{"one"}) {
		t.Errorf("services are %q", got)
	}
}

// Readers see whole states, and neither side waits for the other.
func TestReadersBesideTheWriter(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	version := func(i int) units.Service {
		service := define("one")
		service.Description = fmt.Sprint(i)
		service.Actions[0].Env = map[string]string{"I": fmt.Sprint(i)}
		return service
	}
	put(t, s, version(0))
	done := make(chan struct{})
	results := make(chan error)
	for range 2 * readers {
		go func() {
			for {
				all, err := s.Services(context.Background())
				switch {
				case err != nil:
					results <- err
					return
				case len(all) != 1 || all[0].Err != nil || all[0].Service.Description != all[0].Service.Actions[0].Env["I"]:
					results <- fmt.Errorf("half a change: %+v", all)
					return
				}
				select {
				case <-done:
					results <- nil
					return
				default:
				}
			}
		}()
	}
	for i := range 50 {
		put(t, s, version(i))
	}
	letGo := hold(t, s)
	if got := names(t, s); !slices.Equal(got, []string{"one"}) { // while a writer is in the middle of it
		t.Errorf("services are %q", got)
	}
	letGo()
	close(done)
	for range 2 * readers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestUpdatesDoNotOverwriteEachOther(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, define("one"))
	const writers, each = 4, 10
	results := make(chan error)
	for range writers {
		go func() {
			var err error
			for range each {
				_, failed := s.UpdateService(context.Background(), define("one").ID, func(old *units.Service) (units.Service, error) {
					next := *old
					next.Description += "x"
					return next, nil
				})
				err = errors.Join(err, failed)
			}
			results <- err
		}()
	}
	for range writers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	got, err := s.Service(t.Context(), define("one").ID)
	if err != nil || len(got.Description) != writers*each {
		t.Errorf("%d of %d changes are there, %v", len(got.Description), writers*each, err)
	}
}

func TestFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, define("one"))
	undo := fillDisk(t, s)
	big := define("one")
	big.Actions[0].Env = map[string]string{"BIG": strings.Repeat("x", 60_000)}
	_, err := s.UpdateService(t.Context(), big.ID, func(*units.Service) (units.Service, error) { return big, nil })
	wantCode(t, err, units.CodeStoreFull)
	if got, err := s.Service(t.Context(), big.ID); err != nil || !reflect.DeepEqual(got, define("one")) {
		t.Errorf("stored is %+v, %v", got, err)
	}
	undo()
	put(t, s, big)
}

func TestGivenUpWrite(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, define("one"))
	hold(t, s)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	wantCode(t, s.RemoveService(canceled, define("one").ID), units.CodeCanceled)
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantCode(t, s.RemoveService(late, define("one").ID), units.CodeTimeout)
	_, err := s.Services(canceled)
	wantCode(t, err, units.CodeCanceled)
}
