package powercut

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// model is what must be there after a power cut, from what was seen of the
// machine before.
type model struct {
	// defined has the definitions that were acknowledged: N of each service.
	defined map[string]string
	// next is the change that may have been under way.
	next int
	// ran are the activations whose start was acknowledged.
	ran []string
}

// change is what change n does to the definitions: see guest.py.
func change(defined map[string]string, n int) map[string]string {
	defined = maps.Clone(defined)
	name := fmt.Sprintf("s%d", n%12)
	if n%5 == 4 {
		delete(defined, name)
	} else {
		defined[name] = fmt.Sprint(n)
	}
	return defined
}

// view is what a machine says of itself after a boot.
type view struct {
	Integrity   string            `json:"integrity"`
	Listed      []string          `json:"listed"`
	Stored      map[string]string `json:"stored"`
	Units       map[string]unit   `json:"units"`
	Live        []job             `json:"live"`
	Invocations []string          `json:"invocations"`
	HeroDB      string            `json:"hero_db"`
	Events      []string          `json:"events"`
}

type unit struct{ Active, Invocation string }

type job struct{ Unit, Invocation, Phase string }

func (u unit) up() bool { return u.Active != "inactive" && u.Active != "failed" && u.Active != "" }

// wrong is all that is not as it must be; none is good.
func (m model) wrong(v view) (found []string) {
	complain := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if v.Integrity != "ok" {
		complain("integrity_check says %s", v.Integrity)
	}
	if len(v.Events) > 0 {
		complain("the store reports %q", v.Events)
	}
	if len(m.ran) > 0 && v.HeroDB != "PONG" {
		complain("hero_db answers %q", v.HeroDB)
	}
	stored := maps.Clone(v.Stored)
	for _, name := range []string{"hero_db", "c0", "c1", "c2"} {
		if _, ok := stored[name]; !ok && len(m.ran) > 0 {
			complain("%s is not registered", name)
		}
		delete(stored, name)
	}
	if after := change(m.defined, m.next); !maps.Equal(stored, m.defined) && !maps.Equal(stored, after) {
		complain("the definitions are %v; acknowledged are %v, under way was %v", stored, m.defined, after)
	}
	if listed := slices.Sorted(maps.Keys(v.Stored)); !slices.Equal(v.Listed, listed) {
		complain("the daemon lists %q, the store has %q", v.Listed, listed)
	}
	live := map[string]string{}
	for _, j := range v.Live {
		if before, double := live[j.Unit]; double {
			complain("%s has two live jobs, of invocations %s and %s", j.Unit, before, j.Invocation)
		}
		live[j.Unit] = j.Invocation
		if u := v.Units[j.Unit]; !u.up() || u.Invocation != j.Invocation {
			complain("the history has %s as %s in invocation %s; systemd has it %q in %s", j.Unit, j.Phase, j.Invocation, u.Active, u.Invocation)
		}
	}
	for name, u := range v.Units {
		if _, ok := live[name]; u.up() && !ok {
			complain("%s is %s, and no job in the history is live", name, u.Active)
		}
	}
	for _, invocation := range m.ran {
		if !slices.Contains(v.Invocations, invocation) {
			complain("the history lacks invocation %s, whose start was acknowledged", invocation)
		}
	}
	return found
}

// The judge of the machines is judged first: it must find each thing that is wrong.
func TestModelFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	m := model{defined: map[string]string{"s0": "0", "s1": "1"}, next: 2, ran: []string{"a", "b"}}
	good := func() view {
		return view{
			Integrity: "ok", HeroDB: "PONG", Invocations: []string{"a", "b", "c", "d"},
			Listed: []string{"c0", "c1", "c2", "hero_db", "s0", "s1"},
			Stored: map[string]string{"c0": "", "c1": "", "c2": "", "hero_db": "", "s0": "0", "s1": "1"},
			Units:  map[string]unit{"hero_db": {"active", "c"}, "c0": {"activating", "d"}, "c1": {"failed", "b"}},
			Live:   []job{{"hero_db", "c", "running"}, {"c0", "d", "pending"}},
		}
	}
	if found := m.wrong(good()); len(found) > 0 {
		t.Errorf("a good machine is said to be wrong: %q", found)
	}
	under := good()
	under.Stored["s2"], under.Listed = "2", append(under.Listed, "s2")
	if found := m.wrong(under); len(found) > 0 {
		t.Errorf("a change that was under way may be there: %q", found)
	}
	for _, c := range []struct {
		spoil func(*view)
		says  string
	}{
		{func(v *view) { v.Integrity = "row 3 missing from index" }, "integrity_check"},
		{func(v *view) { v.Events = []string{"store-restored: …"} }, "reports"},
		{func(v *view) { v.HeroDB = "" }, "hero_db answers"},
		{func(v *view) { delete(v.Stored, "hero_db"); v.Listed = slices.Delete(v.Listed, 3, 4) }, "hero_db is not registered"},
		{func(v *view) { delete(v.Stored, "s1"); v.Listed = v.Listed[:5] }, "the definitions are"},
		{func(v *view) { v.Stored["s1"] = "0" }, "the definitions are"},
		{func(v *view) { v.Stored["s3"], v.Listed = "3", append(v.Listed, "s3") }, "the definitions are"},
		{func(v *view) { v.Listed = v.Listed[:5] }, "the daemon lists"},
		{func(v *view) { v.Live[0].Invocation = "a" }, "systemd has it"},
		{func(v *view) { v.Live = append(v.Live, job{"gone", "x", "running"}) }, "systemd has it"},
		{func(v *view) { v.Live = append(v.Live, job{"c1", "b", "running"}) }, "systemd has it"},
		{func(v *view) { v.Live = append(v.Live, v.Live[0]) }, "two live jobs"},
		{func(v *view) { v.Live = v.Live[:1] }, "no job in the history is live"},
		{func(v *view) { v.Invocations = v.Invocations[1:] }, "lacks invocation a"},
	} {
		v := good()
		c.spoil(&v)
		if found := strings.Join(m.wrong(v), "\n"); !strings.Contains(found, c.says) {
			t.Errorf("found %q, want %q", found, c.says)
		}
	}
}
