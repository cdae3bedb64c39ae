package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// What the boot waited for is hero_db, which loads for three seconds.
func TestAnalyzeBoot(t *testing.T) {
	t.Parallel()
	g := boot(t)
	g.withSlowRedis()
	g.set("hero_db", slowRedis, "--ready", "redis://127.0.0.1:6379")
	g.set("client", sleeper, "--requires", "hero_db")
	g.set("last", sleeper, "--after", "client")
	g.set("quick", sleeper)
	g.reboot()
	g.waitFor("the last one", func() bool { return g.prop("hero-core-last.service", "ActiveState") == "active" })
	var answer struct {
		Boot struct {
			Chain []string `json:"critical_chain"`
			Units []struct {
				Unit      string  `json:"unit"`
				Took      float64 `json:"took_seconds"`
				WaitedFor string  `json:"waited_for"`
			} `json:"units"`
		} `json:"boot"`
	}
	want := []string{"hero-core-last.service", client, heroDB}
	g.waitFor("the history to have it", func() bool {
		g.must(json.Unmarshal([]byte(g.hp("analyze", "--json")), &answer))
		return slices.Equal(answer.Boot.Chain, want)
	})
	for _, u := range answer.Boot.Units {
		if slow := u.Unit == heroDB; slow != (u.Took >= 3) {
			t.Errorf("%s took %.3f s", u.Unit, u.Took)
		}
		if u.Unit == "hero-core-quick.service" && u.WaitedFor != "" {
			t.Errorf("it waited for %s", u.WaitedFor)
		}
	}
	if len(answer.Boot.Units) != 4 {
		t.Errorf("the boot started %+v", answer.Boot.Units)
	}
	// A restart of the daemon is no boot.
	g.hp("service", "stop", "quick")
	g.sh("systemctl restart hero_proc")
	if text := g.hp("analyze"); !strings.Contains(text, "its boot started 4 units") || !strings.Contains(text, "\ncore/last @") || !strings.Contains(text, "\n  └─core/hero_db @") {
		t.Errorf("analyze says\n%s", text)
	}
}
