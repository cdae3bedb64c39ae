package transient

import (
	"maps"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Credential is an element of LoadCredential=, a(ss).
type Credential struct {
	Name string
	Path string
}

const digestField = "HERO_DEFINITION="

// Service turns a valid service into its units, that of the primary action
// first. A service that is a definition only has none. The properties are
// those that this version of systemd, 252 or later, takes and keeps.
//
// The digest is that of the definition; the units tell it, see [DigestOf].
func Service(s units.Service, digest string, systemd int) []Unit {
	primary := s.Primary()
	if s.Wanted == units.WantedSpec || primary < 0 {
		return nil
	}
	us := []Unit{unit(s, primary, digest, systemd)}
	for i := range s.Actions {
		if i != primary {
			us = append(us, unit(s, i, digest, systemd))
		}
	}
	return us
}

// BootSet makes a set that starts some of its units and only loads the others.
// What starts them is a slice, since that is done at once and has no process;
// it can be stopped as soon as it is up. Its name must have no dash, which
// would make it a child of another slice.
func BootSet(name string, us []Unit, start []string) Set {
	main := properties{{"Description", "Services that hero_proc starts"}}
	main.names("Wants", start)
	return Set{Main: Unit{name, main}, Aux: us}
}

// In is the unit in that slice: systemd.resource-control(5). Where it is, is no
// part of its definition: a unit that is loaded stays in its slice for as long
// as it is.
func (u Unit) In(slice string) Unit {
	u.Properties = slices.Clone(u.Properties)
	for i, p := range u.Properties {
		if p.Name == "Slice" {
			u.Properties[i].Value = slice
		}
	}
	return u
}

// DigestOf is the digest of the definition that a unit with these
// LogExtraFields= was made of, or "".
func DigestOf(extraFields [][]byte) string {
	for _, f := range extraFields {
		if digest, ok := strings.CutPrefix(string(f), digestField); ok {
			return digest
		}
	}
	return ""
}

func unit(s units.Service, i int, digest string, systemd int) Unit {
	a := s.Actions[i]
	description := s.Description
	if description == "" {
		description = s.ID.String()
	}
	if i != s.Primary() {
		description += ", " + a.Name
	}
	ps := properties{
		// Keeps the unit loaded while it is stopped, so that systemctl can start it.
		{"AddRef", true},
		{"Description", description},
		{"Slice", units.SliceOf(s.Context)},
	}
	ps.dependencies(s, i)
	ps.execution(a, systemd)
	ps.lifecycle(s.UnitOf(i), a, systemd)
	ps.limits(a)
	ps.logging(s, a, digest)
	return Unit{s.UnitOf(i), ps}
}

// properties grow in a fixed order, and by nothing that isn't set.
type properties []Property

func (ps *properties) add(name string, value any) {
	*ps = append(*ps, Property{name, value})
}

func (ps *properties) text(name, value string) {
	if value != "" {
		ps.add(name, value)
	}
}

func (ps *properties) number(name string, n uint64) {
	if n != 0 {
		ps.add(name, n)
	}
}

func (ps *properties) number32(name string, n uint32) {
	if n != 0 {
		ps.add(name, n)
	}
}

func (ps *properties) duration(name string, d time.Duration) {
	ps.number(name, uint64(d/time.Microsecond))
}

func (ps *properties) names(name string, list []string) {
	if len(list) > 0 {
		ps.add(name, slices.Compact(slices.Sorted(slices.Values(list))))
	}
}

// dependencies: those on other services hold for every action, since a
// sidecar can't do without them either. systemd.unit(5).
func (ps *properties) dependencies(s units.Service, i int) {
	named := func(refs []string) (names []string) {
		for _, ref := range refs {
			id, _ := units.ParseRef(s.Context, ref) // a valid service has no other
			names = append(names, id.Unit())
		}
		return names
	}
	requires, wants := named(s.Requires), named(s.Wants)
	after := slices.Concat(requires, named(s.After), wants)
	for k, other := range s.Actions {
		if slices.Contains(s.Actions[i].DependsOn, other.Name) {
			requires = append(requires, s.UnitOf(k))
			after = append(after, s.UnitOf(k))
		}
		// The primary unit brings the others up; PartOf= takes them down with it.
		if i == s.Primary() && k != i {
			wants = append(wants, s.UnitOf(k))
		}
	}
	if i != s.Primary() {
		ps.names("PartOf", []string{s.Unit()})
	}
	ps.names("Requires", requires)
	ps.names("Wants", wants)
	ps.names("After", after)
	ps.names("Conflicts", named(s.Conflicts))
}

// execution: systemd.exec(5).
func (ps *properties) execution(a units.Action, systemd int) {
	*ps = append(*ps, command("ExecStart", a.Exec, systemd))
	if len(a.Env) > 0 {
		var env []string
		for _, name := range slices.Sorted(maps.Keys(a.Env)) {
			env = append(env, name+"="+a.Env[name])
		}
		ps.add("Environment", env)
	}
	if len(a.Credentials) > 0 {
		var credentials []Credential
		for _, name := range slices.Sorted(maps.Keys(a.Credentials)) {
			credentials = append(credentials, Credential{name, a.Credentials[name]})
		}
		ps.add("LoadCredential", credentials)
	}
	if a.StateDir != "" {
		ps.add("StateDirectory", []string{a.StateDir})
		ps.add("StateDirectoryMode", uint32(0o700))
	}
	ps.text("User", a.User)
	ps.text("Group", a.Group)
	ps.text("WorkingDirectory", a.WorkingDir)
}

// lifecycle: systemd.service(5), systemd.unit(5) for the start limit,
// systemd.kill(5).
func (ps *properties) lifecycle(unit string, a units.Action, systemd int) {
	timeout := a.TimeoutStart
	switch {
	case !a.Process:
		ps.add("Type", "oneshot")
		// Once done it stays active: what depends on it may start, and it is
		// not run a second time with the next one that does.
		ps.add("RemainAfterExit", true)
	case a.Ready == units.ReadyNotify:
		ps.add("Type", "notify")
	default:
		ps.add("Type", "exec")
	}
	ps.text("NotifyAccess", notifyAccess(a))
	if a.Ready.IsProbe() {
		ps.probe(a, systemd)
		timeout = probeTimeout(a)
	}
	ps.duration("WatchdogUSec", a.Watchdog)
	if a.Any() {
		ps.prepare(unit, a, systemd)
	}
	if policy := a.RestartPolicy(); policy != units.RestartNo {
		ps.add("Restart", string(policy))
		ps.duration("RestartUSec", a.RestartDelay)
		if a.DelayMax != 0 && systemd >= growsDelay {
			ps.add("RestartSteps", a.Steps())
			ps.duration("RestartMaxDelayUSec", a.DelayMax)
		}
	}
	ps.duration("StartLimitIntervalUSec", a.StartLimitInterval)
	ps.number32("StartLimitBurst", a.StartLimitBurst)
	ps.duration("TimeoutStartUSec", timeout)
	ps.duration("TimeoutStopUSec", a.TimeoutStop)
	if number, ok := units.SignalNumber(a.KillSignal); ok {
		ps.add("KillSignal", number)
	}
}

// notifyAccess is whose words systemd takes for the unit's: sd_notify(3).
func notifyAccess(a units.Action) string {
	switch {
	case a.Any() || a.Ready.IsProbe():
		return "exec" // the prober's too: what it waits for, or why nothing was started
	case a.Ready == units.ReadyNotify || a.Watchdog != 0:
		return "main"
	default:
		return ""
	}
}

// limits: systemd.resource-control(5), systemd.exec(5).
func (ps *properties) limits(a units.Action) {
	ps.number("MemoryMax", a.MemoryMax)
	// A percent of a CPU is 10 ms in each second.
	ps.duration("CPUQuotaPerSecUSec", time.Duration(a.CPUQuota)*10*time.Millisecond)
	ps.number("TasksMax", a.TasksMax)
	ps.number("LimitNOFILE", a.OpenFiles)
}

// logging: systemd.exec(5). The fields say whose a line of the journal is,
// and which definition the unit was made of.
func (ps *properties) logging(s units.Service, a units.Action, digest string) {
	ps.logRate(a)
	ps.add("LogExtraFields", [][]byte{
		[]byte("HERO_CONTEXT=" + s.Context),
		[]byte("HERO_SERVICE=" + s.Name),
		[]byte("HERO_ACTION=" + a.Name),
		[]byte(digestField + digest),
	})
}

func (ps *properties) logRate(a units.Action) {
	ps.duration("LogRateLimitIntervalUSec", a.LogRateInterval)
	ps.number32("LogRateLimitBurst", a.LogRateBurst)
}
