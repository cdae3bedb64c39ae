package plan

import (
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var db = units.ID{Context: "core", Name: "hero_db"}

func TestDecideHeroDB(t *testing.T) {
	t.Parallel()
	unit := func(active, sub string) units.Unit {
		return units.Unit{Name: db.Unit(), Load: "loaded", Active: active, Sub: sub}
	}
	for _, c := range []struct {
		name   string
		in     HeroDBInput
		want   HeroDBAction
		event  units.EventCode
		level  units.Level
		remedy string
	}{
		{name: "opt-out comes before all else", in: HeroDBInput{OptOut: true, Registered: true, Wanted: "start"}, want: HeroDBOptedOut},
		{name: "opt-out is silent when nothing is registered", in: HeroDBInput{OptOut: true}, want: HeroDBOptedOut},
		{name: "opt-out is silent about the wanted status", in: HeroDBInput{OptOut: true, Registered: true, Wanted: "stop"}, want: HeroDBOptedOut},
		{name: "not registered is an error", in: HeroDBInput{}, want: HeroDBNotRegistered,
			event: units.EventNotRegistered, level: units.LevelError, remedy: "hero_proc service set hero_db --context core"},
		{name: "a unit that lives without a row is still not registered", in: HeroDBInput{Unit: unit("active", "running")}, want: HeroDBNotRegistered,
			event: units.EventNotRegistered, level: units.LevelError, remedy: "hero_proc service set"},
		{name: "stop is left alone", in: HeroDBInput{Registered: true, Wanted: "stop"}, want: HeroDBNotStartIntent,
			event: units.EventNotStartIntent, level: units.LevelWarning, remedy: "hero_proc service enable --now core/hero_db"},
		{name: "ignore is left alone", in: HeroDBInput{Registered: true, Wanted: "ignore"}, want: HeroDBNotStartIntent,
			event: units.EventNotStartIntent, level: units.LevelWarning, remedy: "enable"},
		{name: "spec is left alone", in: HeroDBInput{Registered: true, Wanted: "spec"}, want: HeroDBNotStartIntent,
			event: units.EventNotStartIntent, level: units.LevelWarning, remedy: "enable"},
		{name: "stop is left alone even when it runs", in: HeroDBInput{Registered: true, Wanted: "stop", Unit: unit("active", "running")}, want: HeroDBNotStartIntent,
			event: units.EventNotStartIntent, level: units.LevelWarning, remedy: "enable"},
		{name: "active is left as it is", in: HeroDBInput{Registered: true, Wanted: "start", Unit: unit("active", "running")}, want: HeroDBAlreadyActive},
		{name: "reloading is active", in: HeroDBInput{Registered: true, Wanted: "start", Unit: unit("reloading", "reload")}, want: HeroDBAlreadyActive},
		{name: "activating is on its way", in: HeroDBInput{Registered: true, Wanted: "start", Unit: unit("activating", "start")}, want: HeroDBAlreadyActive},
		{name: "waiting for systemd's restart is on its way", in: HeroDBInput{Registered: true, Wanted: "start", Unit: unit("activating", "auto-restart")}, want: HeroDBAlreadyActive},
		{name: "a queued job is on its way", in: HeroDBInput{Registered: true, Wanted: "start", Unit: units.Unit{Load: "loaded", Active: "inactive", JobID: 7}}, want: HeroDBAlreadyActive},
		{name: "stopping is started again, as a restart of hero_proc ensures what is wanted", in: HeroDBInput{Registered: true, Wanted: "start", Unit: units.Unit{Load: "loaded", Active: "deactivating", JobID: 7}}, want: HeroDBNeedsStart},
		{name: "failed since this boot started it is not started twice", in: HeroDBInput{Registered: true, Wanted: "start", Tried: true, Unit: unit("failed", "failed")}, want: HeroDBAlreadyActive},
		{name: "inactive is started", in: HeroDBInput{Registered: true, Wanted: "start", Unit: unit("inactive", "dead")}, want: HeroDBNeedsStart},
		{name: "failed is started", in: HeroDBInput{Registered: true, Wanted: "start", Unit: unit("failed", "failed")}, want: HeroDBNeedsStart},
		{name: "not loaded is started", in: HeroDBInput{Registered: true, Wanted: "start"}, want: HeroDBNeedsStart},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.ID = db
			got := DecideHeroDB(c.in)
			if got.Action != c.want || got.Reason == "" {
				t.Fatalf("decided %s because %q, want %s", got.Action, got.Reason, c.want)
			}
			checkEvent(t, got.Event, c.event, c.level, c.remedy)
		})
	}
}

