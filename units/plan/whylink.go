package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxNamed bounds the services that one sentence names.
const maxNamed = 5

// link says what is the matter with a service, and why, in itself.
func (w *walk) link(id units.ID, causes []Suspect) units.Link {
	st, registered := w.Statuses[id]
	if !registered {
		return w.unregistered(id)
	}
	l := units.Link{ID: id, Unit: st.Unit.Name, State: st.State, Why: st.Reason, Remedy: st.Remedy, Since: st.Unit.ChangedAt}
	u := st.Unit
	start := "hero_proc service start " + id.String()
	switch st.State {
	case units.StateActivating:
		l.What, l.InvocationID = "is starting", u.InvocationID
		switch {
		case queued(u):
			// Its unit tells of the activation before.
			l.What, l.Since, l.InvocationID = "is to be started, and waits", time.Time{}, ""
			if len(causes) == 0 && st.Reason == startQueued {
				l.Why += ", behind units that are not hero_proc's"
				l.Remedy = "systemctl list-jobs --after"
			}
		case u.Sub == "auto-restart":
			l.What = "has ended, and systemd is about to start it again"
		}
	case units.StateRunning:
		l.What, l.Why, l.Since = "runs, and nothing is wrong", w.running(st), u.ActiveSince
		if len(causes) > 0 {
			l.What = "runs, but what it requires is not well"
		}
		if st.Stale {
			l.Remedy = "hero_proc service restart " + id.String()
		}
	case units.StateExited:
		l.What, l.Why, l.Since = "has run to its end with success, and nothing is wrong", "it is a one-shot, which counts as up once it is done", u.ActiveSince
	case units.StateDegraded:
		l.What, l.Since = "is up, but not well", u.ActiveSince
		if h, unit := unhealthy(st); h.State != "" {
			l.Since, l.InvocationID = h.Since, unit.InvocationID
		}
	case units.StateFailed:
		l.What, l.InvocationID, l.Remedy = "has failed", u.InvocationID, withLine(st.Remedy, start)
		if refused := w.refused(st); refused != "" {
			l.Remedy = withLine(refused, start)
		}
		l.Why = strings.TrimSuffix(st.Reason, "; "+st.Intends)
		if words := resultWords[u.Result]; words != "" {
			l.Why += ": " + words
		}
		if u.Restarts > 0 {
			l.Why += fmt.Sprintf("; systemd had restarted it %s", times(int(u.Restarts)))
		}
		if st.Intends != "" {
			l.Why += "; " + st.Intends
		}
	case units.StateBlocked:
		l.What, l.Since = w.blocked(id, causes), time.Time{}
		if s, _ := w.Graph.Service(id); len(causes) > 0 && w.comesBack(st) {
			l.What += "; " + st.Intends
		} else if len(causes) > 0 && s.StayDown {
			l.What += "; hero_proc does not start it with that: its restart_with_requires is false"
		}
	case units.StateInactive:
		w.inactive(&l, st, causes)
	case units.StateUnknown:
		l.What, l.Since = "is in a state that is not known", time.Time{}
		l.Remedy = withLine(st.Remedy, "journalctl -b -u hero_proc")
	}
	if u.ExitCode == 1 && u.ExitStatus == exitCredentials && l.InvocationID != "" && w.generates(id) {
		l.Remedy = withLine("hero_proc service set "+id.String(), l.Remedy)
		l.Why += "; a set makes the secrets anew that hero_proc has generated and that are gone"
	}
	return l
}

// comesBack says that hero_proc starts the service as soon as what it requires is up.
func (w *walk) comesBack(st units.Status) bool {
	return (st.State == units.StateBlocked || st.State == units.StateInactive) && st.Intends != ""
}

// unhealthy is the first action whose probe fails, and its unit.
func unhealthy(st units.Status) (units.ActionHealth, units.Unit) {
	for _, h := range st.Health {
		for _, a := range st.Actions {
			if h.State == units.HealthUnhealthy && a.Name == h.Action {
				return h, a.Unit
			}
		}
	}
	return units.ActionHealth{}, units.Unit{}
}

