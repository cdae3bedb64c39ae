package dbusapi_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)$`)
)

// suffixes are those of a family's samples: OpenMetrics 1.0, "Metric Types".
var suffixes = map[string]string{"gauge": "", "counter": "_total", "info": "_info"}

// parseMetrics reads a text as OpenMetrics 1.0 has it, and is strict about
// what of it there is here: the samples by their name and labels.
func parseMetrics(text string) (map[string]float64, error) {
	body, ok := strings.CutSuffix(text, "# EOF\n")
	if !ok {
		return nil, fmt.Errorf("it does not end in # EOF")
	}
	samples, families := map[string]float64{}, map[string]bool{}
	family, kind, described := "", "", map[string]bool{}
	for line := range strings.Lines(body) {
		line, ok := strings.CutSuffix(line, "\n")
		if !ok || line == "" {
			return nil, fmt.Errorf("line %q is empty, or has no end", line)
		}
		if words := strings.SplitN(line, " ", 4); words[0] == "#" {
			if len(words) < 4 {
				return nil, fmt.Errorf("line %q is too short", line)
			}
			if words[2] != family {
				if words[1] != "TYPE" || families[words[2]] || !metricName.MatchString(words[2]) {
					return nil, fmt.Errorf("line %q does not begin a new family", line)
				}
				family, kind, described = words[2], words[3], map[string]bool{}
				families[family] = true
			}
			if described[words[1]] || described["sample"] {
				return nil, fmt.Errorf("line %q is out of place", line)
			}
			described[words[1]] = true
			switch words[1] {
			case "TYPE":
				if _, known := suffixes[kind]; !known {
					return nil, fmt.Errorf("line %q is of no type that the test knows", line)
				}
			case "UNIT":
				if !strings.HasSuffix(family, "_"+words[3]) {
					return nil, fmt.Errorf("line %q: the name does not end in the unit", line)
				}
			case "HELP":
			default:
				return nil, fmt.Errorf("line %q is no descriptor", line)
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || m[1] != family+suffixes[kind] || !described["HELP"] {
			return nil, fmt.Errorf("line %q is no sample of the %s %s", line, kind, family)
		}
		described["sample"] = true
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil || kind == "counter" && value < 0 || kind == "info" && value != 1 {
			return nil, fmt.Errorf("line %q has a bad value: %v", line, err)
		}
		key := m[1] + "{" + m[2] + "}"
		if _, twice := samples[key]; twice || strings.HasSuffix(m[2], ",") {
			return nil, fmt.Errorf("line %q is there twice, or has a comma too many", line)
		}
		samples[key] = value
	}
	return samples, nil
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	populate(t, s)
	health := s.Controller.Health(nil)
	health.Probes = units.ProbeCounts{Well: 11, Unwell: 12, Unasked: 13, InFlight: 14, Restarts: 15}
	health.Version, health.LogsDropped, health.HeroDB = "1.2.3 \"x\\y\"\nz", 7, "active"
	s.Controller.SetHealth(health)
	conn := s.Bus.Conn()
	if err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+".Explode").Err; err == nil {
		t.Fatal("a method that is not there answered")
	}
	read := func() map[string]float64 {
		t.Helper()
		var text string
		if err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+".Metrics").Store(&text); err != nil {
			t.Fatal(err)
		}
		samples, err := parseMetrics(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return samples
	}
	first, second := read(), read()
	for key, want := range map[string]float64{
		`hero_proc_build_info{version="1.2.3 \"x\\y\"\nz",systemd="252"}`: 1,
		`hero_proc_start_time_seconds{}`:                                  1735689600,
		`hero_proc_ready{}`:                                               1,
		`hero_proc_hero_db_ensured{}`:                                     1,
		`hero_proc_services{context="core",state="running"}`:              1,
		`hero_proc_services{context="core",state="inactive"}`:             1,
		`hero_proc_services{context="core",state="failed"}`:               0,
		`hero_proc_services{context="test",state="running"}`:              1,
		`hero_proc_service_health{state="none"}`:                          3,
		`hero_proc_service_health{state="unhealthy"}`:                     0,
		`hero_proc_health_probes_total{answer="well"}`:                    11,
		`hero_proc_health_probes_total{answer="unwell"}`:                  12,
		`hero_proc_health_probes_total{answer="unasked"}`:                 13,
		`hero_proc_health_probes_in_flight{}`:                             14,
		`hero_proc_health_restarts_total{}`:                               15,
		`hero_proc_live_jobs{}`:                                           2,
		`hero_proc_log_events_dropped_total{}`:                            7,
		`hero_proc_api_calls_in_flight{}`:                                 1,
		`hero_proc_api_calls_refused_total{}`:                             0,
		`hero_proc_api_calls_total{}`:                                     1,
	} {
		if got, ok := first[key]; !ok || got != want {
			t.Errorf("%s is %v, %v; want %v", key, got, ok, want)
		}
	}
	if want := 9 + 1 + 2*len(units.States) + 5 + len(units.HealthStates); len(first) < want {
		t.Errorf("there are %d samples; want %d", len(first), want)
	}
	if got := second["hero_proc_api_calls_total{}"]; got != 2 {
		t.Errorf("after another call there are %v calls; want 2", got)
	}
	if first["hero_proc_api_signals_total{}"] > second["hero_proc_api_signals_total{}"] {
		t.Error("a counter went back")
	}
}

func TestRefusedCallsAreCounted(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t, as(1000))
	set(t, s, web.Name)
	conn := s.Bus.Conn()
	if err := invoke(testContext(t), conn, wire.ServicePath(web), wire.ServiceInterface+".Start", uint64(0)).Err; err == nil {
		t.Fatal("a user started a service")
	}
	var text string
	if err := invoke(testContext(t), conn, wire.RootPath, wire.ManagerInterface+".Metrics").Store(&text); err != nil {
		t.Fatal(err)
	}
	if samples, err := parseMetrics(text); err != nil || samples["hero_proc_api_calls_refused_total{}"] != 1 {
		t.Errorf("%v calls were refused, %v; want 1", samples["hero_proc_api_calls_refused_total{}"], err)
	}
}
