package systemd

import (
	"context"
	"sync"

	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// pins are the units that the connection has pinned. systemd counts pins, and
// tells nobody how many there are: what is pinned once is enough.
type pins struct {
	mu    sync.Mutex
	units map[string]bool
}

func (p *pins) has(unit string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.units[unit]
}

func (p *pins) set(unit string, pinned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.units == nil {
		p.units = map[string]bool{}
	}
	if pinned {
		p.units[unit] = true
	} else {
		delete(p.units, unit)
	}
}

// made notes the pins that come with the making of units.
func (p *pins) made(us []transient.Unit) {
	for _, u := range us {
		for _, property := range u.Properties {
			if property.Name == "AddRef" && property.Value == true {
				p.set(u.Name, true)
			}
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
