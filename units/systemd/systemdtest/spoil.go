package systemdtest

// Mask masks a unit, as an administrator does.
func (s *Systemd) Mask(name string) {
	s.do(func() {
		s.masked[name] = true
		if u := s.units[name]; u != nil && u.file == "" {
			u.load = "masked"
		}
	})
}

// Spoil has a drop-in make a unit unusable from when it is loaded.
func (s *Systemd) Spoil(name string) { s.do(func() { s.spoiled[name] = true }) }

// DaemonReload reloads, as an administrator does.
func (s *Systemd) DaemonReload() { _ = s.reload() }
