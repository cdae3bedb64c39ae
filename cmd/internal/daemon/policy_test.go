package daemon

import (
	"strings"
	"testing"
	"time"
)

func TestReadSettings(t *testing.T) {
	t.Parallel()
	def, warnings := readSettings(nil)
	if def.stateDir != "/var/lib/hero_proc" || def.policy.HeroDB.String() != "core/hero_db" ||
		def.policy.StartTimeout != 30*time.Second || def.policy.NoAutostartDB || warnings != nil {
		t.Fatalf("the defaults are %+v with warnings %q", def, warnings)
	}
	for _, c := range []struct {
		name   string
		env    string
		change func(*settings)
		warns  bool
	}{
		{"opt out", "HERO_PROC_NO_AUTOSTART_DB=1", func(s *settings) { s.policy.NoAutostartDB = true }, false},
		{"opt out in words", "HERO_PROC_NO_AUTOSTART_DB=Yes", func(s *settings) { s.policy.NoAutostartDB = true }, false},
		{"opt out not", "HERO_PROC_NO_AUTOSTART_DB=0", func(*settings) {}, false},
		{"opt out empty", "HERO_PROC_NO_AUTOSTART_DB=", func(*settings) {}, false},
		{"opt out unclear", "HERO_PROC_NO_AUTOSTART_DB=maybe", func(*settings) {}, true},
		{"context", "HERO_PROC_HERO_DB_CONTEXT=data", func(s *settings) { s.policy.HeroDB.Context = "data" }, false},
		{"context bad", "HERO_PROC_HERO_DB_CONTEXT=da-ta", func(*settings) {}, true},
		{"seconds", "HERO_PROC_DB_START_TIMEOUT=5", func(s *settings) { s.policy.StartTimeout = 5 * time.Second }, false},
		{"duration", "HERO_PROC_DB_START_TIMEOUT=2m", func(s *settings) { s.policy.StartTimeout = 2 * time.Minute }, false},
		{"timeout zero", "HERO_PROC_DB_START_TIMEOUT=0", func(*settings) {}, true},
		{"timeout negative", "HERO_PROC_DB_START_TIMEOUT=-5s", func(*settings) {}, true},
		{"timeout too long", "HERO_PROC_DB_START_TIMEOUT=1000h", func(*settings) {}, true},
		{"timeout no number", "HERO_PROC_DB_START_TIMEOUT=soon", func(*settings) {}, true},
		{"state directory", "HERO_PROC_STATE_DIR=/srv/x", func(s *settings) { s.stateDir = "/srv/x" }, false},
		{"state directory relative", "HERO_PROC_STATE_DIR=x", func(*settings) {}, true},
		{"systemd's state directory", "STATE_DIRECTORY=/var/lib/private/x:/y", func(s *settings) { s.stateDir = "/var/lib/private/x" }, false},
		{"age in days", "HERO_PROC_RETAIN_AGE=7d", func(s *settings) { s.policy.Retention.Age = 7 * 24 * time.Hour }, false},
		{"age in hours", "HERO_PROC_RETAIN_AGE=36h", func(s *settings) { s.policy.Retention.Age = 36 * time.Hour }, false},
		{"age without a unit", "HERO_PROC_RETAIN_AGE=7", func(*settings) {}, true},
		{"age too short", "HERO_PROC_RETAIN_AGE=0d", func(*settings) {}, true},
		{"age negative", "HERO_PROC_RETAIN_AGE=-7d", func(*settings) {}, true},
		{"age too long", "HERO_PROC_RETAIN_AGE=36501d", func(*settings) {}, true},
		{"per service", "HERO_PROC_RETAIN_PER_SERVICE=1", func(s *settings) { s.policy.Retention.PerService = 1 }, false},
		{"per service none", "HERO_PROC_RETAIN_PER_SERVICE=0", func(*settings) {}, true},
		{"total", "HERO_PROC_RETAIN_TOTAL=10000000", func(s *settings) { s.policy.Retention.Total = 10_000_000 }, false},
		{"total too many", "HERO_PROC_RETAIN_TOTAL=10000001", func(*settings) {}, true},
		{"total in words", "HERO_PROC_RETAIN_TOTAL=all", func(*settings) {}, true},
		{"another program's variable", "HERO_PROC_OTHER=1", func(*settings) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := def
			c.change(&want)
			got, warnings := readSettings([]string{c.env})
			if got != want {
				t.Errorf("settings are %+v, want %+v", got, want)
			}
			if c.warns != (len(warnings) == 1) {
				t.Errorf("warnings are %q, want one: %v", warnings, c.warns)
			}
			if c.warns && !strings.HasPrefix(warnings[0], strings.SplitN(c.env, "=", 2)[0]) {
				t.Errorf("the warning %q doesn't name its variable", warnings[0])
			}
		})
	}
}
