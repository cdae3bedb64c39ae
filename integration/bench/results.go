package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// replace puts the rows of a part in the place of those that there are, in the
// order of the parts.
func (r *report) replace(part string, rows []row) {
	r.Rows = slices.DeleteFunc(r.Rows, func(old row) bool { return old.Part == part })
	order := names(parts)
	at := slices.IndexFunc(r.Rows, func(old row) bool { return slices.Index(order, old.Part) > slices.Index(order, part) })
	if at < 0 {
		at = len(r.Rows)
	}
	r.Rows = slices.Insert(r.Rows, at, rows...)
}

// load adds what an earlier run has left in the file. Figures of different
// machines do not belong in one table.
func (r *report) load(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var old report
	if err := json.Unmarshal(text, &old); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if was, is := old.place, r.place; was != is {
		return fmt.Errorf("%s has the results of another place or of other settings: %+v; this is %+v; take another file", file, was, is)
	}
	r.Load, r.Rows = max(r.Load, old.Load), old.Rows
	return nil
}

// save keeps the results for another run.
func (r *report) save(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(r.json(f), f.Close())
}
