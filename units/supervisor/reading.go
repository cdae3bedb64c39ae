package supervisor

import (
	"context"
	"maps"
	"slices"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// atOnce is how many units are read, or pinned, at a time. systemd does one
// after the other all the same; what this saves is the way there and back.
const atOnce = 16

// together does something for each name, several at a time, and returns the
// first error.
func together(names []string, do func(i int, name string) error) error {
	var (
		all  sync.WaitGroup
		once sync.Once
		err  error
	)
	next := make(chan int)
	for range min(atOnce, len(names)) {
		all.Go(func() {
			for i := range next {
				if e := do(i, names[i]); e != nil {
					once.Do(func() { err = e })
				}
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	all.Wait()
	return err
}

// readAll reads units in full. One that can't be read is left out, and said so;
// the error is that systemd could not be asked.
func (s *Supervisor) readAll(ctx context.Context, names []string) ([]units.Unit, error) {
	read := make([]units.Unit, len(names))
	err := together(names, func(i int, name string) (err error) {
		if read[i], err = s.Systemd.Unit(ctx, name); unreachable(err) {
			return err
		} else if err != nil {
			s.Logger.Debug("cannot read a unit, ignoring: its next change, or the next resync, will", "unit", name, "error", err)
			read[i].Name = ""
		}
		return nil
	})
	return slices.DeleteFunc(read, func(u units.Unit) bool { return u.Name == "" }), err
}

// readChanged reads what is listed: in full where it is not as the live jobs
// have it. Most of what is there after a restart of the daemon, or after a boot,
// is as it was, and a reading in full takes ten times as long as the identity
// that shows so. all is what is there, seen what was read in full.
func (s *Supervisor) readChanged(ctx context.Context, listed []units.Unit, live []units.Job) (all, seen []units.Unit, err error) {
	if err := s.Systemd.Identify(ctx, listed); err != nil {
		return nil, nil, err
	}
	jobs := map[string][]units.Job{}
	for _, j := range live {
		jobs[j.Unit] = append(jobs[j.Unit], j)
	}
	var names []string
	for _, l := range listed {
		switch {
		case !l.Loaded():
		case plan.Unchanged(jobs[l.Name], l) && !s.history.isBooting(l.Name):
			// What it has of its activation, the job has too.
			for _, j := range jobs[l.Name] {
				l.MainPID, l.ActiveSince = j.MainPID, j.Started
			}
			all = append(all, l)
		default:
			names = append(names, l.Name)
		}
	}
	seen, err = s.readAll(ctx, names)
	seen = slices.DeleteFunc(seen, func(u units.Unit) bool { return !u.Loaded() })
	return append(all, seen...), seen, err
}

// manyUnits is from how many on it pays to list all units first.
const manyUnits = 32

// readMarked reads the units that systemd's signals have marked. read is what
// is known of all of them now, seen what the history has to look at.
func (s *Supervisor) readMarked(ctx context.Context, names []string) (read, seen []units.Unit, err error) {
	if len(names) < manyUnits {
		read, err = s.readAll(ctx, names)
		return read, read, err
	}
	listed, err := s.Systemd.Units(ctx)
	if err != nil {
		return nil, nil, err
	}
	live, err := s.Store.LiveJobs(ctx)
	if err != nil {
		s.Logger.Error("cannot read the live jobs, ignoring: all units are read in full", "error", err)
	}
	marked := map[string]bool{}
	for _, name := range names {
		marked[name] = true
	}
	listed = slices.DeleteFunc(listed, func(u units.Unit) bool { return !marked[u.Name] })
	if read, seen, err = s.readChanged(ctx, listed, live); err != nil {
		return nil, nil, err
	}
	for _, u := range read {
		delete(marked, u.Name)
	}
	gone, err := s.readAll(ctx, slices.Sorted(maps.Keys(marked)))
	return append(read, gone...), append(seen, gone...), err
}
