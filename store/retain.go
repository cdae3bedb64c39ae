package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	// pageRows are read at a time: no reader keeps the WAL from being played
	// into the file for long.
	pageRows = 2000
	// deleteBatch rows go in one transaction; other writers come in between.
	deleteBatch = 250
)

// Retain asks of each row of the history, the jobs and then the logs, each the
// newest first, whether it goes, and deletes those that do. Of jobs those that are
// over go, whatever it says of others, and runs with their last job. Then it
// gives the room back to the disk. It is done in small steps: writers wait for
// no more than one, and when ctx ends the rest is left for another time.
func (s *Store) Retain(ctx context.Context, goes func(units.Past) bool) (done units.Retained, err error) {
	for _, t := range []struct {
		kind  units.PastKind
		read  string
		purge func(context.Context, []row) error
	}{
		{units.PastJob, `SELECT id, run_id, context_name, service_name, action, created_at, ended_at, phase IN ('pending', 'running')
			FROM jobs WHERE (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?`, func(ctx context.Context, rows []row) error { return s.deleteJobs(ctx, rows, &done) }},
		{units.PastLog, `SELECT id, 0, context_name, service_name, source, time, NULL, 0
			FROM logs WHERE (time, id) < (?, ?) ORDER BY time DESC, id DESC LIMIT ?`, func(ctx context.Context, rows []row) error { return s.deleteLogs(ctx, rows, &done) }},
	} {
		var rows []row
		for below := (row{id: math.MaxInt64, at: math.MaxInt64}); ; below = rows[len(rows)-1] {
			if rows, err = s.pastRows(ctx, t.read, below); err != nil {
				return done, err
			}
			if len(rows) == 0 {
				break
			}
			var gone []row
			for _, r := range rows {
				r.past.Kind = t.kind
				if goes(r.past) && !r.past.Live {
					gone = append(gone, r)
				}
			}
			for ; len(gone) > 0; gone = gone[min(deleteBatch, len(gone)):] {
				if err := t.purge(ctx, gone[:min(deleteBatch, len(gone))]); err != nil {
					return done, err
				}
			}
		}
	}
	done.Bytes, err = s.giveBack(ctx)
	return done, err
}

type row struct {
	id, run int64
	at      int64 // by which they are ordered
	past    units.Past
}

func (s *Store) pastRows(ctx context.Context, query string, below row) ([]row, error) {
	const doing = "read the history"
	rows, err := s.r.QueryContext(ctx, query, below.at, below.id, pageRows)
	if err != nil {
		return nil, s.fail(ctx, doing, err)
	}
	defer rows.Close()
	page := make([]row, 0, pageRows)
	for rows.Next() {
		var r row
		var ended sql.NullInt64
		if err := rows.Scan(&r.id, &r.run, &r.past.Service.Context, &r.past.Service.Name, &r.past.Of, &r.at, &ended, &r.past.Live); err != nil {
			return nil, s.fail(ctx, doing, err)
		}
		if r.past.Time = fromMicros(ended); !ended.Valid {
			r.past.Time = time.UnixMicro(r.at)
		}
		page = append(page, r)
	}
	return page, s.fail(ctx, doing, rows.Err())
}

func (s *Store) deleteJobs(ctx context.Context, rows []row, done *units.Retained) error {
	var jobs, runs int64
	err := s.write(ctx, "delete old jobs", func(tx *sql.Tx) (err error) {
		if jobs, err = deleted(ctx, tx, `DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND phase NOT IN ('pending', 'running')`,
			rows, func(r row) int64 { return r.id }); err != nil {
			return err
		}
		runs, err = deleted(ctx, tx, `DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?)) AND state NOT IN ('open', 'canceled')
			AND NOT EXISTS (SELECT 1 FROM jobs WHERE run_id = runs.id)`, rows, func(r row) int64 { return r.run })
		return err
	})
	if err == nil {
		done.Jobs, done.Runs = done.Jobs+jobs, done.Runs+runs
	}
	return err
}

func (s *Store) deleteLogs(ctx context.Context, rows []row, done *units.Retained) error {
	var logs int64
	err := s.write(ctx, "delete old logs", func(tx *sql.Tx) (err error) {
		logs, err = deleted(ctx, tx, `DELETE FROM logs WHERE id IN (SELECT value FROM json_each(?))`, rows, func(r row) int64 { return r.id })
		return err
	})
	if err == nil {
		done.Logs += logs
	}
	return err
}

// deleted is how many rows a statement deletes that takes their numbers, as JSON.
func deleted(ctx context.Context, tx *sql.Tx, query string, rows []row, number func(row) int64) (int64, error) {
	numbers := make([]int64, len(rows))
	for i, r := range rows {
		numbers[i] = number(r)
	}
	list, err := json.Marshal(numbers)
	if err != nil {
		return 0, err
	}
	result, err := tx.ExecContext(ctx, query, string(list))
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// giveBack gives the pages that hold nothing back to the disk, and is how many
// bytes that were. https://sqlite.org/pragma.html#pragma_incremental_vacuum
func (s *Store) giveBack(ctx context.Context) (bytes int64, err error) {
	const doing = "give room back to the disk"
	before, free, err := s.pages(ctx)
	if err != nil || free == 0 {
		return 0, s.fail(ctx, doing, err)
	}
	now := before
	for free > 0 {
		if err := s.vacuum(ctx); err != nil {
			return 0, s.fail(ctx, doing, err)
		}
		was := now
		if now, free, err = s.pages(ctx); err != nil {
			return 0, s.fail(ctx, doing, err)
		}
		if now >= was {
			// A file that was made without auto_vacuum, or others write faster.
			break
		}
	}
	// The file gets smaller when the WAL is played into it.
	_, err = s.w.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return max(0, before-now) * pageSize, s.fail(ctx, doing, err)
}

// pageSize is SQLite's default, which the file was made with.
const pageSize = 4096

// pages is how many there are, and how many of them hold nothing.
func (s *Store) pages(ctx context.Context) (all, free int64, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count`).Scan(&all, &free)
	return all, free, err
}

// vacuum is one step: a megabyte. It answers a row for each page: one that is not read on
// frees a single page.
func (s *Store) vacuum(ctx context.Context) error {
	rows, err := s.w.QueryContext(ctx, `PRAGMA incremental_vacuum(250)`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}
