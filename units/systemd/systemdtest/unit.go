package systemdtest

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// How a process ended: sigaction(2), si_code.
const (
	exited = 1
	killed = 2
	dumped = 3
)

// end is the end of a process, and what systemd makes of it.
type end struct {
	code, status int32
	result       string
}

// unit is a loaded unit, or, with load not-found, one that another names.
type unit struct {
	name       string
	load       string
	properties map[string]dbus.Variant
	file       string
	pins       map[string]int // by unique name
	job        *job

	active, sub, result string
	said                string // StatusText
	invocation          [16]byte
	pid                 uint32
	code, status        int32
	restarts            uint32
	again               bool        // the next start is Restart='s
	starts              []time.Time // those that the start limit counts
	upSince, exitedAt   time.Time
	begunAt             time.Time
	changed             time.Time
}

// newUnit is a unit that another one names.
func newUnit(name string) *unit {
	return &unit{name: name, load: "not-found", active: "inactive", sub: "dead", result: "success", pins: make(map[string]int)}
}

func (u *unit) path() dbus.ObjectPath { return unitPath(u.name) }
func (u *unit) isSlice() bool         { return strings.HasSuffix(u.name, ".slice") }

// idle says that nothing of the unit is up or on its way.
func (u *unit) idle() bool { return u.active == "inactive" || u.active == "failed" }

func get[T any](u *unit, property string) T {
	v, _ := u.properties[property].Value().(T)
	return v
}

// needs says that u names other in one of the properties.
func (u *unit) needs(other *unit, properties ...string) bool {
	for _, p := range properties {
		if slices.Contains(get[[]string](u, p), other.name) {
			return true
		}
	}
	return false
}

// isAfter says that u comes after other where both have jobs.
func (u *unit) isAfter(other *unit) bool {
	return u.needs(other, "After") || other.needs(u, "Before")
}

// dependencies are the properties that name other units.
var dependencies = []string{"Requires", "Wants", "After", "Before", "Conflicts", "PartOf"}

// names are all units that u names.
func (u *unit) names() (names []string) {
	for _, p := range dependencies {
		names = append(names, get[[]string](u, p)...)
	}
	return names
}

// microseconds reads a duration; unset is the default.
func (u *unit) microseconds(property string, unset time.Duration) time.Duration {
	if _, ok := u.properties[property]; !ok {
		return unset
	}
	return time.Duration(get[uint64](u, property)) * time.Microsecond
}

// argv is a command, of ExecStart or ExecStartPost, a(sasb), or with Ex at its
// end, a(sasas); nil for none.
func (u *unit) argv(property string) []string {
	for _, p := range []string{property, property + "Ex"} {
		if commands := get[[][]any](u, p); len(commands) > 0 {
			argv, _ := commands[0][1].([]string)
			return argv
		}
	}
	return nil
}

// succeeds says that a status is one of SuccessExitStatus=, (aiai).
func (u *unit) succeeds(status int32) bool {
	lists := get[[]any](u, "SuccessExitStatus")
	if len(lists) == 0 {
		return false
	}
	statuses, _ := lists[0].([]int32)
	return slices.Contains(statuses, status)
}

// loadUnit makes a unit of a definition.
func (s *Systemd) loadUnit(name string, properties map[string]dbus.Variant, client string) *unit {
	u := s.unit(name)
	u.load, u.properties = "loaded", properties
	if s.spoiled[name] {
		u.load = "bad-setting"
	}
	u.file = filepath.Join(s.files, name)
	if err := os.WriteFile(u.file, nil, 0o600); err != nil {
		s.t.Errorf("cannot write a unit's file: %v", err)
	}
	if get[bool](u, "AddRef") {
		u.pins[client]++
	}
	for _, other := range u.names() {
		s.unit(other)
	}
	return u
}

