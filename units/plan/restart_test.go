package plan

import (
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func TestDecideRetry(t *testing.T) {
	t.Parallel()
	given := units.Unit{Name: "hero-core-a.service", Load: "loaded", Active: "failed", Sub: "failed", Result: "exit-code"}
	unit := func(change func(*units.Unit)) units.Unit { u := given; change(&u); return u }
	process := units.NewAction("main")
	action := func(change func(*units.Action)) units.Action { a := process; change(&a); return a }
	for _, tt := range []struct {
		name   string
		change func(*RetryInput)
		want   RetryDecision
	}{
		{"systemd has given it up", func(*RetryInput) {}, RetryDecision{RetryLater, "hero_proc starts it again in 1m0s (its first try)", time.Minute}},
		{"again, after one try", func(in *RetryInput) { in.Tries = 1 }, RetryDecision{RetryLater, "hero_proc starts it again in 2m0s, after 1 start of its own", 2 * time.Minute}},
		{"again, after many", func(in *RetryInput) { in.Tries = 90 }, RetryDecision{RetryLater, "hero_proc starts it again in 1h0m0s, after 90 starts of its own", time.Hour}},
		{"the time is not yet over", func(in *RetryInput) { in.Noted, in.Due = true, now.Add(10*time.Second) }, RetryDecision{RetryLater, "hero_proc starts it again in 10s", 10 * time.Second}},
		{"the time is over", func(in *RetryInput) { in.Noted, in.Due = true, now }, RetryDecision{RetryNow, "systemd has given it up, it is wanted, nobody has stopped it since, and 1m0s is over", 0}},
		{"its unit was loaded anew meanwhile", func(in *RetryInput) {
			in.Noted, in.Due, in.Unit = true, now, unit(func(u *units.Unit) { u.Active = "inactive" })
		}, RetryDecision{RetryNow, "systemd has given it up, it is wanted, nobody has stopped it since, and 1m0s is over", 0}},
		{"it came up by other means", func(in *RetryInput) {
			in.Noted, in.Due, in.Unit = true, now, unit(func(u *units.Unit) { u.Active = "active" })
		}, RetryDecision{RetryNone, "it is active", 0}},
		{"systemd goes on trying", func(in *RetryInput) {
			in.Unit = unit(func(u *units.Unit) { u.Active, u.Sub = "activating", "auto-restart" })
		}, RetryDecision{RetryNone, "it is activating", 0}},
		{"it is stopping", func(in *RetryInput) { in.Unit = unit(func(u *units.Unit) { u.Active = "deactivating" }) }, RetryDecision{RetryNone, "it is deactivating", 0}},
		{"somebody is starting it", func(in *RetryInput) {
			in.Noted, in.Due, in.Unit = true, now, unit(func(u *units.Unit) { u.JobID = 7 })
		}, RetryDecision{RetryNone, "systemd has a job for it", 0}},
		{"it has not failed", func(in *RetryInput) { in.Unit = unit(func(u *units.Unit) { u.Active = "inactive" }) }, RetryDecision{RetryNone, "it has not failed", 0}},
		{"it failed as it was stopped", func(in *RetryInput) { in.Job = "done" }, RetryDecision{RetryNone, "somebody has stopped it", 0}},
		{"systemctl stop, while it was waited for", func(in *RetryInput) { in.Noted, in.Due, in.Job = true, now, "done" }, RetryDecision{RetryNone, "somebody has stopped it", 0}},
		{"a stop that canceled its start", func(in *RetryInput) { in.Job = "canceled" }, RetryDecision{RetryNone, "somebody has stopped it", 0}},
		{"a job of another end", func(in *RetryInput) { in.Job = "timeout" }, RetryDecision{RetryNone, "systemd's result of its last job is timeout", 0}},
		{"it failed while the bus was away", func(in *RetryInput) { in.Job = "" }, RetryDecision{RetryNone, "how it came to fail was not seen", 0}},
		{"it had been given up when the bus went away", func(in *RetryInput) { in.Noted, in.Due, in.Job = true, now, "" }, RetryDecision{RetryNow, "systemd has given it up, it is wanted, nobody has stopped it since, and 1m0s is over", 0}},
		{"it was stopped through hero_proc", func(in *RetryInput) { in.Noted, in.Due, in.Overruled = true, now, true }, RetryDecision{RetryNone, "something else was asked of the service since", 0}},
		{"systemd is not to restart it", func(in *RetryInput) { in.Action = action(func(a *units.Action) { a.Restart = units.RestartNo }) }, RetryDecision{RetryNone, "its restart is no", 0}},
		{"a one-shot", func(in *RetryInput) { in.Action = action(func(a *units.Action) { a.Process = false }) }, RetryDecision{RetryNone, "its restart is no", 0}},
		{"a one-shot that is restarted", func(in *RetryInput) {
			in.Action = action(func(a *units.Action) { a.Process, a.Restart = false, units.RestartOnFailure })
		}, RetryDecision{RetryLater, "hero_proc starts it again in 1m0s (its first try)", time.Minute}},
		{"it is not wanted", func(in *RetryInput) { in.Wanted = units.WantedStop }, RetryDecision{RetryNever, "its wanted status is stop", 0}},
		{"it is to be left alone", func(in *RetryInput) { in.Wanted = units.WantedIgnore }, RetryDecision{RetryNever, "its wanted status is ignore", 0}},
		{"opted out", func(in *RetryInput) { in.Action = action(func(a *units.Action) { a.NoRetry = true }) }, RetryDecision{RetryNever, "its restart_retry is false", 0}},
		{"opted out meanwhile", func(in *RetryInput) {
			in.Noted, in.Due, in.Action = true, now, action(func(a *units.Action) { a.NoRetry = true })
		}, RetryDecision{RetryNever, "its restart_retry is false", 0}},
		{"it has a problem", func(in *RetryInput) { in.Blocked = &Problem{Message: "it is part of a cycle"} }, RetryDecision{RetryNever, "it is part of a cycle", 0}},
		{"it is masked", func(in *RetryInput) { in.Unit = unit(func(u *units.Unit) { u.Load = "masked" }) }, RetryDecision{RetryNever, "systemd can't use its unit, whose load state is masked", 0}},
		{"a further action of a service that runs", func(in *RetryInput) { in.Primary.Name, in.Primary.Active = "hero-core-b.service", "active" }, RetryDecision{RetryLater, "hero_proc starts it again in 1m0s (its first try)", time.Minute}},
		{"a further action of one that doesn't", func(in *RetryInput) { in.Primary.Name = "hero-core-b.service" }, RetryDecision{RetryNever, "the service itself is failed", 0}},
	} {
		in := RetryInput{Wanted: units.WantedStart, Action: process, Unit: given, Primary: given, Job: "failed", Now: now}
		tt.change(&in)
		if got := DecideRetry(in); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestDecideReset(t *testing.T) {
	t.Parallel()
	a := units.NewAction("main")
	a.ResetAfter = time.Minute
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, tt := range []struct {
		name string
		in   ResetInput
		want ResetDecision
	}{
		{"up for long enough", ResetInput{Unit: units.Unit{Active: "active", Restarts: 2, ActiveSince: ago(time.Minute)}}, ResetDecision{Reset: true, Reason: "it has been up for 1m0s"}},
		{"hero_proc's own starts count too", ResetInput{Unit: units.Unit{Active: "active", ActiveSince: ago(time.Hour)}, Tries: 1}, ResetDecision{Reset: true, Reason: "it has been up for 1m0s"}},
		{"not yet", ResetInput{Unit: units.Unit{Active: "active", Restarts: 1, ActiveSince: ago(time.Second)}}, ResetDecision{Reason: "it has not been up for 1m0s", At: now.Add(59 * time.Second)}},
		{"reloading is up", ResetInput{Unit: units.Unit{Active: "reloading", Restarts: 1, ActiveSince: ago(time.Hour)}}, ResetDecision{Reset: true, Reason: "it has been up for 1m0s"}},
		{"the clock was set back", ResetInput{Unit: units.Unit{Active: "active", Restarts: 1, ActiveSince: now.Add(time.Hour)}}, ResetDecision{Reason: "it has not been up for 1m0s", At: now.Add(time.Minute)}},
		{"and it was seen before that", ResetInput{Unit: units.Unit{Active: "active", Restarts: 1, ActiveSince: now.Add(time.Hour)}, Seen: ago(time.Minute)}, ResetDecision{Reset: true, Reason: "it has been up for 1m0s"}},
		{"never restarted", ResetInput{Unit: units.Unit{Active: "active", ActiveSince: ago(time.Hour)}}, ResetDecision{Reason: "it was not restarted"}},
		{"on its way up", ResetInput{Unit: units.Unit{Active: "activating", Restarts: 1}, Tries: 1}, ResetDecision{Reason: "it is activating"}},
		{"down", ResetInput{Unit: units.Unit{Active: "failed", Restarts: 1}, Tries: 1}, ResetDecision{Reason: "it is failed"}},
		{"a one-shot that is done", ResetInput{Unit: units.Unit{Active: "active", Sub: "exited", Restarts: 1}}, ResetDecision{Reason: "it has ended"}},
	} {
		tt.in.Action, tt.in.Now = a, now
		if got := DecideReset(tt.in); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestDecideReturn(t *testing.T) {
	t.Parallel()
	up, reloading, starting, failed := units.Unit{Name: "b", Active: "active"}, units.Unit{Name: "c", Active: "reloading"}, units.Unit{Name: "d", Active: "activating"}, units.Unit{Name: "e", Active: "failed"}
	const why = "it was down because of what it requires, and that is up again: "
	for _, tt := range []struct {
		name   string
		change func(*ReturnInput)
		want   ReturnDecision
	}{
		{"what it requires is up", func(*ReturnInput) {}, ReturnDecision{Start: true, Reason: why + "b"}},
		{"all of it", func(in *ReturnInput) { in.Requires = []units.Unit{reloading, up} }, ReturnDecision{Start: true, Reason: why + "b, c"}},
		{"a part of it is not", func(in *ReturnInput) { in.Requires = []units.Unit{failed, up} }, ReturnDecision{Waits: true, Reason: "e is failed"}},
		{"it is on its way up", func(in *ReturnInput) { in.Requires = []units.Unit{starting, failed} }, ReturnDecision{Waits: true, Reason: "d is activating, e is failed"}},
		{"it was stopped by hand", func(in *ReturnInput) { in.Job = "done" }, ReturnDecision{Reason: "it is not down because of what it requires"}},
		{"its start was canceled", func(in *ReturnInput) { in.Job = "canceled" }, ReturnDecision{Reason: "it is not down because of what it requires"}},
		{"it failed by itself", func(in *ReturnInput) { in.Job = "failed" }, ReturnDecision{Reason: "it is not down because of what it requires"}},
		{"it was stopped through hero_proc", func(in *ReturnInput) { in.Overruled = true }, ReturnDecision{Reason: "something else was asked of the service since"}},
		{"somebody is starting it", func(in *ReturnInput) { in.Unit.JobID = 7 }, ReturnDecision{Waits: true, Reason: "systemd has a job for it"}},
		{"it is up", func(in *ReturnInput) { in.Unit.Active = "active" }, ReturnDecision{Reason: "it is active"}},
		{"it is on its way", func(in *ReturnInput) { in.Unit.Active = "activating" }, ReturnDecision{Reason: "it is activating"}},
		{"systemd's restart of it has ended so", func(in *ReturnInput) { in.Unit.Active, in.Unit.Sub = "activating", "auto-restart" }, ReturnDecision{Start: true, Reason: why + "b"}},
		{"it is not wanted", func(in *ReturnInput) { in.Service.Wanted = units.WantedStop }, ReturnDecision{Reason: "its wanted status is stop"}},
		{"it is to be left alone", func(in *ReturnInput) { in.Service.Wanted = units.WantedIgnore }, ReturnDecision{Reason: "its wanted status is ignore"}},
		{"opted out", func(in *ReturnInput) { in.Service.StayDown = true }, ReturnDecision{Reason: "its restart_with_requires is false"}},
		{"it has a problem", func(in *ReturnInput) { in.Blocked = &Problem{Message: "it is part of a cycle"} }, ReturnDecision{Reason: "it is part of a cycle"}},
	} {
		in := ReturnInput{Service: units.Service{Wanted: units.WantedStart}, Unit: units.Unit{Name: "a", Load: "loaded", Active: "inactive"}, Job: "dependency", Requires: []units.Unit{up}}
		tt.change(&in)
		if got := DecideReturn(in); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
