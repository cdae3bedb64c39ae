package transient

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// show prints units one property a line: name, type on the wire, value.
func show(us []Unit) string {
	var b strings.Builder
	for _, u := range us {
		fmt.Fprintln(&b, u.Name)
		for _, p := range u.Properties {
			v := dbus.MakeVariant(p.Value)
			text := strings.TrimPrefix(v.String(), v.Signature().String()+" ")
			text = strings.TrimPrefix(text, "@"+v.Signature().String()+" ")
			if fields, ok := p.Value.([][]byte); ok { // text that needs not be UTF-8
				text = fmt.Sprintf("%q", fields)
			}
			fmt.Fprintf(&b, "  %s %s %s\n", p.Name, v.Signature(), text)
		}
	}
	return b.String()
}

func decode(t *testing.T, text string) units.Service {
	t.Helper()
	var def map[string]any
	if err := json.Unmarshal([]byte(text), &def); err != nil {
		t.Fatal(err)
	}
	s, err := units.DecodeService(def)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A fixture has a definition, and the units that each systemd is to get:
// sections after a line such as "-- systemd 252 --".
func TestService(t *testing.T) {
	t.Parallel()
	fixtures, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("fixtures are %v, %v", fixtures, err)
	}
	for _, fixture := range fixtures {
		t.Run(filepath.Base(fixture), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(fixture)
			if err != nil {
				t.Fatal(err)
			}
			definition, rest, ok := strings.Cut(string(text), "-- systemd ")
			if !ok {
				t.Fatal("no section")
			}
			s := decode(t, definition)
			for section := range strings.SplitSeq(rest, "-- systemd ") {
				versions, want, _ := strings.Cut(section, " --\n")
				for v := range strings.SplitSeq(versions, ", ") {
					version, err := strconv.Atoi(v)
					if err != nil {
						t.Fatal(err)
					}
					if got := show(Service(s, s.Digest(), version)); got != want {
						t.Errorf("for systemd %d:\n%s\nwant\n%s", version, got, want)
					}
				}
			}
		})
	}
}

