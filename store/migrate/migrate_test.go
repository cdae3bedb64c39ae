package migrate

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

var clock = func() time.Time { return time.UnixMicro(1_700_000_000_000_000) }

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(t.TempDir(), "t.db")+"?_foreign_keys=on&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

// exercise runs one update over rows as the version before it has them.
func exercise(t *testing.T, s Schema, version int, seed string) (*sql.DB, error) {
	t.Helper()
	db := open(t)
	if err := s[:version-1].Apply(t.Context(), db, clock); err != nil {
		t.Fatalf("versions before %d: %v", version, err)
	}
	if _, err := db.Exec(seed); err != nil {
		t.Fatalf("seed for version %d: %v", version, err)
	}
	return db, s[:version].Apply(t.Context(), db, clock)
}

func strs(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func wantVersion(t *testing.T, db *sql.DB, want int) {
	t.Helper()
	if got, err := Version(t.Context(), db); err != nil || got != want {
		t.Errorf("version is %d, %v; want %d", got, err, want)
	}
}

func TestUpdatesMakeTheTables(t *testing.T) {
	t.Parallel()
	db, err := exercise(t, Updates, 1, "")
	if err != nil {
		t.Fatal(err)
	}
	wantVersion(t, db, 1)
	want := []string{"actions", "jobs", "logs", "runs", "schema", "services"}
	if got := strs(t, db, `SELECT name FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND strict ORDER BY name`); !slices.Equal(got, want) {
		t.Errorf("strict tables are %q, want %q", got, want)
	}
	var applied int64
	if err := db.QueryRow(`SELECT applied_at FROM schema WHERE version = 1`).Scan(&applied); err != nil || applied != clock().UnixMicro() {
		t.Errorf("applied_at is %d, %v; want %d", applied, err, clock().UnixMicro())
	}
	if err := Updates.Apply(t.Context(), db, clock); err != nil {
		t.Errorf("again: %v", err)
	}
}

// Enumerations and keys are held by the database itself, so that no other
// program can put a row that we could not read.
func TestVersion1Refuses(t *testing.T) {
	t.Parallel()
	const service = `INSERT INTO services VALUES ('core', 'x', 'start', '{}', 0, 0);`
	const run = `INSERT INTO runs VALUES (1, 'core', 'x', 'api', 0);`
	const job = `INSERT INTO jobs VALUES (NULL, 1, 'core', 'x', 'main', 'u', 1, 'running', 'abc', 0, 0, NULL, NULL, '', 0, 0);`
	for _, c := range []struct{ name, seed, refused string }{
		{"a status that is none", "", `INSERT INTO services VALUES ('core', 'x', 'maybe', '{}', 0, 0)`},
		{"the same service twice", service, service},
		{"an action of no service", "", `INSERT INTO actions VALUES ('core', 'x', 'main', 0, '{}')`},
		{"an origin that is none", "", `INSERT INTO runs VALUES (1, 'core', 'x', 'cron', 0)`},
		{"a phase that is none", run, `INSERT INTO jobs VALUES (NULL, 1, 'core', 'x', 'main', 'u', 1, 'dead', '', 0, 0, NULL, NULL, '', 0, 0)`},
		{"a job of no run", "", job},
		{"one invocation as two jobs", run + job, job},
		{"a level that is none", "", `INSERT INTO logs VALUES (NULL, 0, 's', 'c', 'debug', '', '', '', '', '', '')`},
		{"a time as text", "", `INSERT INTO services VALUES ('core', 'x', 'start', '{}', 'today', 0)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, err := exercise(t, Updates, 1, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(c.seed); err != nil {
				t.Fatalf("seed: %v", err)
			}
			if _, err := db.Exec(c.refused); err == nil {
				t.Errorf("taken: %s", c.refused)
			}
		})
	}
}

// A number that was given to a run is never given to another one: units are
// named by it.
func TestVersion4KeepsRuns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, seed string
		rows       []string
		next       string
	}{
		{"none yet", "", nil, "1"},
		{"some", `INSERT INTO runs VALUES (3, 'core', 'x', 'api', 7), (9, 'lab', 'y', 'boot', 8); DELETE FROM runs WHERE id = 9;
			INSERT INTO jobs (run_id, context_name, service_name, action, unit, attempt, phase, invocation_id, main_pid, created_at, started_at, ended_at, result, exit_code, exit_status) VALUES (3, 'core', 'x', 'main', 'u', 1, 'running', 'abc', 0, 0, NULL, NULL, '', 0, 0);`, []string{"3 core x api 7   "}, "10"},
		{"all deleted", `INSERT INTO runs VALUES (9, 'lab', 'y', 'boot', 8); DELETE FROM runs;`, nil, "10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, err := exercise(t, Updates, 4, c.seed)
			if err != nil {
				t.Fatal(err)
			}
			if got := strs(t, db, `SELECT concat_ws(' ', id, context_name, service_name, origin, created_at, definition, boot, state) FROM runs`); !slices.Equal(got, c.rows) {
				t.Errorf("the runs are %q, want %q", got, c.rows)
			}
			if got := strs(t, db, `INSERT INTO runs (context_name, service_name, origin, created_at, definition, state) VALUES ('core', 'z', 'run', 1, '{}', 'open') RETURNING id`); !slices.Equal(got, []string{c.next}) {
				t.Errorf("the next run has number %q, want %q", got, c.next)
			}
			if got := strs(t, db, `SELECT count(*) FROM jobs JOIN runs ON runs.id = run_id`); len(c.rows) > 0 && got[0] != "1" {
				t.Errorf("%s jobs have their run", got)
			}
			if got := strs(t, db, `SELECT name FROM sqlite_sequence WHERE name NOT IN ('runs', 'jobs', 'logs')`); len(got) > 0 {
				t.Errorf("left over: %q", got)
			}
			for _, refused := range []string{
				`INSERT INTO runs (context_name, service_name, origin, created_at) VALUES ('core', 'z', 'cron', 1)`,
				`INSERT INTO runs (context_name, service_name, origin, created_at, state) VALUES ('core', 'z', 'run', 1, 'maybe')`,
				`INSERT INTO jobs (run_id, context_name, service_name, action, unit, attempt, phase, invocation_id, main_pid, created_at, started_at, ended_at, result, exit_code, exit_status) VALUES (99, 'core', 'x', 'main', 'u', 1, 'running', 'def', 0, 0, NULL, NULL, '', 0, 0)`,
			} {
				if _, err := db.Exec(refused); err == nil {
					t.Errorf("taken: %s", refused)
				}
			}
		})
	}
}

// local stands for a history of updates: the machinery is tested over more
// versions than there have been.
var local = Schema{
	Script(`CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT) STRICT;
		CREATE TABLE b (a_id INTEGER NOT NULL REFERENCES a (id) ON DELETE CASCADE) STRICT;`),
	// The rebuild that would cascade into b, were foreign keys on.
	Script(`CREATE TABLE new (id INTEGER PRIMARY KEY, x TEXT NOT NULL) STRICT;
		INSERT INTO new SELECT id, coalesce(x, 'none') FROM a;
		DROP TABLE a; ALTER TABLE new RENAME TO a;`),
}

func TestUpdateConvertsOldRows(t *testing.T) {
	t.Parallel()
	db, err := exercise(t, local, 2, `INSERT INTO a VALUES (1, NULL), (2, 'two'); INSERT INTO b VALUES (1), (2)`)
	if err != nil {
		t.Fatal(err)
	}
	wantVersion(t, db, 2)
	if got := strs(t, db, `SELECT x FROM a JOIN b ON id = a_id ORDER BY id`); !slices.Equal(got, []string{"none", "two"}) {
		t.Errorf("rows are %q", got)
	}
	if got := strs(t, db, `PRAGMA foreign_keys`); !slices.Equal(got, []string{"1"}) {
		t.Errorf("foreign_keys is %q after the updates", got)
	}
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name   string
		update Update
		is     error
	}{
		{"an error after a change", func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `CREATE TABLE c (x TEXT); DELETE FROM a`); err != nil {
				return err
			}
			return broken
		}, broken},
		{"a bad statement after a good one", Script(`CREATE TABLE c (x TEXT); DELETE FROM a; nonsense`), nil},
		{"rows left without their parent", Script(`CREATE TABLE c (x TEXT); DELETE FROM a`), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := append(slices.Clone(local), c.update, Script(`CREATE TABLE never (x TEXT)`))
			db, err := exercise(t, s[:3], 3, `INSERT INTO a VALUES (1, 'one'); INSERT INTO b VALUES (1)`)
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error is %v, want %v", err, c.is)
			}
			if err := s.Apply(t.Context(), db, clock); err == nil {
				t.Error("the update after the failed one ran")
			}
			wantVersion(t, db, 2)
			if got := strs(t, db, `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`); !slices.Equal(got, []string{"a", "b", "schema"}) {
				t.Errorf("tables are %q", got)
			}
			if got := strs(t, db, `SELECT x FROM a`); !slices.Equal(got, []string{"one"}) {
				t.Errorf("rows are %q", got)
			}
			if got := strs(t, db, `PRAGMA foreign_keys`); !slices.Equal(got, []string{"1"}) {
				t.Errorf("foreign_keys is %q", got)
			}
		})
	}
}

func TestNewerIsRefused(t *testing.T) {
	t.Parallel()
	db := open(t)
	if err := local.Apply(t.Context(), db, clock); err != nil {
		t.Fatal(err)
	}
	var newer *NewerError
	if err := local[:1].Apply(t.Context(), db, clock); !errors.As(err, &newer) || newer.Have != 2 || newer.Known != 1 {
		t.Errorf("error is %v", err)
	}
	wantVersion(t, db, 2)
}
