package dbusapi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// counters count since the server was made.
type counters struct {
	calls   atomic.Uint64 // all of them
	refused atomic.Uint64 // of those: over a limit, or not authorised
	signals atomic.Uint64 // sent
}

func (c *counters) count(err error) {
	c.calls.Add(1)
	switch units.CodeOf(err) {
	case units.CodeAccessDenied, units.CodeInteractiveAuthorizationRequired, units.CodeLimitsExceeded:
		c.refused.Add(1)
	}
}

// metrics answers in the text format of OpenMetrics 1.0. There is one time
// series for each state of each context, and none for each service: that is
// ListServices' to tell, and cardinality is what kills a metrics store.
func metrics(ctx context.Context, c *call) ([]any, error) {
	services, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	jobs, err := c.LiveJobs(ctx)
	if err != nil {
		return nil, err
	}
	health := c.Health(services)
	var m exposition
	m.family("hero_proc_build", "info", "", "The daemon's version, and systemd's.")
	m.sample("hero_proc_build_info", 1, "version", health.Version, "systemd", strconv.Itoa(health.Systemd))
	m.family("hero_proc_start_time_seconds", "gauge", "seconds", "When the daemon was started, since 1970.")
	m.sample("hero_proc_start_time_seconds", seconds(health.Started))
	m.family("hero_proc_ready", "gauge", "", "1 once the boot sequence is over.")
	m.sample("hero_proc_ready", one(health.Ready))
	m.family("hero_proc_hero_db_ensured", "gauge", "", "1 if the last boot has seen hero_db active.")
	m.sample("hero_proc_hero_db_ensured", one(health.HeroDB == "active"))
	m.family("hero_proc_services", "gauge", "", "Registered services, by what they read as.")
	for _, context := range contexts(services) {
		for _, state := range units.States {
			m.sample("hero_proc_services", float64(context.Services[state]), "context", context.Name, "state", string(state))
		}
	}
	m.family("hero_proc_service_health", "gauge", "", "Registered services, by what their probes say; none is without a probe.")
	for state, n := range byHealth(services) {
		m.sample("hero_proc_service_health", float64(n), "state", string(units.HealthStates[state]))
	}
	m.family("hero_proc_health_probes", "counter", "", "Probes that were asked, by their answer; unasked could not be asked.")
	m.sample("hero_proc_health_probes_total", float64(health.Probes.Well), "answer", "well")
	m.sample("hero_proc_health_probes_total", float64(health.Probes.Unwell), "answer", "unwell")
	m.sample("hero_proc_health_probes_total", float64(health.Probes.Unasked), "answer", "unasked")
	m.family("hero_proc_health_probes_in_flight", "gauge", "", "Probes that are being asked.")
	m.sample("hero_proc_health_probes_in_flight", float64(health.Probes.InFlight))
	m.family("hero_proc_health_restarts", "counter", "", "Restarts of what was unhealthy.")
	m.sample("hero_proc_health_restarts_total", float64(health.Probes.Restarts))
	m.family("hero_proc_live_jobs", "gauge", "", "Jobs that are not over.")
	m.sample("hero_proc_live_jobs", float64(len(jobs)))
	m.family("hero_proc_log_events_dropped", "counter", "", "Events that did not fit the queue before the log.")
	m.sample("hero_proc_log_events_dropped_total", float64(health.LogsDropped))
	m.family("hero_proc_api_calls", "counter", "", "Calls on the bus.")
	m.sample("hero_proc_api_calls_total", float64(c.server.counters.calls.Load()))
	m.family("hero_proc_api_calls_refused", "counter", "", "Calls that were refused: over a limit, or not authorised.")
	m.sample("hero_proc_api_calls_refused_total", float64(c.server.counters.refused.Load()))
	m.family("hero_proc_api_calls_in_flight", "gauge", "", "Calls that are being worked on, this one included.")
	m.sample("hero_proc_api_calls_in_flight", float64(c.server.gate.count()))
	m.family("hero_proc_api_signals", "counter", "", "Signals that were sent.")
	m.sample("hero_proc_api_signals_total", float64(c.server.counters.signals.Load()))
	return []any{m.text.String() + "# EOF\n"}, nil
}

// byHealth counts services by the states of units.HealthStates.
func byHealth(services []units.Status) []int {
	counts := make([]int, len(units.HealthStates))
	for _, s := range services {
		if i := slices.Index(units.HealthStates, s.HealthState); i >= 0 {
			counts[i]++
		}
	}
	return counts
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// exposition is a text in the making: OpenMetrics 1.0, "Text Format".
type exposition struct{ text strings.Builder }

func (m *exposition) family(name, kind, unit, help string) {
	fmt.Fprintf(&m.text, "# TYPE %s %s\n", name, kind)
	if unit != "" {
		fmt.Fprintf(&m.text, "# UNIT %s %s\n", name, unit)
	}
	fmt.Fprintf(&m.text, "# HELP %s %s\n", name, help)
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (m *exposition) sample(name string, value float64, labels ...string) {
	m.text.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(&m.text, `%s%s="%s"`, separator, labels[i], escapeLabel.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.text.WriteByte('}')
	}
	fmt.Fprintf(&m.text, " %s\n", strconv.FormatFloat(value, 'f', -1, 64))
}
