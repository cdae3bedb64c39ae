-- What the history is asked for. Each index ends with the job's number, by
-- which answers are ordered.
CREATE INDEX jobs_service ON jobs (context_name, service_name);
CREATE INDEX jobs_over ON jobs (phase) WHERE phase NOT IN ('pending', 'running');
CREATE INDEX jobs_created ON jobs (created_at);
