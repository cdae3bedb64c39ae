package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Update brings the schema from one version to the next. It runs in a
// transaction with foreign keys off, so that it can rebuild a table as
// https://sqlite.org/lang_altertable.html#otheralter says; they are checked
// before the commit.
type Update func(ctx context.Context, tx *sql.Tx) error

// Schema is a list of updates; the n-th (from 1) brings version n.
type Schema []Update

// Script is an update that needs nothing but SQL.
func Script(statements string) Update {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statements)
		return err
	}
}

// NewerError refuses a database that a newer hero_proc has written.
type NewerError struct {
	Have  int // version of the database
	Known int // newest version that this hero_proc knows
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("its schema has version %d, of a newer hero_proc; this one knows versions up to %d", e.Have, e.Known)
}

// Querier is a database, a connection or a transaction.
type Querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Version is the version of a database; 0 is one without our schema.
func Version(ctx context.Context, db Querier) (int, error) {
	var tables, version int
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema'`).Scan(&tables)
	if err != nil || tables == 0 {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema`).Scan(&version)
	return version, err
}

// Check is a [*NewerError] for a version that the schema does not know.
func (s Schema) Check(version int) error {
	if version > len(s) {
		return &NewerError{Have: version, Known: len(s)}
	}
	return nil
}

// Apply runs the updates that the database does not have yet, each with its
// row of the schema table in one transaction: one that fails leaves the
// version before it.
func (s Schema) Apply(ctx context.Context, db *sql.DB, now func() time.Time) (err error) {
	// foreign_keys can't be changed within a transaction, and is the
	// connection's own: hence one connection for all of it.
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	version, err := Version(ctx, conn)
	if err != nil {
		return err
	}
	if err := s.Check(version); err != nil || version == len(s) {
		return err
	}
	if _, err := conn.ExecContext(ctx, `PRAGMA foreign_keys = OFF`); err != nil {
		return err
	}
	defer func() {
		// Also when ctx is over: the connection goes back to the pool.
		_, back := conn.ExecContext(context.WithoutCancel(ctx), `PRAGMA foreign_keys = ON`)
		err = errors.Join(err, back)
	}()
	for version < len(s) {
		version++
		if err := s.update(ctx, conn, version, now()); err != nil {
			return fmt.Errorf("cannot update the schema to version %d: %w", version, err)
		}
	}
	return nil
}

func (s Schema) update(ctx context.Context, conn *sql.Conn, version int, now time.Time) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`); err != nil {
		return err
	}
	if err := s[version-1](ctx, tx); err != nil {
		return err
	}
	var orphans int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM pragma_foreign_key_check`).Scan(&orphans); err != nil {
		return err
	}
	if orphans > 0 {
		return fmt.Errorf("it would leave %d rows whose foreign key leads nowhere", orphans)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO schema (version, applied_at) VALUES (?, ?)`, version, now.UnixMicro()); err != nil {
		return err
	}
	return tx.Commit()
}
