package migrate

import _ "embed"

//go:embed v1.sql
var v1 string

// Updates is the schema of this version of hero_proc.
var Updates = Schema{
	Script(v1), // 1: services, actions, runs, jobs, logs
}
