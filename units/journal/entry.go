package journal

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// fields are those of an entry that are asked for: systemd.journal-fields(7).
// Cursor, boot and the time of reception come unasked.
var fields = []string{
	"MESSAGE_ID", "UNIT", "INVOCATION_ID", "_BOOT_ID", "_SOURCE_REALTIME_TIMESTAMP", "JOB_TYPE",
	"COMMAND", "EXIT_CODE", "EXIT_STATUS", "UNIT_RESULT",
	"CPU_USAGE_NSEC", "MEMORY_PEAK", "IO_METRIC_READ_BYTES", "IO_METRIC_WRITE_BYTES",
}

// exitCodes are EXIT_CODE=, as systemd writes it.
var exitCodes = map[string]int32{"exited": 1, "killed": 2, "dumped": 3}

// ParseEntry reads one entry as journalctl writes it with --output=json. It is
// false for one that says nothing of a unit's activation.
func ParseEntry(line []byte) (units.Entry, bool) {
	var raw map[string]json.RawMessage
	if json.Unmarshal(line, &raw) != nil {
		return units.Entry{}, false
	}
	// A field that is there twice, is no text or is too long is something else
	// than a string, and nothing that PID 1 writes.
	text := func(name string) string {
		var s string
		if json.Unmarshal(raw[name], &s) != nil {
			return ""
		}
		return s
	}
	number := func(name string) units.Count {
		n, err := strconv.ParseUint(text(name), 10, 64)
		if err != nil || n == math.MaxUint64 {
			return units.Count{}
		}
		return units.Counted(n)
	}
	e := units.Entry{
		Kind: units.EntryKind(text("MESSAGE_ID")), Unit: text("UNIT"), InvocationID: text("INVOCATION_ID"), Boot: text("_BOOT_ID"),
		Job: text("JOB_TYPE"), Command: text("COMMAND"), Result: text("UNIT_RESULT"),
	}
	// When PID 1 wrote it; else when journald took it.
	µs := number("_SOURCE_REALTIME_TIMESTAMP")
	if !µs.Known {
		µs = number("__REALTIME_TIMESTAMP")
	}
	if !slices.Contains(units.EntryKinds, e.Kind) || e.Unit == "" || !isInvocation(e.InvocationID) || !µs.Known || µs.N > math.MaxInt64 {
		return units.Entry{}, false
	}
	e.Time = time.UnixMicro(int64(µs.N)).UTC()
	switch e.Kind {
	case units.EntryExited:
		status, err := strconv.ParseInt(text("EXIT_STATUS"), 10, 32)
		e.ExitCode, e.ExitStatus = exitCodes[text("EXIT_CODE")], int32(status)
		if e.ExitCode == 0 || err != nil {
			return units.Entry{}, false
		}
	case units.EntryFailed:
		if e.Result == "" {
			return units.Entry{}, false
		}
	case units.EntryUsage:
		e.Used = units.Usage{
			CPU: number("CPU_USAGE_NSEC"), MemoryPeak: number("MEMORY_PEAK"),
			IORead: number("IO_METRIC_READ_BYTES"), IOWritten: number("IO_METRIC_WRITE_BYTES"),
		}
	}
	return e, true
}

// isInvocation says whether it is 32 hexadecimal digits, as the history has them.
func isInvocation(s string) bool {
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 32
}
