-- Times are microseconds since 1970 UTC, as in the journal. NULL is "not yet".

-- What should run. Key columns and status stand beside the definition, not in
-- it, so that there is one of each.
CREATE TABLE services (
	context_name TEXT NOT NULL,
	name         TEXT NOT NULL,
	status       TEXT NOT NULL CHECK (status IN ('start', 'stop', 'ignore', 'spec')),
	definition   TEXT NOT NULL,
	created_at   INTEGER NOT NULL,
	updated_at   INTEGER NOT NULL,
	PRIMARY KEY (context_name, name)
) STRICT;

CREATE TABLE actions (
	context_name TEXT NOT NULL,
	service_name TEXT NOT NULL,
	name         TEXT NOT NULL,
	position     INTEGER NOT NULL,
	definition   TEXT NOT NULL,
	PRIMARY KEY (context_name, service_name, name),
	FOREIGN KEY (context_name, service_name) REFERENCES services (context_name, name) ON DELETE CASCADE
) STRICT;

-- What ran. History outlives the definition that it came from: no foreign key
-- leads to services.
CREATE TABLE runs (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	context_name TEXT NOT NULL,
	service_name TEXT NOT NULL,
	origin       TEXT NOT NULL CHECK (origin IN ('boot', 'api', 'systemd')),
	created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	run_id        INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	context_name  TEXT NOT NULL,
	service_name  TEXT NOT NULL,
	action        TEXT NOT NULL,
	unit          TEXT NOT NULL,
	attempt       INTEGER NOT NULL,
	phase         TEXT NOT NULL CHECK (phase IN ('pending', 'running', 'succeeded', 'failed', 'canceled', 'lost')),
	invocation_id TEXT NOT NULL,
	main_pid      INTEGER NOT NULL,
	created_at    INTEGER NOT NULL,
	started_at    INTEGER,
	ended_at      INTEGER,
	result        TEXT NOT NULL,
	exit_code     INTEGER NOT NULL,
	exit_status   INTEGER NOT NULL
) STRICT;

CREATE INDEX jobs_run ON jobs (run_id);
CREATE INDEX jobs_unit ON jobs (unit, id);
CREATE INDEX jobs_live ON jobs (id) WHERE phase IN ('pending', 'running');
CREATE UNIQUE INDEX jobs_invocation ON jobs (invocation_id) WHERE invocation_id <> '';

-- What hero_proc had to say.
CREATE TABLE logs (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	time         INTEGER NOT NULL,
	source       TEXT NOT NULL,
	code         TEXT NOT NULL,
	level        TEXT NOT NULL CHECK (level IN ('error', 'warning', 'info')),
	context_name TEXT NOT NULL,
	service_name TEXT NOT NULL,
	message      TEXT NOT NULL,
	remedy       TEXT NOT NULL,
	unit         TEXT NOT NULL,
	result       TEXT NOT NULL
) STRICT;

CREATE INDEX logs_time ON logs (time);
