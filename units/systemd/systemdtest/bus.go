package systemdtest

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	busName     = "org.freedesktop.DBus"
	systemdName = "org.freedesktop.systemd1"
	managerName = systemdName + ".Manager"
	managerPath = dbus.ObjectPath("/org/freedesktop/systemd1")
	unitsPath   = managerPath + "/unit/"
)

// connect takes the name on the bus, from an older connection if there is one.
func (s *Systemd) connect() error {
	conn, err := s.bus.Dial(s.ctx, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 64)
	conn.Signal(signals)
	err = conn.AddMatchSignal(dbus.WithMatchSender(busName), dbus.WithMatchMember("NameOwnerChanged"))
	if err == nil {
		err = conn.ExportMethodTable(s.methods(), managerPath, managerName)
	}
	if err == nil {
		properties := map[string]any{"Get": s.getProperty, "GetAll": s.getAll}
		err = conn.ExportSubtreeMethodTable(properties, managerPath, busName+".Properties")
	}
	if err == nil {
		_, err = conn.RequestName(systemdName, dbus.NameFlagAllowReplacement|dbus.NameFlagReplaceExisting)
	}
	if err != nil {
		conn.Close()
		return err
	}
	s.conn = conn
	s.serving.Add(1)
	go s.serve(conn, signals)
	return nil
}

// serve watches clients come and go. When the bus has gone, so have all
// clients; it tries to come back until the test ends.
func (s *Systemd) serve(conn *dbus.Conn, signals <-chan *dbus.Signal) {
	defer s.serving.Done()
	for signal := range signals {
		var name, before, after string
		if signal.Name == busName+".NameOwnerChanged" && dbus.Store(signal.Body, &name, &before, &after) == nil && after == "" {
			s.do(func() { s.left(name) })
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != conn {
		return // replaced by a newer one
	}
	for _, u := range s.units {
		clear(u.pins)
	}
	clear(s.subscribers)
	s.collect()
	for s.ctx.Err() == nil && s.connect() != nil {
		s.mu.Unlock()
		pause(s.ctx, 5*time.Millisecond)
		s.mu.Lock()
	}
}

func pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// left is called when a connection has gone.
func (s *Systemd) left(client string) {
	delete(s.subscribers, client)
	for _, u := range s.units {
		delete(u.pins, client)
	}
}

// emit sends a signal. systemd sends none unless somebody has subscribed, but
// for the end of a job, which its client is told anyway.
func (s *Systemd) emit(from dbus.ObjectPath, signal string, values ...any) {
	if len(s.subscribers) > 0 || signal == managerName+".JobRemoved" {
		_ = s.conn.Emit(from, signal, values...) // the bus may be away
	}
}

// emitAll says the same of all units.
func (s *Systemd) emitAll(signal string) {
	for _, u := range s.sorted() {
		s.emit(managerPath, managerName+"."+signal, u.name, u.path())
	}
}

// unitPath is a unit's object path: all but letters and digits is escaped.
func unitPath(name string) dbus.ObjectPath {
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteString(string(unitsPath))
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		if letter || digit && i > 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'_', hex[c>>4], hex[c&15]})
		}
	}
	return dbus.ObjectPath(b.String())
}

// unitName is the reverse. An escaped name has no % of its own.
func unitName(path dbus.ObjectPath) (string, bool) {
	label, ok := strings.CutPrefix(string(path), string(unitsPath))
	name, err := url.PathUnescape(strings.ReplaceAll(label, "_", "%"))
	return name, ok && err == nil
}

func failed(name, message string) *dbus.Error {
	return dbus.NewError(name, []any{message})
}
