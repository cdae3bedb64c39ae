package daemon

import (
	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/notes"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// runtimeNotes are those of the prober: hero_proc_probe(8), prepare.
type runtimeNotes struct{}

func (runtimeNotes) Units() ([]string, error) { return notes.Units(notes.Dir) }

func (runtimeNotes) Take(unit string) ([]units.Event, error) { return notes.Take(notes.Dir, unit) }
