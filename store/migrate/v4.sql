-- Ad-hoc runs. A constraint can't be changed, so the table is made anew. The
-- numbers that were given stay given, those of deleted runs too: sqlite_sequence.
CREATE TABLE new_runs (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	context_name TEXT NOT NULL,
	service_name TEXT NOT NULL,
	origin       TEXT NOT NULL CHECK (origin IN ('boot', 'api', 'systemd', 'run')),
	created_at   INTEGER NOT NULL,
	-- Of an ad-hoc run alone: what it executes, the machine's boot in which it
	-- was last started, and whether it is over, or was asked to end.
	definition   TEXT NOT NULL DEFAULT '',
	boot         TEXT NOT NULL DEFAULT '',
	state        TEXT NOT NULL DEFAULT '' CHECK (state IN ('', 'open', 'canceled', 'over'))
) STRICT;

INSERT INTO new_runs (id, context_name, service_name, origin, created_at)
	SELECT id, context_name, service_name, origin, created_at FROM runs;
DELETE FROM sqlite_sequence WHERE name = 'new_runs';
UPDATE sqlite_sequence SET name = 'new_runs' WHERE name = 'runs';
DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;

CREATE INDEX runs_open ON runs (id) WHERE state IN ('open', 'canceled');
CREATE INDEX runs_service ON runs (context_name, service_name, created_at, id);
