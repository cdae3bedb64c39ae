package supervisor

import (
	"context"
	"fmt"
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

// readChanged reads what is listed: in full where it is not as the live jobs
// have it, and where there is no job. Most of what runs after a restart of the
// daemon is as it was, and a reading in full takes ten times as long as the
// identity that shows so. loaded is all that systemd has; seen is what the
// history has to look at.
func (s *Supervisor) readChanged(ctx context.Context, listed []units.Unit, live []units.Job) (loaded map[string]units.Unit, seen []units.Unit, err error) {
	loaded = make(map[string]units.Unit, len(listed))
	if err := s.Systemd.Identify(ctx, listed); err != nil {
		return loaded, nil, fmt.Errorf("cannot read the units: %w", err)
	}
	jobs := map[string][]units.Job{}
	for _, j := range live {
		jobs[j.Unit] = append(jobs[j.Unit], j)
	}
	var names []string
	for _, l := range listed {
		switch {
		case !l.Loaded():
		case plan.Unchanged(jobs[l.Name], l):
			j := jobs[l.Name][0]
			l.MainPID, l.ActiveSince = j.MainPID, j.Started
			loaded[l.Name] = l
		default:
			names = append(names, l.Name)
		}
	}
	full := make([]units.Unit, len(names))
	err = together(names, func(i int, name string) (err error) {
		if full[i], err = s.Systemd.Unit(ctx, name); err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return loaded, nil, err
	}
	for _, u := range full {
		if !u.Loaded() {
			continue
		}
		loaded[u.Name] = u
		if len(jobs[u.Name]) > 0 || s.registered(u.Name) {
			seen = append(seen, u)
		}
	}
	for name, u := range loaded {
		s.setDigest(name, u.Digest)
	}
	return loaded, seen, nil
}

// pinTogether pins what the steps leave as it is. What can't be pinned is for
// the step itself to deal with: pinning again what is pinned does nothing.
func (s *Supervisor) pinTogether(ctx context.Context, steps []plan.BootStep, loaded map[string]units.Unit) {
	var names []string
	for _, step := range steps {
		if step.Treatment != plan.Load {
			names = append(names, loadedUnits(step.Service, loaded)...)
		}
	}
	_ = together(names, func(_ int, name string) error { return s.Systemd.Pin(ctx, name) })
}
