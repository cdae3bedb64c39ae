package units

import (
	"slices"
	"time"
)

// Defaults of a probe.
const (
	DefaultReadyInterval = 100 * time.Millisecond
	DefaultReadyTimeout  = 30 * time.Second
	minReadyInterval     = 10 * time.Millisecond
)

// NotReady begins what the prober says once it has given up. It says so, and
// before that what it waits for, as the unit's status: sd_notify(3).
const NotReady = "not ready: "

// IsProbe says that somebody has to ask the program whether it is ready.
func (r Ready) IsProbe() bool { return r != ReadyExec && r != ReadyNotify && r != "" }

// Proven says that the action's unit being active means more than that its
// program was executed: it is ready, or it has finished.
func (a Action) Proven() bool {
	return !a.Process || a.Ready == ReadyNotify || a.Ready.IsProbe()
}

// ReadyWait is how often the action's probe asks, and for how long.
func (a Action) ReadyWait() (interval, timeout time.Duration) {
	interval, timeout = a.ReadyInterval, a.ReadyTimeout
	if timeout == 0 {
		timeout = DefaultReadyTimeout
	}
	if interval == 0 {
		interval = DefaultReadyInterval
	}
	return interval, timeout
}

// readyKind is of the field "ready".
var readyKind = kind[Ready]{
	want:   orList(ReadyForms),
	decode: decodeText[Ready],
	encode: func(r Ready) any { return string(r) },
	check: func(p *problems, path string, r Ready) {
		if r == ReadyExec || r == ReadyNotify {
			return
		}
		if _, err := ParseProbe(string(r)); err != nil {
			p.add(path, "%v", err)
		} else if len(r) > maxProbe {
			p.add(path, "has %d bytes; want at most %d", len(r), maxProbe)
		}
	},
}

const (
	maxProbe = 4096
	maxMatch = 1024
)

func checkStatus(p *problems, path string, status uint32) {
	if status != 0 && (status < 100 || status > 599) {
		p.add(path, "is %d; want a status of HTTP, from 100 to 599", status)
	}
}

func checkMatch(p *problems, path, s string) {
	checkText(p, path, s)
	if len(s) > maxMatch {
		p.add(path, "has %d bytes; want at most %d", len(s), maxMatch)
	}
}

// checkReadiness looks at how the fields that say when an action is ready go together.
func checkReadiness(p *problems, a *Action) {
	kind := kindOf(a.Ready)
	interval, timeout := a.ReadyWait()
	for _, f := range []struct {
		name  string
		given bool
		of    []ProbeKind // nil is all
	}{
		{"ready_interval", a.ReadyInterval != 0, nil},
		{"ready_timeout", a.ReadyTimeout != 0, nil},
		{"ready_status", a.ReadyStatus != 0, []ProbeKind{ProbeHTTP}},
		{"ready_match", a.ReadyMatch != "", []ProbeKind{ProbeHTTP}},
		{"ready_credential", a.ReadyCredential != "", []ProbeKind{ProbeRedis}},
	} {
		switch {
		case !f.given:
		case !a.Ready.IsProbe():
			p.add(f.name, "is given, and ready is %q; want nothing, or a probe", a.Ready)
		case kind != "" && f.of != nil && !slices.Contains(f.of, kind):
			p.add(f.name, "is for probes of kind %s, and ready is one of kind %s; want nothing", f.of[0], kind)
		}
	}
	switch {
	case !a.Ready.IsProbe():
		if !a.Process && a.Ready == ReadyNotify {
			p.add("ready", "is %q; want %q, since the action is no process", a.Ready, ReadyExec)
		}
		return
	case !a.Process:
		p.add("ready", "is a probe; want %q, since the action is no process", ReadyExec)
	}
	if _, ok := a.Credentials[a.ReadyCredential]; !ok && a.ReadyCredential != "" {
		p.add("ready_credential", "is %q, which is no credential of the action; want a name that credentials has", clip(a.ReadyCredential))
	}
	if interval < minReadyInterval || interval >= timeout {
		p.add("ready_interval", "is %s; want %s or more, and less than ready_timeout, which is %s", interval, minReadyInterval, timeout)
	}
	// systemd would say that the time was up, and not what the answer was.
	if a.TimeoutStart != 0 && a.TimeoutStart < timeout+time.Second {
		p.add("timeout_start", "is %s; want at least 1s more than ready_timeout, which is %s, or nothing", a.TimeoutStart, timeout)
	}
}
