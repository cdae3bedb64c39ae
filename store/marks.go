package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Mark is how far something was done; the zero time if that was never noted.
func (s *Store) Mark(ctx context.Context, name string) (time.Time, error) {
	var at sql.NullInt64
	err := s.r.QueryRowContext(ctx, `SELECT at FROM marks WHERE name = ?`, name).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return fromMicros(at), s.fail(ctx, "read the mark "+name, err)
}

// SetMark notes how far something was done.
func (s *Store) SetMark(ctx context.Context, name string, at time.Time) error {
	return s.write(ctx, "write the mark "+name, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO marks (name, at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at`, name, micros(at))
		return err
	})
}
