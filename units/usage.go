package units

// Count is a number that systemd may not count. The zero Count is "not
// counted", which is something else than a count of zero.
type Count struct {
	N     uint64
	Known bool
}

// Counted is a number that systemd does count.
func Counted(n uint64) Count { return Count{N: n, Known: true} }

// Usage is what an activation has used, where systemd counts it:
// systemd.resource-control(5), CPUAccounting=, MemoryAccounting=, IOAccounting=.
type Usage struct {
	CPU        Count // nanoseconds
	MemoryPeak Count // bytes; systemd 254 or later
	IORead     Count // bytes
	IOWritten  Count // bytes
}

// Or is the usage with what it lacks taken from another.
func (u Usage) Or(other Usage) Usage {
	or := func(a, b Count) Count {
		if a.Known {
			return a
		}
		return b
	}
	return Usage{or(u.CPU, other.CPU), or(u.MemoryPeak, other.MemoryPeak), or(u.IORead, other.IORead), or(u.IOWritten, other.IOWritten)}
}
