// Package chaos says whether a history is true: whether the jobs that
// hero_proc has recorded agree with what PID 1 wrote into the journal and with
// what systemd says now.
//
// What lives here is the comparison alone, a pure function, so that it can be
// shown to find what is wrong. What never may: a machine, a bus, a database.
package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Job is a row of the history.
type Job struct {
	ID, Run    int64
	Unit       string
	Attempt    int
	Phase      string
	Invocation string
	Ended      time.Time // zero when it has not
	Result     string
	ExitCode   int // as in ExecMainCode: 1 exited, 2 killed, 3 dumped
	ExitStatus int
}

func (j Job) String() string {
	return fmt.Sprintf("job %d of run %d (%s, attempt %d, %s, result %q, %d/%d, invocation %s)",
		j.ID, j.Run, j.Unit, j.Attempt, j.Phase, j.Result, j.ExitCode, j.ExitStatus, j.Invocation)
}

func (j Job) live() bool { return j.Phase == "pending" || j.Phase == "running" }

// Invocation is what the journal says of one activation of a unit. What it
// does not say has the zero of its type.
type Invocation struct {
	ID, Unit string
	// Code and Status are of "Main process exited", which PID 1 writes when
	// that was no success.
	Code, Status int
	// Over is when the unit was through with it, Result what PID 1 called it:
	// "success", or that of "Failed with result".
	Over   time.Time
	Result string
}

// Unit is a unit as systemd has it.
type Unit struct {
	Name, Invocation string
	Active, Sub      string
}

// Settled says that nothing is on its way in the unit.
func (u Unit) Settled() bool {
	switch u.Active {
	case "active", "inactive", "failed":
		return true
	}
	return false
}

// apart is how far the history and the journal may differ about the moment of
// an end: PID 1 takes the one when it reaps the process, and writes the other
// once the whole control group is empty.
const apart = 5 * time.Second

// Check compares them, and says in words what does not agree. All units have
// to be settled. cutOff is how often the daemon was killed amid what it was
// asked: it may have written a start down and not passed it on.
func Check(jobs []Job, journal []Invocation, now []Unit, cutOff int) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	byInvocation := map[string]Job{}
	attempts := map[string]Job{}
	for _, j := range jobs {
		if j.Invocation != "" {
			if other, ok := byInvocation[j.Invocation]; ok {
				fault("doubled: %v and %v", other, j)
			}
			byInvocation[j.Invocation] = j
		}
		key := fmt.Sprint(j.Run, j.Unit, j.Attempt)
		if other, ok := attempts[key]; ok {
			fault("two jobs are the same attempt: %v and %v", other, j)
		}
		attempts[key] = j
		switch {
		case j.Phase == "lost" && j.Invocation == "" && cutOff > 0:
			cutOff--
		case j.Phase == "lost":
			fault("lost, though the journal could be read: %v", j)
		case j.live() != j.Ended.IsZero():
			fault("its phase and its end (%v) don't agree: %v", j.Ended, j)
		case j.live() && j.Invocation == "":
			fault("waits for a start, and all is settled: %v", j)
		case j.Attempt < 1:
			fault("attempts count from 1: %v", j)
		}
	}

	current := map[string]Unit{}
	for _, u := range now {
		if u.Invocation == "" {
			continue
		}
		current[u.Invocation] = u
		j, ok := byInvocation[u.Invocation]
		up := u.Active == "active" && u.Sub != "exited"
		switch {
		case !ok:
			fault("lost: there is no job for what %s runs or ran last: invocation %s", u.Name, u.Invocation)
		case j.Unit != u.Name:
			fault("the invocation is of %s: %v", u.Name, j)
		case up && j.Phase != "running":
			fault("%s runs: %v", u.Name, j)
		case !up && j.live():
			fault("%s is %s (%s): %v", u.Name, u.Active, u.Sub, j)
		}
	}
	for _, j := range jobs {
		if _, ok := current[j.Invocation]; j.live() && j.Invocation != "" && !ok {
			fault("nothing runs it any more: %v", j)
		}
	}

	for _, i := range journal {
		j, ok := byInvocation[i.ID]
		if !ok {
			fault("lost: the journal has an invocation of %s that no job has: %s", i.Unit, i.ID)
			continue
		}
		if i.Over.IsZero() || j.live() {
			continue // that it runs is compared with systemd
		}
		if d := j.Ended.Sub(i.Over); d > apart || !oneshot(j, i) && d < -apart {
			fault("it ended at %v by the journal, at %v by the history: %v", i.Over, j.Ended, j)
		}
		switch success := j.Phase == "succeeded" || j.Phase == "canceled"; {
		case i.Result == "success" && !success:
			fault("by the journal it ended with success: %v", j)
		case i.Result != "success" && (j.Phase != "failed" || j.Result != i.Result):
			fault("by the journal its result is %q: %v", i.Result, j)
		}
		if i.Code != 0 && i.Result != "success" && (i.Code != j.ExitCode || i.Status != j.ExitStatus) {
			fault("by the journal the main process ended with %d/%d: %v", i.Code, i.Status, j)
		}
	}
	slices.Sort(faults)
	return faults
}

