package systemd

import (
	"math"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ReadProperties are the properties of a unit that a [Manager] looks at, of some
// 350: org.freedesktop.systemd1(5).
var ReadProperties = map[string]bool{
	"LoadState": true, "ActiveState": true, "SubState": true, "Job": true, "InvocationID": true, "StateChangeTimestamp": true, "ActiveEnterTimestamp": true,
	"FragmentPath": true, "Transient": true, "LogExtraFields": true,
	"Result": true, "MainPID": true, "StatusText": true, "NRestarts": true, "ExecStartPre": true,
	"ExecMainStartTimestamp": true, "ExecMainExitTimestamp": true, "ExecMainCode": true, "ExecMainStatus": true,
	"CPUUsageNSec": true, "MemoryPeak": true, "IOReadBytes": true, "IOWriteBytes": true,
}

// value is that of a property, nil for one that this systemd lacks.
func value(p map[string]dbus.Variant, name string) any {
	if !ReadProperties[name] {
		panic("units/systemd: " + name + " is not in ReadProperties, so it would not come")
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

func timestamp(p map[string]dbus.Variant, name string) time.Time {
	return instant(get[uint64](p, name))
}

// instant reads microseconds of CLOCK_REALTIME, where zero and "not set" are never.
func instant(µs uint64) time.Time {
	if µs == 0 || µs == math.MaxUint64 {
		return time.Time{}
	}
	return time.UnixMicro(int64(µs))
}

// jobID reads the property Job, (uo).
func jobID(p map[string]dbus.Variant) uint32 {
	return at[uint32](get[[]any](p, "Job"), 0)
}
