package store

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// selected is the condition of a filter. instr and not LIKE: nothing in a
// source is a wildcard.
const selected = `(?1 = '' OR source = ?1 OR instr(source, ?1 || '.') = 1)
		AND (?2 = '' OR level = ?2)
		AND (?3 = '' OR context_name = ?3)
		AND time BETWEEN ?4 AND ?5
		AND (?6 = '' OR service_name = ?6)`

func selection(f units.LogFilter) []any {
	return []any{f.Source, f.Level, f.Context, bound(f.Since, math.MinInt64), bound(f.Until, math.MaxInt64), f.Service}
}

// Logs are the newest rows that the filter selects, the oldest first. Since
// and Until are inclusive, as those of journalctl(1).
func (s *Store) Logs(ctx context.Context, f units.LogFilter) ([]units.LogEntry, error) {
	const doing = "read the logs"
	limit := f.Limit
	if limit <= 0 {
		limit = units.DefaultLogLimit
	}
	rows, err := s.r.QueryContext(ctx, `SELECT id, time, source, code, level, context_name, service_name, message, remedy, unit, result FROM logs
		WHERE `+selected+` ORDER BY time DESC, id DESC LIMIT ?7`,
		append(selection(f), min(limit, units.MaxLogLimit))...)
	if err != nil {
		return nil, s.fail(ctx, doing, err)
	}
	defer rows.Close()
	var all []units.LogEntry
	for rows.Next() {
		var e units.LogEntry
		var at sql.NullInt64
		if err := rows.Scan(&e.ID, &at, &e.Source, &e.Code, &e.Level, &e.Service.Context, &e.Service.Name, &e.Message, &e.Remedy, &e.Unit, &e.Result); err != nil {
			return nil, s.fail(ctx, doing, err)
		}
		e.Time = fromMicros(at)
		all = append(all, e)
	}
	slices.Reverse(all)
	return all, s.fail(ctx, doing, rows.Err())
}

// PruneLogs deletes every row that the filter selects, whatever its limit, and
// answers how many that were.
func (s *Store) PruneLogs(ctx context.Context, f units.LogFilter) (pruned int64, err error) {
	err = s.write(ctx, "prune the logs", func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM logs WHERE `+selected, selection(f)...)
		if err == nil {
			pruned, err = result.RowsAffected()
		}
		return err
	})
	return pruned, err
}

func bound(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixMicro()
}

// appendLogs writes all of the events, or none.
func (s *Store) appendLogs(ctx context.Context, events []units.Event) error {
	return s.write(ctx, "write the logs", func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, `INSERT INTO logs (time, source, code, level, context_name, service_name, message, remedy, unit, result)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, e := range events {
			if _, err := insert.ExecContext(ctx, micros(e.Time), e.Source, e.Code, e.Level, e.Service.Context, e.Service.Name, e.Message, e.Remedy, e.Unit, e.Result); err != nil {
				return err
			}
		}
		return nil
	})
}
