package daemon

import (
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestLogLevels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		set, reads    string
		debug, info   bool // is it logged?
		warning, fail bool
	}{
		{set: "debug", reads: "debug", debug: true, info: true, warning: true},
		{set: "info", reads: "info", info: true, warning: true},
		{set: "notice", reads: "info", info: true, warning: true},
		{set: "warning", reads: "warning", warning: true},
		{set: "err", reads: "err"},
		{set: "crit", reads: "err"},
		{set: "alert", reads: "err"},
		{set: "emerg", reads: "err"},
		{set: "verbose", reads: "info", info: true, warning: true, fail: true},
		{set: "", reads: "info", info: true, warning: true, fail: true},
	} {
		var out strings.Builder
		control := newLogControl(true)
		logger := newLogger(&out, control)
		if err := control.SetLogLevel(tt.set); (err != nil) != tt.fail || tt.fail && units.CodeOf(err) != units.CodeInvalidArgument {
			t.Errorf("%q: error is %v", tt.set, err)
		}
		if got := control.LogLevel(); got != tt.reads {
			t.Errorf("%q reads as %q; want %q", tt.set, got, tt.reads)
		}
		logger.Debug("a debug line")
		logger.Info("an info line")
		logger.Warn("a warning line")
		logger.Error("an error line")
		for line, want := range map[string]bool{"<7>msg=\"a debug": tt.debug, "<6>msg=\"an info": tt.info, "<4>msg=\"a warning": tt.warning, "<3>msg=\"an error": true} {
			if got := strings.Contains(out.String(), line); got != want {
				t.Errorf("%q: the log has %s: %v; want %v\n%s", tt.set, line, got, want, out.String())
			}
		}
	}
	for underSystemd, want := range map[bool]string{true: "journal", false: "console"} {
		if got := newLogControl(underSystemd).LogTarget(); got != want {
			t.Errorf("the target is %q; want %q", got, want)
		}
	}
}
