-- What a job has used: NULL is "not counted", which is not 0.
ALTER TABLE jobs ADD COLUMN cpu_nsec INTEGER;
ALTER TABLE jobs ADD COLUMN memory_peak INTEGER;
ALTER TABLE jobs ADD COLUMN io_read INTEGER;
ALTER TABLE jobs ADD COLUMN io_written INTEGER;

-- The newest job of a unit is the one that began last: one that was missed is
-- written down late.
DROP INDEX jobs_unit;
CREATE INDEX jobs_unit ON jobs (unit, created_at, id);
CREATE INDEX runs_service ON runs (context_name, service_name, created_at, id);

-- How far something was done, in microseconds since 1970 UTC: 'history' is the
-- time up to which the history has everything.
CREATE TABLE marks (
	name TEXT PRIMARY KEY,
	at   INTEGER NOT NULL
) STRICT;