// unit is the unit of that name; it is there as not-found from now on.
func (s *Systemd) unit(name string) *unit {
	u := s.units[name]
	if u == nil {
		u = newUnit(name)
		if s.masked[name] {
			u.load = "masked"
		}
		s.units[name] = u
		s.emit(managerPath, managerName+".UnitNew", u.name, u.path())
	}
	return u
}

// collect forgets the units that are idle and that nobody refers to: no
// client, no job, and no unit that stays.
func (s *Systemd) collect() {
	stays := make(map[string]bool)
	var keep func(u *unit)
	keep = func(u *unit) {
		if u == nil || stays[u.name] {
			return
		}
		stays[u.name] = true
		for _, name := range u.names() {
			keep(s.units[name])
		}
	}
	for _, u := range s.units {
		failed := u.active == "failed" && get[string](u, "CollectMode") == "inactive-or-failed"
		if u.active != "inactive" && !failed || u.job != nil || len(u.pins) > 0 {
			keep(u)
		}
	}
	for _, u := range s.sorted() {
		if !stays[u.name] {
			delete(s.units, u.name)
			_ = os.Remove(u.file) // may be gone, or never have been
			s.emit(managerPath, managerName+".UnitRemoved", u.name, u.path())
		}
	}
}

// set moves a unit to another state.
func (s *Systemd) set(u *unit, active, sub string) {
	u.active, u.sub, u.changed = active, sub, time.Now()
	if active == "active" && sub != "exited" {
		u.upSince = u.changed
	}
	changed := map[string]dbus.Variant{"ActiveState": dbus.MakeVariant(active), "SubState": dbus.MakeVariant(sub)}
	s.emit(u.path(), busName+".Properties.PropertiesChanged", systemdName+".Unit", changed, []string{})
}

// later does something unless the unit has been started anew meanwhile.
func (s *Systemd) later(u *unit, d time.Duration, f func()) {
	invocation := u.invocation
	time.AfterFunc(d, func() {
		s.do(func() {
			if s.units[u.name] == u && u.invocation == invocation {
				f()
			}
		})
	})
}

// begin starts a unit. It ends in up, in exit, or goes on for a while.
func (s *Systemd) begin(u *unit) {
	if u.isSlice() {
		s.set(u, "active", "active")
		s.finish(u, "done")
		return
	}
	again := u.again
	u.again = false
	if s.limitHit(u) {
		if u.result == "success" { // what it failed with before says more
			u.result = "start-limit-hit"
		}
		s.set(u, "failed", "failed")
		s.finish(u, "failed")
		return
	}
	if again {
		u.restarts++
	} else {
		u.restarts = 0
	}
	rand.Read(u.invocation[:])
	s.lastPID++
	u.pid, u.code, u.status, u.result, u.exitedAt, u.said = s.lastPID, 0, 0, "success", time.Time{}, ""
	u.begunAt = time.Now()
	s.set(u, "activating", "start")
	s.write(u, units.EntryStarting, jobType(startJob))

	argv, kind := u.argv("ExecStart"), get[string](u, "Type")
	if argv[0] == transient.Prober {
		argv = s.probes(u, argv)
	}
	program := filepath.Base(argv[0])
	if timeout := u.microseconds("TimeoutStartUSec", 90*time.Second); kind != "oneshot" || u.properties["TimeoutStartUSec"].Value() != nil {
		s.later(u, timeout, func() {
			if u.sub == "start" {
				s.exit(u, end{killed, 15, "timeout"})
			}
		})
	}
	switch {
	case s.hung[u.name]:
	case strings.HasPrefix(argv[0], "/nonexistent"):
		s.exit(u, end{exited, 203, "exit-code"})
	case program == "false":
		s.exit(u, end{exited, 1, "exit-code"})
	case program == "true":
		if kind == "exec" {
			s.up(u)
		}
		s.exit(u, end{exited, 0, "success"})
	default:
		if program == "sleep" && len(argv) > 1 {
			if seconds, err := strconv.ParseFloat(argv[1], 64); err == nil {
				s.later(u, time.Duration(seconds*float64(time.Second)), func() {
					if u.pid != 0 {
						s.exit(u, end{exited, 0, "success"})
					}
				})
			}
		}
		if kind == "exec" || kind == "notify" && program != "sleep" {
			s.up(u)
		}
	}
}