// oneshot says that the job was done long before its unit was stopped: the
// unit of an action that runs to its end stays active.
func oneshot(j Job, i Invocation) bool { return j.Phase == "succeeded" && i.Result == "success" }

// Untouched compares the units that nobody touched between two moments: what
// was up must still be the same activation, and what was down is still down,
// though it may have been loaded anew, which forgets its activation.
// ensured says that hero_proc was started anew meanwhile, which starts what is
// wanted and was down.
func Untouched(before, after []Unit, touched func(unit string) bool, ensured bool) []string {
	now := map[string]Unit{}
	for _, u := range after {
		now[u.Name] = u
	}
	var faults []string
	for _, u := range before {
		if touched(u.Name) {
			continue
		}
		v, there := now[u.Name]
		switch {
		case u.Active == "active" && v.Invocation != u.Invocation:
			faults = append(faults, fmt.Sprintf("nobody touched %s, and its invocation is %q, was %q", u.Name, v.Invocation, u.Invocation))
		case u.Active == "active" && v.Active != "active":
			faults = append(faults, fmt.Sprintf("nobody touched %s, and it is %s", u.Name, v.Active))
		case u.Active != "active" && !ensured && v.Invocation != u.Invocation && v.Invocation != "":
			faults = append(faults, fmt.Sprintf("nobody started %s, which was %s, and it has a new invocation %s", u.Name, u.Active, v.Invocation))
		case !there:
			faults = append(faults, fmt.Sprintf("systemd does not have %s any more", u.Name))
		case u.Active == "failed" && v.Active == "inactive":
			faults = append(faults, fmt.Sprintf("nobody touched %s, and that it had failed is forgotten", u.Name))
		}
	}
	slices.Sort(faults)
	return faults
}

// Entry is an entry of PID 1's about a unit, as `journalctl --output=json`
// prints it.
type Entry struct {
	MessageID  string `json:"MESSAGE_ID"`
	Unit       string `json:"UNIT"`
	Invocation string `json:"INVOCATION_ID"`
	ExitCode   string `json:"EXIT_CODE"`
	ExitStatus string `json:"EXIT_STATUS"`
	UnitResult string `json:"UNIT_RESULT"`
	// Realtime is in microseconds since 1970.
	Realtime string `json:"__REALTIME_TIMESTAMP"`
}

// The entries that tell of an activation: systemd's catalog, sd-messages(3).
const (
	messageStarting    = "7d4958e842da4a758f6c1cdc7b36dcc5"
	messageStarted     = "39f53479d3a045ac8e11786248231fbf"
	messageExited      = "98e322203f7a4ed290d09fe03c09fe15"
	messageFailed      = "d9b373ed55a64feb8242e02dbe79a49c"
	messageDeactivated = "7ad2d189f7e94e70a38c781354912448"
)

// codes are the words of EXIT_CODE: waitid(2).
var codes = []string{1: "exited", 2: "killed", 3: "dumped"}

// Read makes invocations of entries, in their order. It is strict: an entry
// that it does not understand is an error, because the check stands on it.
func Read(entries []Entry) ([]Invocation, error) {
	var all []Invocation
	index := map[string]int{}
	for _, e := range entries {
		if e.Invocation == "" || !strings.HasPrefix(e.Unit, "hero-") || !strings.HasSuffix(e.Unit, ".service") {
			continue
		}
		switch e.MessageID {
		case messageStarting, messageStarted, messageExited, messageFailed, messageDeactivated:
		default:
			continue
		}
		at, ok := index[e.Invocation]
		if !ok {
			at = len(all)
			index[e.Invocation] = at
			all = append(all, Invocation{ID: e.Invocation, Unit: e.Unit})
		}
		i := &all[at]
		if i.Unit != e.Unit {
			return nil, fmt.Errorf("invocation %s is of %s and of %s", e.Invocation, i.Unit, e.Unit)
		}
		switch e.MessageID {
		case messageExited:
			code := slices.Index(codes, e.ExitCode)
			if _, err := fmt.Sscan(e.ExitStatus, &i.Status); err != nil || code < 1 {
				return nil, fmt.Errorf("can't read %+v: %v", e, err)
			}
			i.Code = code
		case messageFailed, messageDeactivated:
			var usec int64
			if _, err := fmt.Sscan(e.Realtime, &usec); err != nil {
				return nil, fmt.Errorf("can't read %+v: %v", e, err)
			}
			i.Over, i.Result = time.UnixMicro(usec), "success"
			if e.MessageID == messageFailed {
				i.Result = e.UnitResult
			}
		}
	}
	return all, nil
}
