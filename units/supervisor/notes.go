package supervisor

import "forge.ourworld.tf/lhumina_code/hero_proc/units"

// reportNoted reports what was met before units were started. Only those that
// declare something are looked at.
func (s *Supervisor) reportNoted(seen []units.Unit) {
	for _, u := range seen {
		if service, i, ok := s.actionOf(u.Name); ok && service.Actions[i].Any() {
			s.takeNote(u.Name)
		}
		if u.Active == "active" || !u.Loaded() {
			s.setNoted(u.Name, "")
		}
	}
}

// setNoted remembers what was reported last of a unit's starts, "" for nothing,
// and says whether that is news. Of what is not registered nothing is kept.
func (s *Supervisor) setNoted(unit, message string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.noted[unit]
	if _, _, ok := s.actionOf(unit); ok && message != "" {
		s.noted[unit] = message
	} else {
		delete(s.noted, unit)
	}
	return before != message
}

// reportAllNoted reports what was met while nobody looked.
func (s *Supervisor) reportAllNoted() {
	names, err := s.Notes.Units()
	if err != nil {
		s.Logger.Warn("cannot look for what was met before services were started, ignoring: the journal has it", "error", err)
	}
	for _, name := range names {
		s.takeNote(name)
	}
}

func (s *Supervisor) takeNote(unit string) {
	events, err := s.Notes.Take(unit)
	if err != nil {
		s.Logger.Warn("cannot read what was met before a unit was started, ignoring: the journal has it", "unit", unit, "error", err)
	}
	for _, e := range events {
		if s.setNoted(unit, e.Message) { // systemd tries again and again
			s.report(e)
		}
	}
}
