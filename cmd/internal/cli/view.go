package cli

import (
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// The views are what --json prints. They are apart from the domain's types so
// that a field renamed there does not break a script here. Times are in UTC:
// what a script reads must not depend on where the machine is.

type statusView struct {
	Context     string       `json:"context"`
	Name        string       `json:"name"`
	Description string       `json:"description"`
	Wanted      string       `json:"wanted"`
	State       string       `json:"state"`
	Reason      string       `json:"reason"`
	Remedy      string       `json:"remedy"`
	Stale       bool         `json:"stale"`
	HealthState string       `json:"health_state"`
	Health      []probeView  `json:"health,omitempty"`
	Unit        unitView     `json:"unit"`
	Actions     []actionView `json:"actions,omitempty"`
}

// probeView is what the probe of an action's health says.
type probeView struct {
	Action    string    `json:"action"`
	Probe     string    `json:"probe"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"`
	Failures  uint32    `json:"failures"`
	LastError string    `json:"last_error"`
	Note      string    `json:"note"`
}

type actionView struct {
	Name string   `json:"name"`
	Unit unitView `json:"unit"`
}

// unitView leaves out what is not known: a listing asks systemd for less than
// the status of one service.
type unitView struct {
	Name         string    `json:"name"`
	Load         string    `json:"load"`
	Active       string    `json:"active"`
	Sub          string    `json:"sub"`
	Result       string    `json:"result,omitempty"`
	InvocationID string    `json:"invocation_id,omitempty"`
	MainPID      uint32    `json:"main_pid,omitempty"`
	ExitCode     int32     `json:"exit_code,omitempty"`
	ExitStatus   int32     `json:"exit_status,omitempty"`
	Restarts     uint32    `json:"restarts,omitempty"`
	CPU          float64   `json:"cpu_seconds,omitempty"`
	ActiveSince  time.Time `json:"active_since,omitzero"`
	ChangedAt    time.Time `json:"changed_at,omitzero"`
}

func viewStatus(s units.Status) statusView {
	v := statusView{
		Context: s.Context, Name: s.Name, Description: s.Description,
		Wanted: string(s.Wanted), State: string(s.State), Reason: s.Reason, Remedy: s.Remedy, Stale: s.Stale,
		HealthState: string(s.HealthState), Unit: viewUnit(s.Unit), Actions: []actionView{},
	}
	for _, h := range s.Health {
		v.Health = append(v.Health, probeView{h.Action, h.Probe, string(h.State), h.Since.UTC(), h.Failures, h.Says, h.Note})
	}
	for _, a := range s.Actions {
		v.Actions = append(v.Actions, actionView{a.Name, viewUnit(a.Unit)})
	}
	return v
}

func viewUnit(u units.Unit) unitView {
	return unitView{
		Name: u.Name, Load: u.Load, Active: u.Active, Sub: u.Sub, Result: u.Result,
		InvocationID: u.InvocationID, MainPID: u.MainPID, ExitCode: u.ExitCode, ExitStatus: u.ExitStatus,
		Restarts: u.Restarts, CPU: u.CPU.Seconds(), ActiveSince: u.ActiveSince.UTC(), ChangedAt: u.ChangedAt.UTC(),
	}
}

// outcomeView is what became of one service that was asked to start or stop.
type outcomeView struct {
	Context string     `json:"context"`
	Name    string     `json:"name"`
	Job     int64      `json:"job"`
	Phase   string     `json:"phase"`
	Result  string     `json:"result"`
	Error   *errorView `json:"error,omitempty"`
}

type logView struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Source  string    `json:"source"`
	Code    string    `json:"code"`
	Context string    `json:"context"`
	Service string    `json:"service"`
	Message string    `json:"message"`
	Remedy  string    `json:"remedy"`
	Unit    string    `json:"unit"`
	Result  string    `json:"result"`
}

func viewLog(e units.LogEntry) logView {
	return logView{
		ID: e.ID, Time: e.Time.UTC(), Level: string(e.Level), Source: e.Source, Code: string(e.Code),
		Context: e.Service.Context, Service: e.Service.Name, Message: e.Message, Remedy: e.Remedy,
		Unit: e.Unit, Result: e.Result,
	}
}

type healthView struct {
	Version      string         `json:"version"`
	Systemd      int            `json:"systemd"`
	Started      time.Time      `json:"started,omitzero"`
	Ready        bool           `json:"ready"`
	HeroDB       string         `json:"hero_db"`
	HeroDBReason string         `json:"hero_db_reason"`
	HeroDBNow    string         `json:"hero_db_now"`
	Services     map[string]int `json:"services"`
	LogsDropped  uint64         `json:"logs_dropped"`
}

func viewHealth(h units.Health) healthView {
	v := healthView{
		Version: h.Version, Systemd: h.Systemd, Started: h.Started.UTC(), Ready: h.Ready,
		HeroDB: h.HeroDB, HeroDBReason: h.HeroDBReason, Services: map[string]int{}, LogsDropped: h.LogsDropped,
	}
	for s, n := range h.Services {
		v.Services[string(s)] = n
	}
	return v
}
