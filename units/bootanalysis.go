package units

import "time"

// BootUnit is how one unit came up at a boot.
type BootUnit struct {
	Service ID
	Action  string
	Unit    string
	Phase   Phase // of its last attempt
	// Attempts counts the activations; more than one are systemd's restarts.
	Attempts int
	// Began is when systemd began to start it, Ready when it was ready, and
	// Ended when a first attempt that never was ready came to its end. Zero
	// is not yet.
	Began time.Time
	Ready time.Time
	Ended time.Time
	// WaitedFor is the unit that held it back: of those that it comes after,
	// and that this boot started, the one that was done last. "" for none.
	WaitedFor string
	// Critical says that it is of the chain that the boot waited for.
	Critical bool
}

// Done is when nobody had to wait for it any more: it was ready, or had
// failed; zero is not yet.
func (u BootUnit) Done() time.Time {
	if !u.Ready.IsZero() {
		return u.Ready
	}
	return u.Ended
}

// Took is how long that was from its beginning.
func (u BootUnit) Took() time.Duration {
	if u.Done().IsZero() {
		return 0
	}
	return max(u.Done().Sub(u.Began), 0)
}

// BootAnalysis is what a boot waited for.
type BootAnalysis struct {
	// Booted is when the machine's systemd came up.
	Booted time.Time
	// Units are those that the boot started, in the order in which they began.
	Units []BootUnit
}
