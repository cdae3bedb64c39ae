package systemdtest

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// methods is the part of org.freedesktop.systemd1.Manager that there is.
func (s *Systemd) methods() map[string]any {
	return map[string]any{
		"Subscribe":           s.subscribe,
		"ListUnitsByPatterns": s.listUnitsByPatterns,
		"GetUnit":             s.getUnit,
		"GetUnitFileState":    s.getUnitFileState,
		"StartTransientUnit":  s.startTransientUnit,
		"StartUnit":           s.jobMethod("StartUnit", startJob),
		"StopUnit":            s.jobMethod("StopUnit", stopJob),
		"RestartUnit":         s.jobMethod("RestartUnit", restartJob),
		"TryRestartUnit":      s.jobMethod("TryRestartUnit", tryRestartJob),
		"RefUnit":             s.refUnit,
		"UnrefUnit":           s.unrefUnit,
		"ResetFailedUnit":     s.resetFailedUnit,
		"Reload":              s.reload,
	}
}

// called answers one call of a method.
func (s *Systemd) called(method string, f func() *dbus.Error) (err *dbus.Error) {
	s.do(func() {
		s.calls[method]++
		err = f()
	})
	return err
}

func (s *Systemd) subscribe(client dbus.Sender) *dbus.Error {
	return s.called("Subscribe", func() *dbus.Error {
		if s.subscribers[string(client)] {
			return failed(systemdName+".AlreadySubscribed", "Client is already subscribed.")
		}
		s.subscribers[string(client)] = true
		return nil
	})
}

// status is a row of a listing, (ssssssouso).
type status struct {
	Name, Description, Load, Active, Sub, Followed string
	Path                                           dbus.ObjectPath
	JobID                                          uint32
	JobType                                        string
	JobPath                                        dbus.ObjectPath
}

func (s *Systemd) listUnitsByPatterns(states, patterns []string) (list []status, err *dbus.Error) {
	err = s.called("ListUnitsByPatterns", func() *dbus.Error {
		for _, u := range s.sorted() {
			matches := len(patterns) == 0
			for _, pattern := range patterns {
				ok, _ := path.Match(pattern, u.name)
				matches = matches || ok
			}
			is := func(state string) bool { return slices.Contains(states, state) }
			if !matches || len(states) > 0 && !is(u.load) && !is(u.active) && !is(u.sub) {
				continue
			}
			row := status{Name: u.name, Description: get[string](u, "Description"), Load: u.load, Active: u.active, Sub: u.sub, Path: u.path(), JobPath: "/"}
			if u.job != nil {
				row.JobID, row.JobType, row.JobPath = u.job.id, u.job.kind, u.job.path()
			}
			list = append(list, row)
		}
		return nil
	})
	return list, err
}

// there is a unit that is loaded, or named by one that is.
func (s *Systemd) there(name string) (*unit, *dbus.Error) {
	if u := s.units[name]; u != nil {
		return u, nil
	}
	return nil, failed(systemdName+".NoSuchUnit", "Unit "+name+" not loaded.")
}

func (s *Systemd) getUnit(name string) (found dbus.ObjectPath, err *dbus.Error) {
	err = s.called("GetUnit", func() *dbus.Error {
		u, err := s.there(name)
		if err == nil {
			found = u.path()
		}
		return err
	})
	return found, err
}

// getUnitFileState finds nothing: there are no units but transient ones, and no
// files but those of units that are loaded.
func (s *Systemd) getUnitFileState(name string) (state string, err *dbus.Error) {
	err = s.called("GetUnitFileState", func() *dbus.Error {
		if _, err := s.there(name); err != nil {
			return failed(busName+".Error.FileNotFound", "Failed to get unit file state for "+name+": No such file or directory")
		}
		state = "transient"
		return nil
	})
	return state, err
}

// jobMethod is a method that makes a job. Asking for a unit that isn't there
// loads it, in vain, as the signals tell.
func (s *Systemd) jobMethod(method, kind string) func(name, mode string) (dbus.ObjectPath, *dbus.Error) {
	return func(name, mode string) (queued dbus.ObjectPath, err *dbus.Error) {
		err = s.called(method, func() *dbus.Error {
			if mode != "replace" && mode != "fail" {
				return failed(busName+".Error.InvalidArgs", "Job mode "+mode+" invalid")
			}
			u := s.unit(name)
			if u.load != "loaded" && kind == stopJob && u.idle() {
				return failed(systemdName+".NoSuchUnit", "Unit "+name+" not loaded.")
			}
			j, err := s.queue(u, kind, mode)
			if err == nil {
				queued = j.path()
			}
			return err
		})
		return queued, err
	}
}

func (s *Systemd) refUnit(client dbus.Sender, name string) *dbus.Error {
	return s.called("RefUnit", func() *dbus.Error {
		u := s.unit(name)
		if u.load != "loaded" {
			return failed(systemdName+".NoSuchUnit", "Unit "+name+" not found.")
		}
		u.pins[string(client)]++
		return nil
	})
}

