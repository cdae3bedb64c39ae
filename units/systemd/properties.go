package systemd

import (
	"math"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// read are the properties that anything here is made of; a unit has some 350.
// org.freedesktop.systemd1(5).
var read = map[string]bool{
	"LoadState": true, "ActiveState": true, "SubState": true, "Job": true, "InvocationID": true, "StateChangeTimestamp": true, "ActiveEnterTimestamp": true,
	"FragmentPath": true, "Transient": true, "LogExtraFields": true,
	"Result": true, "MainPID": true, "StatusText": true, "NRestarts": true, "ExecStartPre": true,
	"ExecMainStartTimestamp": true, "ExecMainExitTimestamp": true, "ExecMainCode": true, "ExecMainStatus": true,
	"CPUUsageNSec": true, "MemoryPeak": true, "IOReadBytes": true, "IOWriteBytes": true,
}

// Reads says whether a property of a unit is one that a [Manager] looks at. The
// connection of [Options] need not hand on the others that systemd answers with.
func Reads(property string) bool { return read[property] }

// value is that of a property, nil for one that this systemd lacks, and for one
// that may not have come: see [Reads].
func value(p map[string]dbus.Variant, name string) any {
	if !read[name] {
		return nil
	}
	return p[name].Value()
}

// get is zero where value is nil, and for one of another type.
func get[T any](p map[string]dbus.Variant, name string) T {
	v, _ := value(p, name).(T)
	return v
}

// count reads what systemd may mark as "not set", or may not know at all.
func count(p map[string]dbus.Variant, name string) units.Count {
	n, ok := value(p, name).(uint64)
	if !ok || n == math.MaxUint64 {
		return units.Count{}
	}
	return units.Counted(n)
}

// word is a property that is text, as a string of its own: those that godbus
// makes keep all of the message that they came with.
func word(p map[string]dbus.Variant, name string) string { return strings.Clone(get[string](p, name)) }

// number is zero for a value that systemd marks as "not set".
func number(p map[string]dbus.Variant, name string) uint64 {
	if n := get[uint64](p, name); n != math.MaxUint64 {
		return n
	}
	return 0
}

// timestamp is when it says, zero for never.
func timestamp(p map[string]dbus.Variant, name string) time.Time { return instant(number(p, name)) }

// instant reads microseconds of CLOCK_REALTIME, where zero is never.
func instant(µs uint64) time.Time {
	if µs == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(µs))
}

// jobID reads the property Job, (uo).
func jobID(p map[string]dbus.Variant) uint32 {
	return at[uint32](get[[]any](p, "Job"), 0)
}
