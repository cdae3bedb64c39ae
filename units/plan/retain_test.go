package plan

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Each case is a history, the newest row first, and what becomes of each row.
func TestPruningJudges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	known, gone := units.ID{Context: "core", Name: "known"}, units.ID{Context: "core", Name: "gone"}
	job := func(of units.ID, days int) units.Past {
		return units.Past{Kind: units.PastJob, Service: of, Of: "main", Time: now.Add(-time.Duration(days) * 24 * time.Hour)}
	}
	action := func(p units.Past, name string) units.Past { p.Of = name; return p }
	live := func(p units.Past) units.Past { p.Live = true; return p }
	entry := func(p units.Past) units.Past { p.Kind, p.Of = units.PastLog, "hero_proc.store"; return p }
	const week = 7 * 24 * time.Hour
	type judged struct {
		row  units.Past
		want string
	}
	for _, c := range []struct {
		name string
		keep Retention
		rows []judged
	}{
		{"no bound", Retention{}, []judged{
			{job(gone, 1), StaysYoung}, {job(gone, 10_000), StaysYoung}, {entry(job(units.ID{}, 10_000)), StaysYoung},
		}},
		{"age", Retention{Age: week}, []judged{
			{job(gone, 7), StaysYoung}, {job(gone, 8), GoesAge}, {entry(job(known, 8)), GoesAge}, {entry(job(units.ID{}, 8)), GoesAge},
		}},
		{"a time to come is young", Retention{Age: week}, []judged{{job(gone, -1000), StaysYoung}}},
		{"the last job of a registered service stays", Retention{Age: week}, []judged{
			{job(known, 100), StaysLast}, {job(known, 101), GoesAge}, {job(gone, 100), GoesAge},
		}},
		{"the last job of each of its actions stays", Retention{Age: week, PerService: 1, Total: 1}, []judged{
			{job(known, 100), StaysLast}, {action(job(known, 100), "side"), StaysLast}, {action(job(known, 100), "side"), GoesAge},
		}},
		{"what is not over stays, and is the last one then", Retention{Age: week, PerService: 1, Total: 1}, []judged{
			{live(job(gone, 100)), StaysLive}, {live(job(gone, 101)), StaysLive}, {live(job(known, 100)), StaysLive}, {job(known, 1), GoesPerService},
		}},
		{"a service that crashes pushes out only itself", Retention{PerService: 2, Total: 4}, []judged{
			{job(known, 0), StaysLast}, {job(known, 0), StaysYoung}, {job(known, 0), GoesPerService}, {job(known, 0), GoesPerService},
			{job(known, 0), GoesPerService}, {job(gone, 1), StaysYoung}, {job(gone, 2), StaysYoung}, {job(gone, 2), GoesPerService},
		}},
		{"total", Retention{Total: 2}, []judged{
			{job(gone, 0), StaysYoung}, {action(job(gone, 0), "side"), StaysYoung}, {job(gone, 0), GoesTotal}, {job(known, 0), StaysLast}, {job(known, 0), GoesTotal},
		}},
		{"jobs and log entries are counted apart", Retention{PerService: 1, Total: 1}, []judged{
			{job(gone, 0), StaysYoung}, {entry(job(gone, 0)), StaysYoung}, {entry(job(gone, 0)), GoesPerService}, {entry(job(known, 0)), GoesTotal},
		}},
		{"log entries about none are of no service", Retention{PerService: 1, Total: 3}, []judged{
			{entry(job(units.ID{}, 0)), StaysYoung}, {entry(job(units.ID{}, 0)), StaysYoung}, {entry(job(units.ID{}, 0)), StaysYoung}, {entry(job(units.ID{}, 0)), GoesTotal},
		}},
		{"what goes takes no place", Retention{Age: week, PerService: 1}, []judged{
			{job(gone, 100), GoesAge}, {job(gone, 1), StaysYoung},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := NewPruning(c.keep, now, func(id units.ID) bool { return id == known })
			for i, r := range c.rows {
				goes, why := p.Judge(r.row)
				if why != r.want {
					t.Errorf("row %d, %+v: %q, want %q", i, r.row, why, r.want)
				}
				if stays := r.want == StaysLive || r.want == StaysLast || r.want == StaysYoung; goes == stays {
					t.Errorf("row %d goes: %v, because %q", i, goes, why)
				}
			}
		})
	}
}
