package store

import (
	"context"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Jobs are the newest jobs that the filter selects, the oldest of them first.
//
// The newest are those with the highest numbers: clocks are set, and numbers
// only grow. A bound in time is made a bound of numbers first, by the index of
// times alone, so that little is read of a long history.
func (s *Store) Jobs(ctx context.Context, f units.JobFilter) ([]units.Job, error) {
	where, args := jobConditions(f)
	all, err := s.jobs(ctx, "read the history", selectJobs+where+` ORDER BY id DESC LIMIT ?`, append(args, f.Bound())...)
	slices.Reverse(all)
	all = s.pending.over(all, func(u unwritten) bool { return f.Selects(u.job) && (f.Origin == "" || u.origin == f.Origin) })
	if limit := f.Bound(); limit >= 0 && len(all) > limit {
		all = all[len(all)-limit:]
	}
	return all, err
}

// jobConditions puts together the conditions that the filter has, so that
// SQLite can choose an index for them.
func jobConditions(f units.JobFilter) (where string, args []any) {
	var conditions []string
	add := func(set bool, condition string, values ...any) {
		if set {
			conditions = append(conditions, condition)
			args = append(args, values...)
		}
	}
	add(f.Run != 0, `run_id = ?`, f.Run)
	// Each + keeps SQLite from an index that would be a detour: most of the
	// history is of one context, and most of it has succeeded.
	const live, over = `phase IN ('pending', 'running')`, `phase NOT IN ('pending', 'running')`
	oneService := f.Context != "" && f.Service != ""
	add(f.Live, live)
	add(oneService, `context_name = ? AND service_name = ?`, f.Context, f.Service)
	add(f.Context != "" && !oneService, `+context_name = ?`, f.Context)
	add(f.Service != "" && !oneService, `service_name = ?`, f.Service)
	switch {
	case f.Phase == "":
	case oneService:
		add(true, `+phase = ?`, f.Phase)
	case f.Phase.Terminal():
		add(true, over+` AND phase = ?`, f.Phase)
	default:
		add(true, live+` AND phase = ?`, f.Phase)
	}
	add(f.Action != "", `action = ?`, f.Action)
	add(f.Origin != "", `EXISTS (SELECT 1 FROM runs WHERE runs.id = run_id AND origin = ?)`, f.Origin)
	if !f.Since.IsZero() {
		since := f.Since.UnixMicro()
		add(true, `id >= (SELECT min(id) FROM jobs INDEXED BY jobs_created WHERE created_at >= ?) AND created_at >= ?`, since, since)
	}
	// There must be one upper bound: of two, SQLite seeks to either.
	const before = `(SELECT max(id) + 1 FROM jobs INDEXED BY jobs_created WHERE created_at <= ?)`
	until := f.Until.UnixMicro()
	switch {
	case f.Until.IsZero():
		add(f.Before != 0, `id < ?`, f.Before)
	case f.Before == 0:
		add(true, `id < `+before+` AND created_at <= ?`, until, until)
	default:
		add(true, `id < min(?, `+before+`) AND created_at <= ?`, f.Before, until, until)
	}
	if conditions == nil {
		return "", nil
	}
	return ` WHERE ` + strings.Join(conditions, ` AND `), args
}
