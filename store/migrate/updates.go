package migrate

import _ "embed"

//go:embed v1.sql
var v1 string

//go:embed v2.sql
var v2 string

//go:embed v3.sql
var v3 string

//go:embed v4.sql
var v4 string

// Updates is the schema of this version of hero_proc.
var Updates = Schema{
	Script(v1), // 1: services, actions, runs, jobs, logs
	Script(v2), // 2: what jobs used, marks
	Script(v3), // 3: indexes for queries of the history
	Script(v4), // 4: ad-hoc runs
}