// checkEvent holds an event to its code, "" being none, to the table, and to
// what every event of hero_db's must have.
func checkEvent(t *testing.T, e *units.Event, code units.EventCode, level units.Level, remedy string) {
	t.Helper()
	if e == nil {
		if code != "" {
			t.Fatalf("no event, want %s", code)
		}
		return
	}
	if e.Code != code || e.Level != level {
		t.Errorf("event is %s at %s, want %s at %s: %s", e.Code, e.Level, code, level, e.Message)
	}
	if info, ok := e.Code.Info(); !ok || info.Level != e.Level {
		t.Errorf("the table has %+v for event %s at %s", info, e.Code, e.Level)
	}
	if e.Source != units.SourceHeroDB || e.Service != db || !strings.Contains(e.Message, db.String()) {
		t.Errorf("event %+v is not about %s", e, db)
	}
	if !strings.Contains(e.Remedy, remedy) || e.Remedy == "" {
		t.Errorf("the remedy is %q, want %q in it", e.Remedy, remedy)
	}
}

func TestJudgeHeroDB(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	deadline := now.Add(20 * time.Second)
	unit := func(active, sub string, set func(*units.Unit)) units.Unit {
		u := units.Unit{Name: db.Unit(), Load: "loaded", Active: active, Sub: sub, Result: "success"}
		if set != nil {
			set(&u)
		}
		return u
	}
	since := func(d time.Duration) func(*units.Unit) {
		return func(u *units.Unit) { u.ActiveSince = now.Add(-d) }
	}
	exited := func(result string, status int32) func(*units.Unit) {
		return func(u *units.Unit) { u.Result, u.ExitCode, u.ExitStatus = result, 1, status }
	}
	for _, c := range []struct {
		name    string
		in      HeroDBProgress
		want    HeroDBVerdict
		code    units.EventCode
		says    string
		recheck time.Duration
	}{
		{name: "a program that says so is up at once", in: HeroDBProgress{Proven: true, Unit: unit("active", "running", since(0))}, want: HeroDBUp},
		{name: "an executed program has to stay up", in: HeroDBProgress{Unit: unit("active", "running", since(100*time.Millisecond))}, want: HeroDBWait, recheck: 200 * time.Millisecond},
		{name: "an executed program that stayed up is up", in: HeroDBProgress{Unit: unit("active", "running", since(300*time.Millisecond))}, want: HeroDBUp},
		{name: "a program that has been up for long is up at once", in: HeroDBProgress{Unit: unit("active", "running", since(time.Hour))}, want: HeroDBUp},
		{name: "a clock that was set back can't hold the boot", in: HeroDBProgress{Seen: now.Add(-100 * time.Millisecond), Unit: unit("active", "running", since(-time.Hour))}, want: HeroDBWait, recheck: 200 * time.Millisecond},
		{name: "nor hold it for ever", in: HeroDBProgress{Seen: now.Add(-300 * time.Millisecond), Unit: unit("active", "running", since(-time.Hour))}, want: HeroDBUp},
		{name: "active at the deadline is up", in: HeroDBProgress{Unit: unit("active", "running", since(0)), Deadline: now}, want: HeroDBUp},
		{name: "starting is waited for", in: HeroDBProgress{Unit: unit("activating", "start", nil)}, want: HeroDBWait, recheck: 20 * time.Second},
		{name: "a restart by systemd is waited for", in: HeroDBProgress{Unit: unit("activating", "auto-restart", exited("exit-code", 1))}, want: HeroDBWait, recheck: 20 * time.Second},
		{name: "a queued job is waited for", in: HeroDBProgress{Unit: unit("inactive", "dead", func(u *units.Unit) { u.JobID = 3 })}, want: HeroDBWait, recheck: 20 * time.Second},
		{name: "a start whose result is still to come is waited for", in: HeroDBProgress{Pending: true, Unit: unit("inactive", "dead", nil)}, want: HeroDBWait, recheck: 20 * time.Second},
		{name: "a unit that could not be read yet is waited for", in: HeroDBProgress{}, want: HeroDBWait, recheck: 20 * time.Second},
		{name: "failed with its exit status", in: HeroDBProgress{Unit: unit("failed", "failed", exited("exit-code", 1))}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "systemd's result is exit-code (exited with status 1)"},
		{name: "failed because there is no program", in: HeroDBProgress{JobResult: "failed", Unit: unit("failed", "failed", exited("exit-code", 203))}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "status 203/EXEC"},
		{name: "failed by a signal", in: HeroDBProgress{Unit: unit("failed", "failed", func(u *units.Unit) { u.Result, u.ExitCode, u.ExitStatus = "signal", 2, 9 })}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "killed by signal 9"},
		{name: "crash loop spent its start limit", in: HeroDBProgress{Unit: unit("failed", "failed", exited("start-limit-hit", 1))}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "start-limit-hit"},
		{name: "systemd's own timeout", in: HeroDBProgress{JobResult: "timeout", Unit: unit("failed", "failed", func(u *units.Unit) { u.Result = "timeout" })}, want: HeroDBFailed,
			code: units.EventStartTimeout, says: "timeout"},
		{name: "never ready", in: HeroDBProgress{Unit: unit("activating", "start", nil), Deadline: now}, want: HeroDBFailed,
			code: units.EventStartTimeout, says: "still activating (start) after 20s"},
		{name: "a probe is waited for", in: HeroDBProgress{Proven: true, Unit: unit("activating", "start-post", nil), Said: Said{db.Unit(): "waiting for x"}}, want: HeroDBWait, recheck: 20 * time.Second},
		{name: "a probe that waits at the deadline", in: HeroDBProgress{Proven: true, Unit: unit("activating", "start-post", nil), Said: Said{db.Unit(): "waiting for x"}, Deadline: now}, want: HeroDBFailed,
			code: units.EventStartTimeout, says: "still activating (start-post) after 20s, waiting for x"},
		{name: "a probe that gave up", in: HeroDBProgress{Proven: true, Unit: unit("failed", "failed", exited("exit-code", 0)), Said: Said{db.Unit(): "not ready: x"}}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "systemd's result is exit-code (exited with status 0), not ready: x"},
		{name: "a probe that gave up, between restarts", in: HeroDBProgress{Unit: unit("activating", "auto-restart", exited("exit-code", 3)), Said: Said{db.Unit(): "not ready: x"}, Deadline: now}, want: HeroDBFailed,
			code: units.EventStartTimeout, says: "its last result is exit-code (exited with status 3), not ready: x"},
		{name: "a dependency's probe gave up", in: HeroDBProgress{JobResult: "dependency", Unit: unit("inactive", "dead", nil), Said: Said{"hero-core-disk.service": "not ready: y"},
			Down: []units.Unit{{Name: "hero-core-disk.service", Load: "loaded", Active: "failed", Result: "exit-code", ExitCode: 1, ExitStatus: 5}}}, want: HeroDBFailed,
			code: units.EventDependencyFailed, says: "which is failed: exit-code (exited with status 5), not ready: y"},
		{name: "never up between restarts", in: HeroDBProgress{Unit: unit("activating", "auto-restart", exited("exit-code", 3)), Deadline: now}, want: HeroDBFailed,
			code: units.EventStartTimeout, says: "its last result is exit-code (exited with status 3)"},
		{name: "dependency failed", in: HeroDBProgress{JobResult: "dependency", Unit: unit("inactive", "dead", nil),
			Down: []units.Unit{{Name: "hero-core-disk.service", Load: "loaded", Active: "failed", Result: "exit-code", ExitCode: 1, ExitStatus: 5}}}, want: HeroDBFailed,
			code: units.EventDependencyFailed, says: "hero-core-disk.service, which is failed: exit-code (exited with status 5)"},
		{name: "dependency failed, and the start was another's", in: HeroDBProgress{Unit: unit("inactive", "dead", nil),
			Down: []units.Unit{{Name: "hero-core-disk.service", Load: "loaded", Active: "failed", Result: "signal"}}}, want: HeroDBFailed,
			code: units.EventDependencyFailed, says: "hero-core-disk.service, which is failed: signal"},
		{name: "dependency not loaded", in: HeroDBProgress{JobResult: "dependency", Down: []units.Unit{{Name: "hero-core-disk.service"}}}, want: HeroDBFailed,
			code: units.EventDependencyFailed, says: "which is not loaded"},
		{name: "dependency that nobody can name any more", in: HeroDBProgress{JobResult: "dependency"}, want: HeroDBFailed,
			code: units.EventDependencyFailed, says: "a unit that it requires failed"},
		{name: "job canceled", in: HeroDBProgress{JobResult: "canceled", Unit: unit("inactive", "dead", nil)}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "canceled"},
		{name: "ended at once with success", in: HeroDBProgress{JobResult: "done", Unit: unit("inactive", "dead", exited("success", 0))}, want: HeroDBFailed,
			code: units.EventStartFailed, says: "exited with status 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.ID, c.in.Now, c.in.Settle, c.in.Timeout = db, now, 300*time.Millisecond, 20*time.Second
			if c.in.Deadline.IsZero() {
				c.in.Deadline = deadline
			}
			if c.in.Seen.IsZero() {
				c.in.Seen = now
			}
			got := JudgeHeroDB(c.in)
			if got.Verdict != c.want || got.Reason == "" {
				t.Fatalf("verdict is %s because %q, want %s", got.Verdict, got.Reason, c.want)
			}
			if got.Verdict == HeroDBWait && got.Recheck != now.Add(c.recheck) {
				t.Errorf("judged again in %s, want %s", got.Recheck.Sub(now), c.recheck)
			}
			checkEvent(t, got.Event, c.code, units.LevelError, "journalctl -b -u hero-core-hero_db.service")
			if c.code != "" && !strings.Contains(got.Event.Message, c.says) {
				t.Errorf("message is %q, want %q in it", got.Event.Message, c.says)
			}
		})
	}
}
