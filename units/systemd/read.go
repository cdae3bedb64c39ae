package systemd

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

const noSuchUnit = systemdName + ".NoSuchUnit"

// Units lists every unit that systemd has and that can be hero_proc's, in the
// order of their names, with what a listing tells of them. One that is only
// named by another's dependency is there too: its Load is "not-found".
func (m *Manager) Units(ctx context.Context) ([]units.Unit, error) {
	return m.list(ctx, nil, units.UnitPattern)
}

// Broken is what [Manager.Units] tells of the units that systemd has and can't
// use. systemd answers with these alone.
func (m *Manager) Broken(ctx context.Context) ([]units.Unit, error) {
	// Every load state of systemd(1) but "loaded" and "not-found".
	return m.list(ctx, []string{"stub", "bad-setting", "error", "merged", "masked"}, units.UnitPattern)
}

// UnitsOf is what [Manager.Units] tells of the units of one service, those of
// older definitions too.
func (m *Manager) UnitsOf(ctx context.Context, id units.ID) ([]units.Unit, error) {
	return m.list(ctx, nil, id.Unit(), id.ActionUnit("*"))
}

func (m *Manager) list(ctx context.Context, states []string, patterns ...string) (list []units.Unit, err error) {
	err = m.call(ctx, "list units", func(ctx context.Context, s *session) error {
		list, err = s.list(ctx, states, patterns)
		return err
	})
	list = slices.DeleteFunc(list, func(u units.Unit) bool {
		_, ours := units.ParseUnit(u.Name)
		return !ours
	})
	slices.SortFunc(list, func(a, b units.Unit) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// list takes the rows as they have come, see all: ListUnitsByPatterns,
// org.freedesktop.systemd1(5), a(ssssssouso), which are name, description, load,
// active and sub state, followed unit, path, and its job's number, type and path.
func (s *session) list(ctx context.Context, states, patterns []string) ([]units.Unit, error) {
	call := s.call(ctx, "ListUnitsByPatterns", append([]string{}, states...), patterns)
	if call.Err != nil {
		return nil, call.Err
	}
	return listed(call.Body)
}

func listed(body []any) ([]units.Unit, error) {
	var rows [][]any
	if len(body) == 1 {
		rows, _ = body[0].([][]any)
	}
	if rows == nil {
		return nil, fmt.Errorf("systemd lists units as %q; want rows", dbus.SignatureOf(body...))
	}
	list := make([]units.Unit, len(rows))
	for i, row := range rows {
		u, ok := inRow(row)
		if !ok {
			return nil, fmt.Errorf("systemd lists a unit as %v", row)
		}
		list[i] = u
	}
	return list, nil
}

func inRow(row []any) (u units.Unit, ok bool) {
	if len(row) != 10 {
		return u, false
	}
	text := func(i int) string { return strings.Clone(at[string](row, i)) } // see word
	u = units.Unit{Name: text(0), Load: text(2), Active: text(3), Sub: text(4)}
	u.JobID, ok = row[7].(uint32)
	return u, ok && u.Name != "" && u.Load != "" && u.Active != ""
}

// at is zero where a row is shorter, or has something else there.
func at[T any](row []any, i int) (v T) {
	if i < len(row) {
		v, _ = row[i].(T)
	}
	return v
}

// FileState is that of the unit's file on disk (masked, static, …), or "" when
// there is none: GetUnitFileState, org.freedesktop.systemd1(5).
func (m *Manager) FileState(ctx context.Context, name string) (state string, err error) {
	err = m.call(ctx, "look for the file of "+name, func(ctx context.Context, s *session) error {
		err := s.call(ctx, "GetUnitFileState", name).Store(&state)
		if isDBus(err, "org.freedesktop.DBus.Error.FileNotFound") || isDBus(err, noSuchUnit) || isDBus(err, "System.Error.ENOENT") {
			return nil
		}
		return err
	})
	return state, err
}

// Unit reads all of one unit. One that systemd does not have is no error: its
// Load is "not-found".
func (m *Manager) Unit(ctx context.Context, name string) (units.Unit, error) {
	unit := units.Unit{Name: name, Load: "not-found", Active: "inactive", Sub: "dead"}
	properties, err := m.properties(ctx, name)
	if properties != nil {
		unit = unitOf(name, properties)
	}
	return unit, err
}

// StatusText is what the unit's program, or the prober that waits for it, has
// said last of itself: sd_notify(3), STATUS=. systemd keeps it until the next
// start.
func (m *Manager) StatusText(ctx context.Context, name string) (string, error) {
	properties, err := m.properties(ctx, name)
	return word(properties, "StatusText"), err
}

// properties are all of a unit's, nil when systemd does not have it.
func (m *Manager) properties(ctx context.Context, name string) (properties map[string]dbus.Variant, err error) {
	err = m.call(ctx, "read "+name, func(ctx context.Context, s *session) error {
		// Reading the properties of a unit that isn't there makes systemd
		// load it, with a signal UnitRemoved, which would make us read it
		// again, and so on for ever. GetUnit does not. What is pinned is there.
		pinned := s.pins.has(name)
		if !pinned {
			var path dbus.ObjectPath
			if err := s.call(ctx, "GetUnit", name).Store(&path); isDBus(err, noSuchUnit) {
				return nil
			} else if err != nil {
				return err
			}
		}
		properties, err = s.all(ctx, name)
		if pinned && word(properties, "LoadState") == "not-found" {
			s.pins.set(name, false)
		}
		return err
	})
	return properties, err
}

// all are all properties of a unit, or those that are read, as the connection has
// it. They are taken as they have come: Store, and go-systemd after it, would make
// another map of them.
func (s *session) all(ctx context.Context, name string) (properties map[string]dbus.Variant, err error) {
	const getAll = "org.freedesktop.DBus.Properties.GetAll"
	// "" is all interfaces: one answer of one moment.
	call := s.conn.Object(systemdName, unitPath(name)).CallWithContext(ctx, getAll, dbus.FlagNoAutoStart, "")
	if call.Err != nil {
		return nil, call.Err
	}
	if len(call.Body) == 1 {
		properties, _ = call.Body[0].(map[string]dbus.Variant)
	}
	if properties == nil {
		return nil, fmt.Errorf("systemd answered %q to %s; want a{sv}", dbus.SignatureOf(call.Body...), getAll)
	}
	return properties, nil
}

// unitOf makes a unit of its properties: org.freedesktop.systemd1(5), Unit
// and Service.
func unitOf(name string, p map[string]dbus.Variant) units.Unit {
	code, status := exit(p)
	return units.Unit{
		Name:         name,
		Load:         word(p, "LoadState"),
		Active:       word(p, "ActiveState"),
		Sub:          word(p, "SubState"),
		JobID:        jobID(p),
		Result:       word(p, "Result"),
		InvocationID: hex.EncodeToString(get[[]byte](p, "InvocationID")),
		MainPID:      get[uint32](p, "MainPID"),
		ExitCode:     code,
		ExitStatus:   status,
		Restarts:     get[uint32](p, "NRestarts"),
		ActiveSince:  timestamp(p, "ActiveEnterTimestamp"),
		BegunAt:      begun(p),
		ExitedAt:     timestamp(p, "ExecMainExitTimestamp"),
		ChangedAt:    timestamp(p, "StateChangeTimestamp"),
		Digest:       transient.DigestOf(get[[][]byte](p, "LogExtraFields")),
		CPU:          time.Duration(count(p, "CPUUsageNSec").N),
		MemoryPeak:   count(p, "MemoryPeak"), // 254+
		IORead:       count(p, "IOReadBytes"),
		IOWritten:    count(p, "IOWriteBytes"),
	}
}

// setupFailed is the first exit status by which systemd itself says why it could
// not execute something: systemd.exec(5), "Process Exit Codes".
const setupFailed = 200

// exit is how the main process has ended. Where systemd could not so much as
// execute what prepares it, there is none, and the reason is the same.
func exit(p map[string]dbus.Variant) (code, status int32) {
	code, status = get[int32](p, "ExecMainCode"), get[int32](p, "ExecMainStatus")
	if get[string](p, "Result") != "exit-code" || status != 0 {
		return code, status
	}
	for _, command := range preparations(p) {
		c, _ := command[8].(int32)
		if s, _ := command[9].(int32); s >= setupFailed {
			return c, s
		}
	}
	return code, status
}

// begun is when the main process was executed, or what prepares it, which comes
// first and may be all that ever is.
func begun(p map[string]dbus.Variant) time.Time {
	for _, command := range preparations(p) {
		if µs, _ := command[3].(uint64); µs != 0 {
			return time.UnixMicro(int64(µs))
		}
	}
	return timestamp(p, "ExecMainStartTimestamp")
}

// preparations are the commands of ExecStartPre=, a(sasbttttuii): path, argv,
// whether a failure is ignored, start and exit by CLOCK_REALTIME and
// CLOCK_MONOTONIC each, PID, code, status.
func preparations(p map[string]dbus.Variant) [][]any {
	return slices.DeleteFunc(get[[][]any](p, "ExecStartPre"), func(command []any) bool { return len(command) != 10 })
}

// majorVersion reads the Manager's Version: "252.39-1~deb12u2", "257~rc1",
// "v256.4". It is 0 for anything else.
func majorVersion(text string) int {
	text = strings.TrimPrefix(text, "v")
	if end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		text = text[:end]
	}
	major, _ := strconv.Atoi(text)
	return major
}