// limitHit counts a start: systemd.unit(5), StartLimitIntervalSec=.
func (s *Systemd) limitHit(u *unit) bool {
	interval, burst := u.microseconds("StartLimitIntervalUSec", 10*time.Second), 5
	if n := get[uint32](u, "StartLimitBurst"); n > 0 {
		burst = int(n)
	}
	u.starts = slices.DeleteFunc(u.starts, func(t time.Time) bool { return time.Since(t) >= interval })
	if len(u.starts) >= burst {
		return true
	}
	u.starts = append(u.starts, time.Now())
	return false
}

// up is a start whose command has come as far as the unit's type asks.
func (s *Systemd) up(u *unit) {
	if u.sub == "start" && u.argv("ExecStartPost") != nil {
		s.post(u)
		return
	}
	s.set(u, "active", "running")
	s.write(u, units.EntryStarted, jobType(startJob))
	s.finish(u, "done")
	// No program here sends WATCHDOG=1.
	if d := u.microseconds("WatchdogUSec", 0); d > 0 {
		s.later(u, d, func() {
			if u.pid != 0 {
				s.exit(u, end{dumped, 6, "watchdog"})
			}
		})
	}
}

// exit is the end of a unit's process.
func (s *Systemd) exit(u *unit, e end) {
	starting := u.sub == "start"
	if starting && e.result == "success" && get[string](u, "Type") == "notify" {
		e.result = "protocol"
	}
	if e.code == exited && u.succeeds(e.status) {
		e.result = "success"
	}
	u.pid, u.code, u.status, u.result, u.exitedAt = 0, e.code, e.status, e.result, time.Now()
	s.writeExit(u)
	if u.sub != "start-post" { // which is waited for all the same
		s.settle(u, starting)
	}
}

// settle moves a unit without a process to where its result says.
func (s *Systemd) settle(u *unit, starting bool) {
	switch {
	case u.result != "success":
		s.set(u, "failed", "failed")
		s.judge(u)
	case get[bool](u, "RemainAfterExit"):
		s.set(u, "active", "exited")
	default:
		s.set(u, "inactive", "dead")
		s.judge(u)
	}
	if starting {
		if u.result == "success" {
			s.write(u, units.EntryStarted, jobType(startJob))
			s.finish(u, "done")
		} else {
			s.finish(u, "failed")
		}
	}
	restart := get[string](u, "Restart")
	if u.idle() && u.job == nil && (restart == "always" || restart == "on-failure" && u.result != "success") {
		s.set(u, "activating", "auto-restart")
		s.later(u, u.microseconds("RestartUSec", 100*time.Millisecond), func() {
			if u.sub == "auto-restart" {
				s.write(u, units.EntryRestart)
				if _, err := s.queue(u, restartJob, "replace"); err == nil {
					u.again = true
				}
			}
		})
	}
}

// halt stops a unit. A failed one stays so.
func (s *Systemd) halt(u *unit, kind string) {
	down := u.idle()
	if !down && u.sub != "auto-restart" {
		s.write(u, units.EntryStopping, jobType(stopJob))
		defer func() {
			s.judge(u)
			s.write(u, units.EntryStopped, jobType(kind))
		}()
	} else if !down {
		s.write(u, units.EntryStopped, jobType(kind))
	}
	if u.pid != 0 {
		u.pid, u.code, u.status, u.exitedAt = 0, killed, 15, time.Now()
	}
	switch {
	case u.sub == "start-post" && u.argv("ExecStartPost")[0] != transient.Prober: // it ends by SIGTERM, and with failure
		u.result = "signal"
		s.set(u, "failed", "failed")
	case !u.idle():
		s.set(u, "inactive", "dead")
	}
}
