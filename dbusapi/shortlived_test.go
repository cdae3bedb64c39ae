package dbusapi

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// jobsOnly knows jobs 1 to 3, of which 2 runs; all else panics.
type jobsOnly struct{ Controller }

func (jobsOnly) Job(_ context.Context, id int64) (units.Job, error) {
	phases := map[int64]units.Phase{1: units.PhaseFailed, 2: units.PhaseRunning, 3: units.PhaseSucceeded}
	if phases[id] == "" {
		return units.Job{}, units.Errorf(units.CodeNoSuchJob, "there is no job %d", id)
	}
	return units.Job{ID: id, Service: units.ID{Context: "core", Name: "a"}, Phase: phases[id]}, nil
}

// Who waits for the signals of a job hears of it, however short it was.
func TestShortJobsAreTold(t *testing.T) {
	t.Parallel()
	teller := &teller{Server: New(Options{Controller: jobsOnly{}}), told: picture{wire.JobPath(3): {}}}
	var got []string
	for _, s := range teller.shortLived(t.Context(), []int64{1, 2, 3, 4}, picture{}) {
		got = append(got, fmt.Sprint(s.name, " ", s.body[0]))
	}
	want := []string{
		wire.ObjectManagerInterface + ".InterfacesAdded " + string(wire.JobPath(1)),
		wire.ObjectManagerInterface + ".InterfacesRemoved " + string(wire.JobPath(1)),
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
