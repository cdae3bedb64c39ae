package wire

import (
	"slices"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Unit is what systemd says of a unit, in systemd's own names where it has one.
var Unit = Table[units.Unit]{
	text("Unit", func(u *units.Unit) *string { return &u.Name }),
	text("LoadState", func(u *units.Unit) *string { return &u.Load }),
	text("ActiveState", func(u *units.Unit) *string { return &u.Active }),
	text("SubState", func(u *units.Unit) *string { return &u.Sub }),
	plain("SystemdJob", func(u *units.Unit) *uint32 { return &u.JobID }),
	text("Result", func(u *units.Unit) *string { return &u.Result }),
	text("InvocationID", func(u *units.Unit) *string { return &u.InvocationID }),
	plain("MainPID", func(u *units.Unit) *uint32 { return &u.MainPID }),
	plain("ExitCode", func(u *units.Unit) *int32 { return &u.ExitCode }),
	plain("ExitStatus", func(u *units.Unit) *int32 { return &u.ExitStatus }),
	plain("Restarts", func(u *units.Unit) *uint32 { return &u.Restarts }),
	moment("ActiveSince", func(u *units.Unit) *time.Time { return &u.ActiveSince }),
	moment("BegunAt", func(u *units.Unit) *time.Time { return &u.BegunAt }),
	moment("ExitedAt", func(u *units.Unit) *time.Time { return &u.ExitedAt }),
	moment("ChangedAt", func(u *units.Unit) *time.Time { return &u.ChangedAt }),
	text("Digest", func(u *units.Unit) *string { return &u.Digest }),
	number[units.Unit, time.Duration, uint64]("CPUUsageNSec", func(u *units.Unit) *time.Duration { return &u.CPU }),
	count("MemoryPeak", func(u *units.Unit) *units.Count { return &u.MemoryPeak }),
	count("IOReadBytes", func(u *units.Unit) *units.Count { return &u.IORead }),
	count("IOWriteBytes", func(u *units.Unit) *units.Count { return &u.IOWritten }),
}

// Action is one action of a service and its unit.
var Action = slices.Concat(
	Table[units.ActionStatus]{
		text("Name", func(a *units.ActionStatus) *string { return &a.Name }),
	},
	within(Unit, func(a *units.ActionStatus) *units.Unit { return &a.Unit }),
)

// ActionHealth is what the probe of one action says.
var ActionHealth = Table[units.ActionHealth]{
	text("Action", func(h *units.ActionHealth) *string { return &h.Action }),
	text("Probe", func(h *units.ActionHealth) *string { return &h.Probe }),
	text("State", func(h *units.ActionHealth) *units.HealthState { return &h.State }),
	moment("Since", func(h *units.ActionHealth) *time.Time { return &h.Since }),
	plain("Failures", func(h *units.ActionHealth) *uint32 { return &h.Failures }),
	text("LastError", func(h *units.ActionHealth) *string { return &h.Says }),
	text("Note", func(h *units.ActionHealth) *string { return &h.Note }),
}

// Status is a service: the properties of [ServiceInterface], and a row of ListServices.
var Status = slices.Concat(
	Table[units.Status]{
		text("Context", func(s *units.Status) *string { return &s.Context }),
		text("Name", func(s *units.Status) *string { return &s.Name }),
		text("Description", func(s *units.Status) *string { return &s.Description }),
		text("WantedStatus", func(s *units.Status) *units.Wanted { return &s.Wanted }),
		text("State", func(s *units.Status) *units.State { return &s.State }),
		text("Reason", func(s *units.Status) *string { return &s.Reason }),
		text("Remedy", func(s *units.Status) *string { return &s.Remedy }),
		plain("Stale", func(s *units.Status) *bool { return &s.Stale }),
		text("HealthState", func(s *units.Status) *units.HealthState { return &s.HealthState }),
		rows("Health", ActionHealth, func(s *units.Status) *[]units.ActionHealth { return &s.Health }),
	},
	within(Unit, func(s *units.Status) *units.Unit { return &s.Unit }),
	Table[units.Status]{
		rows("Actions", Action, func(s *units.Status) *[]units.ActionStatus { return &s.Actions }),
	},
)

// Context is the properties of [ContextInterface], and a row of ListContexts.
var Context = Table[units.ContextStatus]{
	text("Name", func(c *units.ContextStatus) *string { return &c.Name }),
	text("Slice", func(c *units.ContextStatus) *string { return &c.Slice }),
	field("ServiceCounts", func(c *units.ContextStatus) *map[units.State]int { return &c.Services }, countsOut, countsIn),
}

// Job is the properties of [JobInterface], and the answer of Wait and WaitReady.
var Job = Table[units.Job]{
	number[units.Job, int64, uint64]("ID", func(j *units.Job) *int64 { return &j.ID }),
	number[units.Job, int64, uint64]("Run", func(j *units.Job) *int64 { return &j.Run }),
	text("Context", func(j *units.Job) *string { return &j.Service.Context }),
	text("Service", func(j *units.Job) *string { return &j.Service.Name }),
	text("Action", func(j *units.Job) *string { return &j.Action }),
	text("Unit", func(j *units.Job) *string { return &j.Unit }),
	number[units.Job, int, uint32]("Attempt", func(j *units.Job) *int { return &j.Attempt }),
	text("Phase", func(j *units.Job) *units.Phase { return &j.Phase }),
	text("InvocationID", func(j *units.Job) *string { return &j.InvocationID }),
	plain("MainPID", func(j *units.Job) *uint32 { return &j.MainPID }),
	moment("Created", func(j *units.Job) *time.Time { return &j.Created }),
	moment("Started", func(j *units.Job) *time.Time { return &j.Started }),
	moment("Ended", func(j *units.Job) *time.Time { return &j.Ended }),
	text("Result", func(j *units.Job) *string { return &j.Result }),
	plain("ExitCode", func(j *units.Job) *int32 { return &j.ExitCode }),
	plain("ExitStatus", func(j *units.Job) *int32 { return &j.ExitStatus }),
	count("CPUUsageNSec", func(j *units.Job) *units.Count { return &j.Used.CPU }),
	count("MemoryPeak", func(j *units.Job) *units.Count { return &j.Used.MemoryPeak }),
	count("IOReadBytes", func(j *units.Job) *units.Count { return &j.Used.IORead }),
	count("IOWriteBytes", func(j *units.Job) *units.Count { return &j.Used.IOWritten }),
}

// LogEntry is a row of QueryLogs.
var LogEntry = Table[units.LogEntry]{
	number[units.LogEntry, int64, uint64]("ID", func(e *units.LogEntry) *int64 { return &e.ID }),
	moment("Time", func(e *units.LogEntry) *time.Time { return &e.Time }),
	text("Source", func(e *units.LogEntry) *string { return &e.Source }),
	text("Code", func(e *units.LogEntry) *units.EventCode { return &e.Code }),
	text("Level", func(e *units.LogEntry) *units.Level { return &e.Level }),
	text("Context", func(e *units.LogEntry) *string { return &e.Service.Context }),
	text("Service", func(e *units.LogEntry) *string { return &e.Service.Name }),
	text("Message", func(e *units.LogEntry) *string { return &e.Message }),
	text("Remedy", func(e *units.LogEntry) *string { return &e.Remedy }),
	text("Unit", func(e *units.LogEntry) *string { return &e.Unit }),
	text("Result", func(e *units.LogEntry) *string { return &e.Result }),
}

// Health is the properties of [ManagerInterface].
var Health = Table[units.Health]{
	text("Version", func(h *units.Health) *string { return &h.Version }),
	plain("Ready", func(h *units.Health) *bool { return &h.Ready }),
	number[units.Health, int, uint32]("SystemdVersion", func(h *units.Health) *int { return &h.Systemd }),
	text("HeroDBState", func(h *units.Health) *string { return &h.HeroDB }),
	text("HeroDBReason", func(h *units.Health) *string { return &h.HeroDBReason }),
	moment("Started", func(h *units.Health) *time.Time { return &h.Started }),
	plain("LogsDropped", func(h *units.Health) *uint64 { return &h.LogsDropped }),
	field("ServiceCounts", func(h *units.Health) *map[units.State]int { return &h.Services }, countsOut, countsIn),
	field("HealthProbes", func(h *units.Health) *units.ProbeCounts { return &h.Probes }, probesOut, probesIn),
}

func probesOut(p units.ProbeCounts) map[string]uint64 {
	if p == (units.ProbeCounts{}) {
		return map[string]uint64{}
	}
	return map[string]uint64{"well": p.Well, "unwell": p.Unwell, "unasked": p.Unasked, "in_flight": uint64(p.InFlight), "restarts": p.Restarts}
}

func probesIn(m map[string]uint64) units.ProbeCounts {
	return units.ProbeCounts{Well: m["well"], Unwell: m["unwell"], Unasked: m["unasked"], InFlight: int(m["in_flight"]), Restarts: m["restarts"]}
}

// LogControlState is what [LogControlInterface] has.
type LogControlState struct{ Level, Target, Identifier string }

// LogControl is the properties of [LogControlInterface].
var LogControl = Table[LogControlState]{
	text("LogLevel", func(l *LogControlState) *string { return &l.Level }),
	text("LogTarget", func(l *LogControlState) *string { return &l.Target }),
	text("SyslogIdentifier", func(l *LogControlState) *string { return &l.Identifier }),
}

func countsOut(in map[units.State]int) map[string]uint32 {
	out := make(map[string]uint32, len(in))
	for state, n := range in {
		out[string(state)] = uint32(n)
	}
	return out
}

func countsIn(in map[string]uint32) map[units.State]int {
	out := make(map[units.State]int, len(in))
	for state, n := range in {
		out[units.State(state)] = int(n)
	}
	return out
}
