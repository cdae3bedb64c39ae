package store

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// fillPast fills the history: jobs of services, two to a run, and log entries.
// The last one of each service is not over.
func fillPast(t testing.TB, s *Store, services, each int) {
	t.Helper()
	for of := range services {
		name := fmt.Sprintf("s%d", of)
		err := s.transact(t.Context(), func(tx *sql.Tx) error {
			for i := range each {
				phase := units.PhaseFailed
				if i == each-1 {
					phase = units.PhaseRunning
				}
				number := int64(of*each + i)
				j := units.Job{
					Run: number/2 + 1, Service: units.ID{Context: "core", Name: name}, Action: "main", Unit: "hero-core-" + name + ".service",
					Attempt: i%2 + 1, Phase: phase, InvocationID: fmt.Sprintf("%032x", number+1), Created: time.UnixMicro(number + 1),
				}
				if number%2 == 0 {
					if _, err := insertRun(t.Context(), tx, j.Run, j, units.OriginAPI); err != nil {
						return err
					}
				}
				if _, err := insertJob(t.Context(), tx, nil, j); err != nil {
					return err
				}
				if _, err := tx.Exec(`INSERT INTO logs (time, source, code, level, context_name, service_name, message, remedy, unit, result)
					VALUES (?, 's', 'c', 'info', 'core', ?, 'a message of some length, as they are', '', '', '')`, number+1, name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func number(t testing.TB, s *Store, query string) (n int) {
	t.Helper()
	if err := s.r.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func pages(t testing.TB, s *Store) int { t.Helper(); return number(t, s, `PRAGMA page_count`) }

func TestRetainDeletesWhatGoesAndGivesBackTheRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	fillPast(t, s, 3, 2*pageRows) // more than a page of each
	before := pages(t, s)
	var judged []int64
	done, err := s.Retain(t.Context(), func(p units.Past) bool {
		judged = append(judged, p.Time.UnixMicro())
		if p.Kind == units.PastJob && (p.Of != "main" || p.Live != (p.Time.UnixMicro()%(2*pageRows) == 0)) {
			t.Errorf("judged %+v", p)
		}
		return p.Service.Name != "s1" || p.Time.UnixMicro()%2 == 0
	})
	if err != nil {
		t.Fatal(err)
	}
	// Of s1 every second job is kept, one of each run; of the others the live
	// one, which no judge can take, and with it the run.
	want := units.Retained{Jobs: 2*(2*pageRows-1) + pageRows - 1, Runs: 2 * (pageRows - 1), Logs: 5 * pageRows, Bytes: done.Bytes}
	if done != want {
		t.Errorf("done %+v, want %+v", done, want)
	}
	if len(judged) != 12*pageRows || judged[0] != 6*pageRows || judged[6*pageRows-1] != 1 {
		t.Errorf("judged %d rows, from %d to %d", len(judged), judged[0], judged[len(judged)-1])
	}
	if got := number(t, s, `SELECT count(*) FROM runs WHERE id NOT IN (SELECT run_id FROM jobs)`); got != 0 {
		t.Errorf("%d runs have no job", got)
	}
	if got := number(t, s, `SELECT count(*) FROM jobs WHERE phase = 'running'`); got != 3 {
		t.Errorf("%d live jobs are left", got)
	}
	if free := number(t, s, `PRAGMA freelist_count`); free != 0 || pages(t, s) > before/2 {
		t.Errorf("%d pages of %d, %d of them free", pages(t, s), before, free)
	}
	if bytes := size(s.path()); bytes != int64(pages(t, s)*4096) || done.Bytes != int64(before-pages(t, s))*4096 {
		t.Errorf("the file has %d bytes for %d pages; it had %d, and gave back %d bytes", bytes, pages(t, s), before, done.Bytes)
	}
	again, err := s.Retain(t.Context(), func(p units.Past) bool { return p.Service.Name != "s1" || p.Time.UnixMicro()%2 == 0 })
	if err != nil || again != (units.Retained{}) {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// A backup that was restored gives room back as the file before it did.
func TestRestoredStoreGivesBackRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, define("one"))
	fillPast(t, s, 1, 2000)
	backUp(t, s)
	closeStore(t, s)
	truncate(t, s.path(), 5000)
	s, _ = openWith(t, dir, Options{})
	before := pages(t, s)
	if done, err := s.Retain(t.Context(), func(units.Past) bool { return true }); err != nil || pages(t, s) > before/2 {
		t.Errorf("%d pages of %d, %+v, %v", pages(t, s), before, done, err)
	}
}

// Others write, while a pass goes on.
func TestRetainLetsOthersWrite(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	fillPast(t, s, 1, 2*pageRows)
	between := 0
	_, err := s.Retain(t.Context(), func(p units.Past) bool {
		if p.Time.UnixMicro()%500 == 0 {
			// The pass must hold nothing that a writer waits for.
			save(t, s, job(fmt.Sprint("u", p.Kind, p.Time.UnixMicro()), fmt.Sprint(p.Kind, p.Time.UnixMicro()), units.PhaseFailed))
			between++
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := number(t, s, `SELECT count(*) FROM jobs WHERE phase = 'failed'`); got != between || between == 0 {
		t.Errorf("%d jobs, %d were written meanwhile", got, between)
	}
}

func TestRetainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	fillPast(t, s, 1, 3*pageRows)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	done, err := s.Retain(ctx, func(units.Past) bool {
		if seen++; seen > pageRows {
			cancel()
		}
		return true
	})
	wantCode(t, err, units.CodeCanceled)
	if done.Jobs != pageRows-1 || number(t, s, `SELECT count(*) FROM jobs`) != 2*pageRows+1 {
		t.Errorf("done %+v, %d jobs are left", done, number(t, s, `SELECT count(*) FROM jobs`))
	}
}

// On a full disk a pass goes as far as it can, and what it can't do it says.
func TestRetainOnFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	fillPast(t, s, 1, 2*pageRows)
	undo := fillDisk(t, s)
	done, err := s.Retain(t.Context(), func(units.Past) bool { return true })
	if err != nil && units.CodeOf(err) != units.CodeStoreFull {
		t.Errorf("error is %v", err)
	}
	undo()
	if got := number(t, s, `SELECT count(*) FROM jobs`); int64(got) != 2*pageRows-done.Jobs {
		t.Errorf("%d jobs are left, %d were deleted", got, done.Jobs)
	}
}

// go test ./store -run - -bench Retain -benchtime 1x; -short has a tenth.
func BenchmarkRetain(b *testing.B) {
	const keep = 10_000
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		s, _, err := Open(b.Context(), dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		services, each := 100, 10_000
		if testing.Short() {
			each /= 10
		}
		fillPast(b, s, services, each)
		before := pages(b, s)
		var longest time.Duration
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
				}
				start := time.Now()
				if err := s.appendLogs(context.Background(), []units.Event{{Time: time.Now(), Level: units.LevelInfo, Message: "beside"}}); err != nil {
					b.Error(err)
				}
				longest = max(longest, time.Since(start))
			}
		}()
		b.StartTimer()
		kept := 0
		done, err := s.Retain(b.Context(), func(units.Past) bool { kept++; return kept > keep })
		b.StopTimer()
		close(stop)
		<-stopped
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(done.Jobs+done.Logs)/1e6, "Mrows")
		b.ReportMetric(float64(before)*4096/1e6, "MB-before")
		b.ReportMetric(float64(size(s.path()))/1e6, "MB-after")
		b.ReportMetric(float64(longest.Milliseconds()), "ms-longest-wait")
		b.StartTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
