package systemd

import (
	"context"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// pins are the units that the connection has pinned. systemd counts pins, and
// tells nobody how many there are: what is pinned once is enough.
type pins struct {
	mu sync.Mutex
	// units have the keeper that keeps them; without one they are pinned
	// themselves.
	units map[string]*keeper
	// releasing is held while a keeper is replaced by pins of its units.
	releasing sync.Mutex
}

func (p *pins) has(unit string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.units[unit]
	return ok
}

func (p *pins) set(unit string, pinned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.units == nil {
		p.units = map[string]*keeper{}
	}
	if pinned {
		p.units[unit] = nil
	} else {
		delete(p.units, unit)
	}
}

// made notes the pins that come with the making of units.
func (p *pins) made(us []transient.Unit) {
	for _, u := range us {
		if pinned(u) {
			p.set(u.Name, true)
		}
	}
}

// keep notes keepers, and which of their units they keep.
func (p *pins) keep(list []keeper, keeps func(unit string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.units == nil {
		p.units = map[string]*keeper{}
	}
	for i := range list {
		for _, name := range list[i].units {
			if _, already := p.units[name]; !already && keeps(name) {
				p.units[name] = &list[i]
			}
		}
	}
}

func (p *pins) keeperOf(unit string) (keeper, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.units[unit]; k != nil {
		return *k, true
	}
	return keeper{}, false
}

// drop notes that a keeper has gone, and that the units that it kept are
// pinned themselves.
func (p *pins) drop(k keeper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range k.units {
		if by := p.units[name]; by != nil && by.name == k.name {
			p.units[name] = nil
		}
	}
}

func (s *session) pin(ctx context.Context, unit string) error {
	if s.pins.has(unit) {
		return nil
	}
	err := s.call(ctx, "RefUnit", unit).Err
	if err == nil {
		s.pins.set(unit, true)
	}
	return err
}

// unpin takes back every pin on a unit, and that of its keeper.
func (s *session) unpin(ctx context.Context, unit string) error {
	if err := s.release(ctx, unit); err != nil {
		return err
	}
	s.pins.set(unit, false)
	return s.unref(ctx, unit)
}

// maxPins is more than we ever have on a unit. systemd counts them, and says that we
// have none left; but of a unit that somebody else has pinned, too, it never does.
const maxPins = 8

func (s *session) unref(ctx context.Context, unit string) error {
	for range maxPins {
		switch err := s.call(ctx, "UnrefUnit", unit).Err; {
		case isDBus(err, systemdName+".NotReferenced"), isDBus(err, noSuchUnit):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}
