package dbusapi_test

import (
	"encoding/xml"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const (
	policyFile     = "../packaging/dbus/tf.ourworld.HeroProc1.conf"
	activationFile = "../packaging/dbus/tf.ourworld.HeroProc1.service"
	docString      = "org.gtk.GDBus.DocString"
	emitsChanged   = "org.freedesktop.DBus.Property.EmitsChangedSignal"
)

type annotations []struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

func (as annotations) get(name string) string {
	for _, a := range as {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// node is introspection XML: D-Bus specification, "Introspection Data Format".
type node struct {
	Interfaces []struct {
		Name        string      `xml:"name,attr"`
		Annotations annotations `xml:"annotation"`
		Methods     []struct {
			Name        string      `xml:"name,attr"`
			Annotations annotations `xml:"annotation"`
			Args        []struct {
				Name      string `xml:"name,attr"`
				Type      string `xml:"type,attr"`
				Direction string `xml:"direction,attr"`
			} `xml:"arg"`
		} `xml:"method"`
		Properties []struct {
			Name        string      `xml:"name,attr"`
			Type        string      `xml:"type,attr"`
			Access      string      `xml:"access,attr"`
			Annotations annotations `xml:"annotation"`
		} `xml:"property"`
		Signals []struct {
			Name        string      `xml:"name,attr"`
			Annotations annotations `xml:"annotation"`
			Args        []struct {
				Type string `xml:"type,attr"`
			} `xml:"arg"`
		} `xml:"signal"`
	} `xml:"interface"`
	Nodes []struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

func parse(t *testing.T, text string) (n node) {
	t.Helper()
	if err := xml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatalf("introspection is not XML: %v\n%s", err, text)
	}
	return n
}

func types[T any](table wire.Table[T]) map[string]string {
	m := map[string]string{}
	for _, f := range table {
		m[f.Name] = f.Type
	}
	return m
}

// kinds are all that an object can be.
var kinds = []wire.Kind{wire.KindParent, wire.KindManager, wire.KindContext, wire.KindService, wire.KindJob, wire.KindLogControl}

// sent are the signals and what they carry: D-Bus specification, "Standard Interfaces".
var sent = map[string]string{
	wire.PropertiesInterface + ".PropertiesChanged":    "sa{sv}as",
	wire.ObjectManagerInterface + ".InterfacesAdded":   "oa{sa{sv}}",
	wire.ObjectManagerInterface + ".InterfacesRemoved": "oas",
}

// The XML says the same as the method table, the tables of properties and the
// signals.
func TestIntrospectionIsTheTable(t *testing.T) {
	t.Parallel()
	properties := map[string]map[string]string{
		wire.ManagerInterface:    types(wire.Health),
		wire.ContextInterface:    types(wire.Context),
		wire.ServiceInterface:    types(wire.Status),
		wire.JobInterface:        types(wire.Job),
		wire.LogControlInterface: types(wire.LogControl),
	}
	rows := map[string]dbusapi.Row{}
	for _, row := range dbusapi.Rows() {
		rows[row.Interface+"."+row.Member] = row
	}
	seen := map[string]bool{}
	for _, kind := range kinds {
		for _, iface := range parse(t, wire.Introspection(kind, nil)).Interfaces {
			if iface.Annotations.get(docString) == "" {
				t.Errorf("%s has no documentation", iface.Name)
			}
			for _, signal := range iface.Signals {
				full, carries := iface.Name+"."+signal.Name, ""
				seen[full] = true
				for _, a := range signal.Args {
					carries += a.Type
				}
				if signal.Annotations.get(docString) == "" || carries != sent[full] {
					t.Errorf("signal %s carries %q, documentation %q; want %q", full, carries, signal.Annotations.get(docString), sent[full])
				}
			}
			for _, m := range iface.Methods {
				full := iface.Name + "." + m.Name
				seen[full] = true
				if m.Annotations.get(docString) == "" {
					t.Errorf("%s has no documentation", full)
				}
				if iface.Name == wire.PeerInterface {
					continue // godbus answers it
				}
				var in, out []dbusapi.Arg
				for _, a := range m.Args {
					if a.Direction == "out" {
						out = append(out, dbusapi.Arg{Name: a.Name, Type: a.Type})
					} else {
						in = append(in, dbusapi.Arg{Name: a.Name, Type: a.Type})
					}
				}
				row, ok := rows[full]
				if !ok || !slices.Equal(in, row.In) || !slices.Equal(out, row.Out) {
					t.Errorf("%s is %v → %v in the XML, and %v → %v in the table", full, in, out, row.In, row.Out)
				}
			}
			got := map[string]string{}
			for _, p := range iface.Properties {
				got[p.Name] = p.Type
				access := "read"
				if iface.Name+"."+p.Name == wire.LogControlInterface+".LogLevel" {
					access = "readwrite"
				}
				if p.Access != access || p.Annotations.get(docString) == "" {
					t.Errorf("%s.%s: access is %q, documentation %q", iface.Name, p.Name, p.Access, p.Annotations.get(docString))
				}
			}
			if !maps.Equal(got, properties[iface.Name]) {
				t.Errorf("%s has the properties %v in the XML, and %v in the table", iface.Name, got, properties[iface.Name])
			}
			for _, p := range iface.Properties {
				switch wire.Emission(p.Annotations.get(emitsChanged)) {
				case wire.EmitsValue, wire.EmitsInvalidated, wire.EmitsConst, wire.EmitsNothing:
				default:
					t.Errorf("%s.%s does not say whether its change is told", iface.Name, p.Name)
				}
			}
		}
	}
	for full := range rows {
		if !seen[full] {
			t.Errorf("%s is in no XML", full)
		}
	}
	for full := range sent {
		if !seen[full] {
			t.Errorf("signal %s is in no XML", full)
		}
	}
}

func TestIntrospectionNamesTheErrors(t *testing.T) {
	t.Parallel()
	manager := parse(t, wire.Introspection(wire.KindManager, nil))
	doc := ""
	for _, iface := range manager.Interfaces {
		if iface.Name == wire.ManagerInterface {
			doc = iface.Annotations.get(docString)
		}
	}
	own := regexp.MustCompile(`tf\.ourworld\.HeroProc1\.Error\.\w+`)
	var want []string
	for _, row := range units.Codes {
		if own.MatchString(row.DBus) {
			want = append(want, row.DBus)
		} else if short := strings.TrimPrefix(row.DBus, "org.freedesktop.DBus.Error."); !strings.Contains(doc, short) {
			t.Errorf("the XML does not name %s", row.DBus)
		}
	}
	if got := own.FindAllString(doc, -1); !slices.Equal(got, want) {
		t.Errorf("the XML names\n%v; the table has\n%v", got, want)
	}
}

func TestIntrospectionListsTheChildren(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	set(t, s, "web")
	set(t, s, "1.x")
	for _, tt := range []struct {
		path dbus.ObjectPath
		want []string
	}{
		{path: "/", want: []string{"org", "tf"}},
		{path: "/org", want: []string{"freedesktop"}},
		{path: "/org/freedesktop", want: []string{"LogControl1"}},
		{path: wire.LogControlPath, want: nil},
		{path: "/tf", want: []string{"ourworld"}},
		{path: "/tf/ourworld", want: []string{"HeroProc1"}},
		{path: wire.RootPath, want: []string{"context", "job", "service"}},
		{path: wire.ContextsPath, want: []string{"core"}},
		{path: wire.ContextPath("core"), want: nil},
		{path: wire.ServicesPath, want: []string{"core"}},
		{path: wire.ServicesPath + "/core", want: []string{"_31_2ex", "web"}},
		{path: wire.ServicePath(web), want: nil},
		{path: wire.JobsPath, want: nil},
	} {
		var text string
		if err := invoke(testContext(t), s.Bus.Conn(), tt.path, wire.IntrospectableInterface+".Introspect").Store(&text); err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		var got []string
		for _, child := range parse(t, text).Nodes {
			got = append(got, child.Name)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s has the children %q; want %q", tt.path, got, tt.want)
		}
	}
}

// rule is an allow or deny of the bus policy: dbus-daemon(1).
type rule struct {
	XMLName     xml.Name
	Own         string `xml:"own,attr"`
	Destination string `xml:"send_destination,attr"`
	Interface   string `xml:"send_interface,attr"`
	Member      string `xml:"send_member,attr"`
}

// The policy lets everybody call what is in the table, each by its name, and no
// more: who may change what is for the daemon to decide.
func TestPolicyIsTheTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Policies []struct {
			Context string `xml:"context,attr"`
			User    string `xml:"user,attr"`
			Rules   []rule `xml:",any"`
		} `xml:"policy"`
	}
	if err := xml.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	allow, deny := xml.Name{Local: "allow"}, xml.Name{Local: "deny"}
	everybody := []rule{{XMLName: deny, Own: wire.BusName}, {XMLName: deny, Destination: wire.BusName}}
	for _, row := range dbusapi.Rows() {
		everybody = append(everybody, rule{allow, "", wire.BusName, row.Interface, row.Member})
	}
	for _, member := range []string{"Ping", "GetMachineId"} {
		everybody = append(everybody, rule{allow, "", wire.BusName, wire.PeerInterface, member})
	}
	want := map[string][]rule{
		"user root":       {{XMLName: allow, Own: wire.BusName}, {XMLName: allow, Destination: wire.BusName}},
		"context default": everybody,
	}
	got := map[string][]rule{}
	for _, p := range policy.Policies {
		whom := "user " + p.User
		if p.Context != "" {
			whom = "context " + p.Context
		}
		got[whom] = append(got[whom], p.Rules...)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the policy is\n%v; want\n%v", got, want)
	}
}

func TestActivationFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(activationFile)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			got[key] = value
		}
	}
	want := map[string]string{"Name": wire.BusName, "Exec": "/bin/false", "User": "root", "SystemdService": "hero_proc.service"}
	if !maps.Equal(got, want) || !strings.Contains(string(text), "\n[D-BUS Service]\n") {
		t.Errorf("the activation file says %v; want %v in [D-BUS Service]", got, want)
	}
}
