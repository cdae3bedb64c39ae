// Package notes carries what the prober did before a service's start to the
// daemon, which reports it: also when the daemon comes later.
//
// What lives here are the files between the two: one for each unit, with what
// its last start has met. What never may: a decision.
package notes

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Dir is where the notes are. The daemon's unit has it: RuntimeDirectory=.
const Dir = "/run/hero_proc"

const suffix = ".json"

// maxSize bounds what is read: a note is a few lines.
const maxSize = 64 << 10

// note is an event, less what the daemon knows by itself.
type note struct {
	Code    units.EventCode `json:"code"`
	Message string          `json:"message"`
	Remedy  string          `json:"remedy,omitempty"`
	Time    time.Time       `json:"time"`
}

// Write leaves what the start of a unit has met, in place of what an earlier
// one has.
func Write(dir, unit string, events []units.Event) error {
	var list []note
	for _, e := range events {
		list = append(list, note{e.Code, e.Message, e.Remedy, e.Time})
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(dir, unit+suffix)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Take reads what was left for a unit, and takes it away. Nothing is no error.
func Take(dir, unit string) ([]units.Event, error) {
	ref, ok := units.ParseUnit(unit)
	if !ok {
		return nil, nil
	}
	name := filepath.Join(dir, unit+suffix)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSize || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New(name+" is no note"), os.Remove(name))
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(name); err != nil {
		return nil, err // it would be told again and again
	}
	var list []note
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	var events []units.Event
	for _, n := range list {
		info, ok := n.Code.Info()
		if !ok {
			continue // of another version
		}
		events = append(events, units.Event{
			Time: n.Time, Source: units.SourcePrepare, Code: n.Code, Level: info.Level, Service: ref.ID,
			Message: n.Message, Remedy: n.Remedy, Unit: unit,
		})
	}
	return events, nil
}

// Units are those that something was left for.
func Units(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if unit, ok := strings.CutSuffix(e.Name(), suffix); ok {
			names = append(names, unit)
		}
	}
	return names, err
}
