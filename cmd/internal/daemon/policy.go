package daemon

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/supervisor"
)

// The environment that the daemon reads: policy is by environment, in
// /etc/default/hero_proc, not by flags.
const (
	envNoAutostartDB  = "HERO_PROC_NO_AUTOSTART_DB"
	envHeroDBContext  = "HERO_PROC_HERO_DB_CONTEXT"
	envDBStartTimeout = "HERO_PROC_DB_START_TIMEOUT"
	envStateDir       = "HERO_PROC_STATE_DIR"
	envRetainAge      = "HERO_PROC_RETAIN_AGE"
	envRetainService  = "HERO_PROC_RETAIN_PER_SERVICE"
	envRetainTotal    = "HERO_PROC_RETAIN_TOTAL"
	// envStateDirectory is systemd's: systemd.exec(5), StateDirectory=.
	envStateDirectory = "STATE_DIRECTORY"
)

const (
	defaultStateDir       = "/var/lib/hero_proc"
	defaultDBStartTimeout = 30 * time.Second
	// maxDBStartTimeout keeps a slip of the pen from holding the boot for good.
	maxDBStartTimeout = time.Hour
)

// defaultRetention keeps a quarter of a year, which covers the question what
// was different last month; of each service more starts than a person reads;
// and in all what is some 50 MB on the disk.
var defaultRetention = plan.Retention{Age: 90 * day, PerService: 1000, Total: 100_000}

// Bounds of the bounds: a slip of the pen neither empties the history nor
// makes a file that no backup has room for.
const (
	day           = 24 * time.Hour
	minRetainAge  = time.Hour
	maxRetainAge  = 100 * 365 * day
	maxRetainRows = 10_000_000
)

// settings is what the environment says.
type settings struct {
	stateDir string
	policy   supervisor.Policy
}

// readSettings reads the environment. A value that can't be used is not worth
// a machine that doesn't come up: the default holds, and a warning says so.
func readSettings(environ []string) (settings, []string) {
	env := map[string]string{}
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = strings.TrimSpace(v)
	}
	s := settings{
		stateDir: defaultStateDir,
		policy: supervisor.Policy{
			HeroDB:       units.ID{Context: units.DefaultContext, Name: units.HeroDB},
			StartTimeout: defaultDBStartTimeout,
			Retention:    defaultRetention,
		},
	}
	var warnings []string
	warn := func(name, want string) {
		warnings = append(warnings, fmt.Sprintf("%s is %q; want %s; the default holds", name, env[name], want))
	}
	if dir, _, _ := strings.Cut(env[envStateDirectory], ":"); dir != "" {
		s.stateDir = dir
	}
	if dir := env[envStateDir]; strings.HasPrefix(dir, "/") {
		s.stateDir = dir
	} else if dir != "" {
		warn(envStateDir, "an absolute path")
	}
	switch strings.ToLower(env[envNoAutostartDB]) {
	case "", "0", "no", "false", "off":
	case "1", "yes", "true", "on":
		s.policy.NoAutostartDB = true
	default:
		warn(envNoAutostartDB, "1 or 0")
	}
	if v := env[envHeroDBContext]; v != "" {
		if units.CheckContextName(v) == nil {
			s.policy.HeroDB.Context = v
		} else {
			warn(envHeroDBContext, "the name of a context (a-z, 0-9 and _)")
		}
	}
	if v := env[envDBStartTimeout]; v != "" {
		if d, ok := parseTimeout(v); ok {
			s.policy.StartTimeout = d
		} else {
			warn(envDBStartTimeout, fmt.Sprintf("seconds, or a duration like 45s or 2m, up to %s", maxDBStartTimeout))
		}
	}
	if v := env[envRetainAge]; v != "" {
		if d, ok := parseAge(v); ok {
			s.policy.Retention.Age = d
		} else {
			warn(envRetainAge, "days like 90d, or a duration like 36h, from 1h to 36500d")
		}
	}
	for name, rows := range map[string]*int{
		envRetainService: &s.policy.Retention.PerService, envRetainTotal: &s.policy.Retention.Total,
	} {
		if v := env[name]; v != "" {
			if n, err := strconv.Atoi(v); err == nil && n >= 1 && n <= maxRetainRows {
				*rows = n
			} else {
				warn(name, fmt.Sprintf("a number from 1 to %d", maxRetainRows))
			}
		}
	}
	return s, warnings
}

func parseAge(v string) (time.Duration, bool) {
	d, err := time.ParseDuration(v)
	if days, ok := strings.CutSuffix(v, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * day
	}
	return d, err == nil && d >= minRetainAge && d <= maxRetainAge
}

func parseTimeout(v string) (time.Duration, bool) {
	d, err := time.ParseDuration(v)
	if seconds, serr := strconv.ParseUint(v, 10, 16); serr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	return d, err == nil && d > 0 && d <= maxDBStartTimeout
}