func (s *Systemd) unrefUnit(client dbus.Sender, name string) *dbus.Error {
	return s.called("UnrefUnit", func() *dbus.Error {
		u, err := s.there(name)
		switch {
		case err != nil:
			return err
		case u.pins[string(client)] == 0 && len(u.pins) > 0:
			return nil // it is pinned, and that by whom is not looked at
		case u.pins[string(client)] == 0:
			return failed(systemdName+".NotReferenced", "Unit has not been referenced yet.")
		}
		if u.pins[string(client)]--; u.pins[string(client)] == 0 {
			delete(u.pins, string(client))
		}
		return nil
	})
}

func (s *Systemd) resetFailedUnit(name string) *dbus.Error {
	return s.called("ResetFailedUnit", func() *dbus.Error {
		u, err := s.there(name)
		if err != nil {
			return err
		}
		u.starts, u.restarts = nil, 0
		if u.active == "failed" {
			u.result = "success"
			s.set(u, "inactive", "dead")
		}
		return nil
	})
}

// reload is daemon-reload: a unit whose file is gone has no definition any
// more. What runs, runs on.
func (s *Systemd) reload() *dbus.Error {
	return s.called("Reload", func() *dbus.Error {
		s.emit(managerPath, managerName+".Reloading", true)
		s.emitAll("UnitRemoved")
		for _, u := range s.units {
			if _, err := os.Stat(u.file); u.file != "" && err != nil {
				u.load, u.properties, u.file = "not-found", nil, ""
			}
		}
		s.emitAll("UnitNew")
		s.emit(managerPath, managerName+".Reloading", false)
		return nil
	})
}

// property and definition are (sv) and (sa(sv)).
type property struct {
	Name  string
	Value dbus.Variant
}

type definition struct {
	Name       string
	Properties []property
}

func (s *Systemd) startTransientUnit(client dbus.Sender, name, mode string, properties []property, aux []definition) (queued dbus.ObjectPath, err *dbus.Error) {
	err = s.called("StartTransientUnit", func() *dbus.Error {
		// One after the other: those before a wrong one are made, and stay
		// if somebody refers to them.
		for _, d := range append([]definition{{name, properties}}, aux...) {
			properties, err := s.check(d)
			if properties != nil {
				s.loadUnit(d.Name, properties, string(client))
			}
			if err != nil {
				return err
			}
		}
		j, err := s.queue(s.units[name], startJob, mode)
		if err == nil {
			queued = j.path()
		}
		return err
	})
	return queued, err
}

// check is what systemd checks when it makes a unit, in its words. The
// properties before a wrong one are set.
func (s *Systemd) check(d definition) (map[string]dbus.Variant, *dbus.Error) {
	isService := strings.HasSuffix(d.Name, ".service")
	if !isService && !strings.HasSuffix(d.Name, ".slice") {
		return nil, failed(busName+".Error.InvalidArgs", "Unit name "+d.Name+" is not valid.")
	}
	if s.masked[d.Name] {
		return nil, failed(systemdName+".UnitExists", "Unit "+d.Name+" was already loaded or has a fragment file.")
	}
	if u := s.units[d.Name]; u != nil {
		if u.load == "loaded" || u.load == "bad-setting" || u.job != nil {
			return nil, failed(systemdName+".UnitExists", "Unit "+d.Name+" was already loaded or has a fragment file.")
		}
		if u.active != "inactive" {
			return nil, failed("System.Error.EBUSY", "Failed to set unit properties: Device or resource busy")
		}
	}
	properties := make(map[string]dbus.Variant)
	for _, p := range d.Properties {
		signature, ok := unitProperties[p.Name]
		if !ok && isService {
			signature, ok = serviceProperties[p.Name]
		}
		if !ok {
			return properties, failed(busName+".Error.PropertyReadOnly", "Cannot set property "+p.Name+", or unknown property.")
		}
		if p.Value.Signature().String() != signature {
			return properties, failed("System.Error.ENXIO", "Failed to set unit properties: Unexpected message contents")
		}
		properties[p.Name] = p.Value
	}
	if isService {
		switch kind, _ := properties["Type"].Value().(string); kind {
		case "exec", "notify", "oneshot":
		default:
			return properties, failed(busName+".Error.InvalidArgs", "Invalid Type setting: "+kind)
		}
		if argv := (&unit{properties: properties}).argv("ExecStart"); len(argv) == 0 {
			return properties, failed(systemdName+".BadUnitSetting", "Unit "+d.Name+" has a bad unit file setting.")
		}
	}
	return properties, nil
}

