package migrate

import _ "embed"

//go:embed v1.sql
var v1 string

//go:embed v4.sql
var v4 string

// Updates is the schema of this version of hero_proc.
var Updates = Schema{
	Script(v1), // 1: services, actions, runs, jobs, logs
	Script(v4), // indexes for queries of the history
}
