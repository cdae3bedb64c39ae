package systemd

import (
	"context"
	"fmt"
	"slices"

	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// To pin a unit systemd asks the bus whether its owner is still there, waits
// for the answer, and takes a match rule: a thousand pins hold it up for longer
// than the thousand units do. But a unit stays loaded, too, for as long as
// another loaded one names it. So many units are kept by a few keepers: slices
// that are pinned, never started, and After= the units. After= alone does
// nothing as long as nothing starts them.

// keeperSize is how many units a keeper has. To take one of them away the
// others are pinned each by itself, as a keeper can't be changed.
const keeperSize = 32

// keeper keeps its units loaded.
type keeper struct {
	name  string
	units []string
}

// keepers are new ones for the units.
func (s *session) keepers(names []string) (list []keeper) {
	for chunk := range slices.Chunk(names, keeperSize) {
		// No dash, which would make it a part of another slice.
		name := fmt.Sprintf("hero_proc_keep%d_%d.slice", s.begun.UnixNano(), s.made.Add(1))
		list = append(list, keeper{name, slices.Clone(chunk)})
	}
	return list
}

func (k keeper) unit() transient.Unit {
	return transient.Unit{Name: k.name, Properties: []transient.Property{
		{Name: "Description", Value: "Keeps services of hero_proc loaded"},
		{Name: "AddRef", Value: true},
		{Name: "After", Value: k.units},
	}}
}

// keptTogether is a set whose units are kept by keepers, where it pins many.
func (s *session) keptTogether(set transient.Set) (transient.Set, []keeper) {
	var names []string
	for _, u := range set.Aux {
		if pinned(u) {
			names = append(names, u.Name)
		}
	}
	if len(names) <= fewUnits {
		return set, nil
	}
	aux := make([]transient.Unit, len(set.Aux))
	for i, u := range set.Aux {
		u.Properties = slices.DeleteFunc(slices.Clone(u.Properties), func(p transient.Property) bool { return p.Name == "AddRef" })
		aux[i] = u
	}
	list := s.keepers(names)
	for _, k := range list {
		aux = append(aux, k.unit())
	}
	return transient.Set{Main: set.Main, Aux: aux}, list
}

func pinned(u transient.Unit) bool {
	return slices.ContainsFunc(u.Properties, func(p transient.Property) bool { return p.Name == "AddRef" && p.Value == true })
}

// PinAll pins those of the units that are loaded, as Pin does each.
func (m *Manager) PinAll(ctx context.Context, names []string) error {
	return m.call(ctx, "pin units", func(ctx context.Context, s *session) error { return s.pinAll(ctx, names) })
}

func (s *session) pinAll(ctx context.Context, names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), s.pins.has)
	if len(names) <= fewUnits {
		for _, name := range names {
			if err := s.pin(ctx, name); err != nil && !isDBus(err, noSuchUnit) {
				return err
			}
		}
		return nil
	}
	list := s.keepers(names)
	set := transient.BootSet(fmt.Sprintf("hero_proc_pin%d_%d.slice", s.begun.UnixNano(), s.made.Add(1)), nil, nil)
	for _, k := range list {
		set.Aux = append(set.Aux, k.unit())
	}
	if err := s.makeAll(ctx, set, nil); err != nil {
		return err
	}
	// A unit that went meanwhile is there now because it is named: it has no
	// definition, and is not pinned.
	there, err := s.loaded(ctx, patterns(names))
	if err != nil {
		return err
	}
	loaded := make(map[string]bool, len(there))
	for _, u := range there {
		loaded[u.Name] = true
	}
	s.pins.keep(list, func(name string) bool { return loaded[name] })
	return nil
}

// release takes a unit from its keeper, if it has one. The keeper goes, and
// what else it keeps is pinned.
func (s *session) release(ctx context.Context, unit string) error {
	s.pins.releasing.Lock()
	defer s.pins.releasing.Unlock()
	k, ok := s.pins.keeperOf(unit)
	if !ok {
		return nil
	}
	for _, other := range k.units {
		if other == unit {
			continue
		}
		if err := s.call(ctx, "RefUnit", other).Err; err != nil && !isDBus(err, noSuchUnit) {
			return err
		}
	}
	s.pins.drop(k)
	return s.unref(ctx, k.name)
}