// unitProperties and serviceProperties are those that a transient unit takes,
// and their types. Those that have no bearing on what a client can observe
// here (limits, credentials, the environment) are taken as they are.
var unitProperties = map[string]string{
	"AddRef": "b", "Description": "s", "Slice": "s",
	"Requires": "as", "Wants": "as", "After": "as", "Before": "as", "Conflicts": "as", "PartOf": "as",
	"StartLimitIntervalUSec": "t", "StartLimitBurst": "u", "CollectMode": "s",
}

var serviceProperties = map[string]string{
	"Type": "s", "ExecStart": "a(sasb)", "ExecStartEx": "a(sasas)", "ExecStartPost": "a(sasb)", "ExecStartPostEx": "a(sasas)",
	"ExecStartPre": "a(sasb)", "ExecStartPreEx": "a(sasas)", "PermissionsStartOnly": "b", "RemainAfterExit": "b", "NotifyAccess": "s",
	"Restart": "s", "RestartUSec": "t", "TimeoutStartUSec": "t", "TimeoutStopUSec": "t", "KillSignal": "i", "WatchdogUSec": "t", "SuccessExitStatus": "(aiai)",
	"Environment": "as", "LoadCredential": "a(ss)", "StateDirectory": "as", "StateDirectoryMode": "u", "User": "s", "Group": "s", "WorkingDirectory": "s",
	"MemoryMax": "t", "CPUQuotaPerSecUSec": "t", "TasksMax": "t", "LimitNOFILE": "t",
	"LogRateLimitIntervalUSec": "t", "LogRateLimitBurst": "u", "LogExtraFields": "aay", "LogLevelMax": "i", "StandardOutput": "s", "StandardError": "s",
}

// getProperty is the Manager's Version, or any property of a unit. One that
// isn't there is loaded for it, in vain.
func (s *Systemd) getProperty(message dbus.Message, iface, property string) (value dbus.Variant, err *dbus.Error) {
	err = s.called("Get", func() *dbus.Error {
		switch managerName + " " + property {
		case iface + " Version":
			value = dbus.MakeVariant(s.version)
			return nil
		case iface + " UserspaceTimestamp":
			value = dbus.MakeVariant(µs(s.booted))
			return nil
		}
		name, ok := unitName(message.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))
		if ok {
			value, ok = s.unit(name).answer(iface)[property]
		}
		if !ok {
			return failed(busName+".Error.UnknownProperty", fmt.Sprintf("Unknown interface %s or property %s.", iface, property))
		}
		return nil
	})
	return value, err
}

// getAll reads a unit. One that isn't there is loaded for it, in vain.
func (s *Systemd) getAll(message dbus.Message, iface string) (properties map[string]dbus.Variant, err *dbus.Error) {
	err = s.called("GetAll", func() *dbus.Error {
		name, ok := unitName(message.Headers[dbus.FieldPath].Value().(dbus.ObjectPath))
		if !ok {
			return failed(busName+".Error.UnknownObject", "Unknown object.")
		}
		properties = s.unit(name).answer(iface)
		return nil
	})
	return properties, err
}

// jobOf is the property Job, (uo).
type jobOf struct {
	ID   uint32
	Path dbus.ObjectPath
}

// answer is a unit's properties, of one interface, or of all for "".
func (u *unit) answer(iface string) map[string]dbus.Variant {
	all := make(map[string]dbus.Variant)
	put := func(of, name string, value any) {
		if iface == "" || iface == systemdName+"."+of {
			all[name] = dbus.MakeVariant(value)
		}
	}
	queued, invocation := jobOf{0, "/"}, []byte{}
	if u.job != nil {
		queued = jobOf{u.job.id, u.job.path()}
	}
	if u.invocation != [16]byte{} {
		invocation = slices.Clone(u.invocation[:]) // the answer is written later
	}
	put("Unit", "LoadState", u.load)
	put("Unit", "ActiveState", u.active)
	put("Unit", "SubState", u.sub)
	put("Unit", "Job", queued)
	put("Unit", "InvocationID", invocation)
	put("Unit", "Transient", u.file != "")
	put("Unit", "FragmentPath", u.file)
	put("Unit", "ActiveEnterTimestamp", µs(u.upSince))
	put("Unit", "StateChangeTimestamp", µs(u.changed))
	put("Service", "Result", u.result)
	put("Service", "StatusText", u.said)
	put("Service", "MainPID", u.pid)
	put("Service", "ExecMainCode", u.code)
	put("Service", "ExecMainStatus", u.status)
	put("Service", "ExecMainStartTimestamp", µs(u.begunAt))
	put("Service", "ExecMainExitTimestamp", µs(u.exitedAt))
	put("Service", "NRestarts", u.restarts)
	put("Service", "CPUUsageNSec", ^uint64(0)) // not set
	put("Service", "LogExtraFields", [][]byte{})
	for name, value := range u.properties {
		if _, ok := unitProperties[name]; ok {
			put("Unit", name, value.Value())
		} else if !strings.HasPrefix(name, "ExecStart") { // read as another type than written
			put("Service", name, value.Value())
		}
	}
	return all
}

func µs(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMicro())
}