// refused are the commands that end whoever has what the service needs, if its
// start was refused for that: they were reported with it.
func (w *walk) refused(st units.Status) string {
	for _, e := range slices.Backward(w.Events) {
		taken := e.Code == units.EventPortTaken || e.Code == units.EventSocketTaken
		if _, refusal, ok := strings.Cut(e.Message, units.NotStarted); ok && taken && e.Service == st.ID && strings.Contains(st.Reason, units.NotStarted+refusal) {
			return e.Remedy
		}
	}
	return ""
}

// startedSince are those that the service requires which were started anew after a time.
func (w *walk) startedSince(st units.Status, t time.Time) (all []units.ID) {
	for _, id := range w.Graph.Requires(st.ID) {
		if job := w.Jobs[id.Unit()]; job.Created.After(t) && !t.IsZero() {
			all = append(all, id)
		}
	}
	return all
}

// exitCredentials is EXIT_CREDENTIALS of systemd.exec(5), "Process Exit Codes".
const exitCredentials = 243

// generates says that hero_proc makes secrets for the service.
func (w *walk) generates(id units.ID) bool {
	s, _ := w.Graph.Service(id)
	for _, a := range s.Actions {
		for _, path := range a.Credentials {
			if path == units.GeneratedCredential {
				return true
			}
		}
	}
	return false
}

func (w *walk) unregistered(id units.ID) units.Link {
	l := units.Link{ID: id, What: "is not registered", Remedy: fmt.Sprintf("hero_proc service set %s --exec 'COMMAND'", id)}
	if by := w.Graph.RequiredBy(id); len(by) > 0 {
		l.Why = "it is required by " + nameSome(by)
	}
	for _, other := range w.Graph.ids {
		if other.Name == id.Name {
			l.Why = strings.TrimPrefix(fmt.Sprintf("%s; there is a service %s", l.Why, other), "; ")
			break
		}
	}
	return l
}

// running says how a service became ready.
func (w *walk) running(st units.Status) string {
	s, ok := w.Graph.Service(st.ID)
	if !ok || s.Primary() < 0 {
		return st.Reason
	}
	why, then := "", ", "
	switch a := s.Actions[s.Primary()]; {
	case a.Ready == units.ReadyNotify:
		why = "it said itself that it is ready (sd_notify)"
	case a.Ready.IsProbe():
		why = "it is ready: its probe " + string(a.Ready) + " was answered"
	default:
		why, then = "it counts as ready once it is executed: it has no readiness probe", "; "
	}
	job := w.Jobs[st.Unit.Name]
	if took := job.Started.Sub(job.Created); job.InvocationID == st.Unit.InvocationID && !job.Started.IsZero() && took > 0 {
		why += fmt.Sprintf("%s%s after it was asked for", then, round(took))
	}
	if st.Unit.Restarts > 0 {
		why += fmt.Sprintf("; systemd has restarted it %s", times(int(st.Unit.Restarts)))
	}
	if st.Stale {
		why += "; it runs with its old definition until it is restarted"
	}
	if st.Reason != "" {
		why += "; " + st.Reason
	}
	return why
}

func (w *walk) blocked(id units.ID, causes []Suspect) string {
	switch p := w.Problems[id]; {
	case p.Code == units.EventDependencyCycle:
		return "can't be started: it is in a dependency cycle"
	case p.Code == units.EventDefinitionInvalid:
		return "can't be started: its definition can't be used"
	case len(causes) > 0:
		return "can't be started: what it requires is not up"
	default:
		return "can't be started"
	}
}

