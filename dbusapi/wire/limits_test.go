package wire

import (
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// A limit in time must never turn into no limit: what is pruned by it would be
// the whole log.
func TestTimeLimitsStayLimits(t *testing.T) {
	t.Parallel()
	early := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	f, err := DecodeFilter(EncodeFilter(units.LogFilter{Since: early, Until: early}))
	if err != nil || f.Since.IsZero() || f.Until.IsZero() || f.Until.After(time.Unix(1, 0)) {
		t.Errorf("a time before 1970 came out as %+v, %v", f, err)
	}
	for _, key := range []string{"since", "until"} {
		if f, err := DecodeFilter(map[string]dbus.Variant{key: dbus.MakeVariant(uint64(0))}); units.CodeOf(err) != units.CodeInvalidArgument {
			t.Errorf("%s 0 is %+v, %v; want InvalidArgument", key, f, err)
		}
	}
}
