package integration

import (
	"slices"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// A drop-in of an administrator's can make of a unit what systemd can't use. That
// refuses no call that loads it, and what requires it must not be started all
// the same.
func TestBootBehindADropIn(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.set("broken", sleeper)
	g.set("needy", sleeper, "--requires", "broken")
	g.set("other", sleeper)
	g.sh(`mkdir -p /etc/systemd/system/hero-core-broken.service.d
		printf '[Service]\nType=oneshot\nRestart=always\n' >/etc/systemd/system/hero-core-broken.service.d/x.conf`)
	g.forget()
	g.reboot()
	g.waitFor("other to be up", func() bool { return g.prop("hero-core-other.service", "ActiveState") == "active" })
	for unit, want := range map[string]string{"hero-core-broken.service": "bad-setting", "hero-core-needy.service": "loaded"} {
		if got := g.prop(unit, "LoadState"); got != want {
			t.Errorf("%s is %s, want %s", unit, got, want)
		}
		if invocation := g.prop(unit, "InvocationID"); invocation != "" {
			t.Errorf("%s was started, as %s", unit, invocation)
		}
	}
	var told []string
	for _, e := range g.entries(units.SourceAutostart) {
		told = append(told, e.Code+" "+e.Service)
	}
	slices.Sort(told)
	if want := []string{"definition-refused broken", "dependency-failed needy"}; !slices.Equal(told, want) {
		t.Errorf("told were %q, want %q", told, want)
	}
}