func TestServiceThatIsADefinitionOnlyHasNoUnit(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"name": "x", "status": "spec"}`,
		`{"name": "x", "status": "spec", "actions": [{"exec": "true"}]}`,
	} {
		if us := made(decode(t, text)); us != nil {
			t.Errorf("%s has units %v", text, us)
		}
	}
}

// systemd drops the jobs of units whose ordering goes in a circle.
func TestOrderHasNoCycle(t *testing.T) {
	t.Parallel()
	us := made(decode(t, `{"name": "x", "actions": [
		{"name": "a", "exec": "a", "is_process": false},
		{"name": "main", "exec": "b", "depends_on": ["a", "c"]},
		{"name": "c", "exec": "c", "depends_on": "a"},
		{"name": "d", "exec": "d", "depends_on": "main"},
		{"name": "e", "exec": "e"}]}`))
	left := map[string][]string{}
	for _, u := range us {
		left[u.Name] = nil
		for _, p := range u.Properties {
			if p.Name == "After" {
				left[u.Name] = p.Value.([]string)
			}
		}
	}
	for len(left) > 0 {
		n := len(left)
		for unit, after := range left {
			ready := true
			for _, other := range after {
				_, waits := left[other]
				ready = ready && !waits
			}
			if ready {
				delete(left, unit)
			}
		}
		if len(left) == n {
			t.Fatalf("each of these waits for another one: %v", left)
		}
	}
}

// The command that is to survive old systemds is executed as it was given.
func TestThroughShell(t *testing.T) {
	t.Parallel()
	args := []string{"printf", `%s\n`, "$HOME", "${x};", "$;'\"\\`x`", "it's", "a;\n$b\n", "", " lead", "-x", "%n", "é", `\044`, "\x01\x7f"}
	argv := throughShell(args)
	if joined := strings.Join(argv, " "); strings.ContainsAny(joined, "$;") {
		t.Errorf("%q has what it is to go without", joined)
	}
	got, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(args[2:], "\n") + "\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBootSet(t *testing.T) {
	t.Parallel()
	us := made(decode(t, `{"name": "x", "actions": [{"exec": "true"}]}`))
	for _, tt := range []struct {
		name  string
		start []string
		want  []Property
	}{
		{"some are started", []string{"b.service", "a.service", "b.service"}, []Property{
			{"Description", "Services that hero_proc starts"},
			{"Wants", []string{"a.service", "b.service"}},
		}},
		{"all are only loaded", nil, []Property{{"Description", "Services that hero_proc starts"}}},
	} {
		given := fmt.Sprint(tt.start)
		got := BootSet("heroboot1.slice", us, tt.start)
		if want := (Set{Main: Unit{"heroboot1.slice", tt.want}, Aux: us}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, want)
		}
		if fmt.Sprint(tt.start) != given {
			t.Errorf("%s: it changed the list to %v", tt.name, tt.start)
		}
	}
}

func TestIn(t *testing.T) {
	t.Parallel()
	u := made(decode(t, `{"name": "x", "actions": [{"exec": "true"}]}`))[0]
	before := fmt.Sprint(u)
	moved := u.In("hero-core-07.slice")
	if want := strings.Replace(before, "hero-core.slice", "hero-core-07.slice", 1); fmt.Sprint(moved) != want {
		t.Errorf("got %v, want %v", moved, want)
	}
	if fmt.Sprint(u) != before {
		t.Errorf("it changed the unit that it was made of to %v", u)
	}
}

func TestDigestOf(t *testing.T) {
	t.Parallel()
	s := decode(t, `{"name": "x", "actions": [{"exec": "true"}]}`)
	for _, p := range made(s)[0].Properties {
		if p.Name == "LogExtraFields" {
			if got := DigestOf(p.Value.([][]byte)); got != s.Digest() {
				t.Errorf("digest is %q, want %q", got, s.Digest())
			}
			return
		}
	}
	t.Error("the unit has no LogExtraFields")
}

func TestDigestOfAnotherUnit(t *testing.T) {
	t.Parallel()
	for _, fields := range [][][]byte{nil, {[]byte("HERO_CONTEXT=core")}} {
		if got := DigestOf(fields); got != "" {
			t.Errorf("digest of %q is %q", fields, got)
		}
	}
}

// What is generated is loaded from where it is kept, and the rest from where
// the definition says.
func TestWithGenerated(t *testing.T) {
	t.Parallel()
	s := decode(t, `{"name": "a", "actions": [{"exec": "true", "credentials": {"key": "generate", "other": "/etc/other"}}]}`)
	us := made(s)
	got := show(WithGenerated(us, func(name string) string { return "/secrets/" + name }))
	if want := `LoadCredential a(ss) [("key", "/secrets/key",), ("other", "/etc/other",)]`; !strings.Contains(got, want) {
		t.Errorf("the unit is\n%s\nwant in it %s", got, want)
	}
	if digest := made(s)[0]; !strings.Contains(show([]Unit{digest}), s.Digest()) || !strings.Contains(got, s.Digest()) {
		t.Error("the digest is not that of the definition")
	}
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	s := decode(t, `{"name": "x", "actions": [{"name": "a", "exec": "true"}, {"name": "b", "exec": "true", "restart_delay": "2s", "restart_delay_max": "1m"}]}`)
	for version, want := range map[int][]string{
		252: {`restart_delay_max of action "b" has no effect: systemd 252 has no RestartMaxDelaySec=, which is there from 254 on; each restart waits 2s`},
		254: nil,
	} {
		if got := Ignored(s, version); !reflect.DeepEqual(got, want) {
			t.Errorf("systemd %d ignores %q, want %q", version, got, want)
		}
	}
}

// The prober's words count wherever it is run, and nobody's where nobody speaks.
func TestNotifyAccess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ fields, want string }{
		{`"ready": "exec"`, ""},
		{`"ready": "notify"`, "main"},
		{`"watchdog": "1m"`, "main"},
		{`"ready": "tcp:127.0.0.1:80"`, "exec"},
		{`"ready": "tcp:127.0.0.1:80", "watchdog": "1m"`, "exec"},
		{`"ports": "80"`, "exec"},
		{`"ports": "80", "ready": "notify"`, "exec"},
		{`"sockets": "/s", "watchdog": "1m"`, "exec"},
		{`"is_process": false`, ""},
	} {
		var got []string
		for _, p := range made(decode(t, `{"name": "x", "actions": [{"exec": "x", `+tt.fields+`}]}`))[0].Properties {
			if p.Name == "NotifyAccess" {
				got = append(got, p.Value.(string))
			}
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("with %s, NotifyAccess is %q, want %q", tt.fields, got, tt.want)
		}
	}
}

// made are the units of a service as systemd 252 gets them.
func made(s units.Service) []Unit { return Service(s, s.Digest(), 252) }