// inactive tells from the last job how the service came to be down.
func (w *walk) inactive(l *units.Link, st units.Status, causes []Suspect) {
	job := w.Jobs[st.Unit.Name]
	start := "hero_proc service start " + st.ID.String()
	if l.Since = job.Ended; job.Phase == "" {
		l.Since = time.Time{}
	}
	if l.Remedy == "" {
		l.Remedy = start
	}
	switch {
	case st.Wanted == units.WantedSpec:
		l.What, l.Why = "is a definition only", "its wanted status is spec, so it has no unit"
		l.Remedy = "hero_proc service enable --now " + st.ID.String()
		return
	case st.Unit.Active == "deactivating":
		l.What, l.Since, l.Remedy = "is stopping", st.Unit.ChangedAt, st.Remedy
		return
	case len(causes) > 0 && causes[0].Relation == units.RelationConflicts:
		l.What = "is not started: what it conflicts with is up"
		if job.Phase == units.PhaseCanceled {
			l.What = "was stopped: what it conflicts with is up"
		}
		l.Remedy = fmt.Sprintf("hero_proc service disable %s\nhero_proc service disable %s", causes[0].ID, st.ID)
		return
	case len(causes) > 0 && job.Phase == units.PhaseCanceled:
		l.What = "was stopped together with what it requires"
		return
	case len(causes) > 0:
		l.What = "is not started: what it requires is not up"
		if w.comesBack(st) {
			l.What += "; " + st.Intends
		}
		return
	case st.Reason != "": // systemd has no such unit
		l.What = "is not running"
		return
	}
	switch job.Phase {
	case units.PhaseCanceled:
		l.What, l.Why = "was stopped", "somebody asked for it, by hero_proc or by systemctl"
		if again := w.startedSince(st, job.Ended); len(again) > 0 {
			l.Why = fmt.Sprintf("it was stopped together with what it requires, or by somebody: %s was started again since", nameSome(again))
			if s, _ := w.Graph.Service(st.ID); s.StayDown {
				l.Why += "; hero_proc does not start it with that: its restart_with_requires is false"
			}
		}
		if job.InvocationID == "" {
			l.What, l.Why = "was not started", "its start was called off"
		}
	case units.PhaseSucceeded:
		l.What, l.InvocationID = "has ended by itself, with success", job.InvocationID
		l.Why = "its restart policy leaves it so"
		if s, ok := w.Graph.Service(st.ID); ok && s.Primary() >= 0 {
			l.Why = fmt.Sprintf("its restart policy is %s, which leaves it so", s.Actions[s.Primary()].RestartPolicy())
		}
	case units.PhaseFailed:
		l.What, l.InvocationID = "has failed, and was reset since", job.InvocationID
		l.Why = outcome(units.Unit{Result: job.Result, ExitCode: job.ExitCode, ExitStatus: job.ExitStatus})
		if job.InvocationID == "" {
			l.What = "was not started"
		}
		if job.Result == "dependency" {
			l.Why = "its last start failed because something that it requires did; that is up by now"
		}
	case units.PhaseLost:
		l.What, l.InvocationID = "is not running", job.InvocationID
		l.Why = "how it ended is not known: nobody was there to see it"
	case "":
		l.What = "was never started, as far as the history goes back"
	default:
		l.What, l.Why = "is not running", "it has ended just now"
	}
	l.Why = strings.TrimPrefix(l.Why+"; "+stays(st.Wanted), "; ")
}

// stays says what becomes of a service that is down.
func stays(wanted units.Wanted) string {
	switch wanted {
	case units.WantedStop:
		return "it is not started at boot (wanted status stop)"
	case units.WantedIgnore:
		return "hero_proc leaves it alone (wanted status ignore)"
	default:
		return "it is started when somebody asks for it, and at the next boot or start of hero_proc"
	}
}

// resultWords say what systemd's words for a unit's result mean, where the
// exit status doesn't: systemd.exec(5), $SERVICE_RESULT.
var resultWords = map[string]string{
	"protocol":        "it did not do what its type asks for, such as saying that it is ready",
	"timeout":         "it took longer to start or to stop than it may",
	"watchdog":        "it has not sent its sign of life in time",
	"oom-kill":        "the kernel has ended it for want of memory",
	"start-limit-hit": "it was started too often in too short a time",
	"resources":       "systemd lacked something that it needs to start it",
	"core-dump":       "it has crashed",
}

// outcome is that of a unit, with what the words of its result mean.
func outcome(u units.Unit) string {
	text := "systemd's result is " + u.Outcome()
	if words := resultWords[u.Result]; words != "" {
		text += ": " + words
	}
	return text
}

func withLine(text, line string) string {
	if text == "" {
		return line
	}
	return text + "\n" + line
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// round is a duration as people read it.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}

func nameSome(ids []units.ID) string {
	var names []string
	for i, id := range ids {
		if i == maxNamed {
			names = append(names, fmt.Sprintf("%d more", len(ids)-i))
			break
		}
		names = append(names, id.String())
	}
	return strings.Join(names, ", ")
}
