package main

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// objects are the objects of the page, in its order.
var objects = []struct {
	kind        wire.Kind
	title, path string
	means       string
}{
	{wire.KindManager, "THE MANAGER OBJECT", string(wire.RootPath), "There is one. It leads to all the others."},
	{wire.KindContext, "CONTEXT OBJECTS", string(wire.ContextPath("core")), "There is one for each context that has services."},
	{wire.KindService, "SERVICE OBJECTS", string(wire.ServicePath(units.ID{Context: "core", Name: "hero_db"})),
		"There is one for each registered service. In the last element of the path all bytes but ASCII letters and digits, and a digit in front, are escaped as sd_bus_path_encode(3) does: hero_db is hero_5fdb."},
	{wire.KindJob, "JOB OBJECTS", string(wire.JobPath(42)), "There is one for each job, those that are over too. GetJob tells the path."},
}

// standard are the interfaces that other manuals describe.
var standard = []struct{ name, means string }{
	{wire.IntrospectableInterface, "Every object has it: the interfaces above as XML, which is also in /usr/share/dbus-1/interfaces."},
	{wire.PropertiesInterface, "Every object has it. The signal PropertiesChanged comes as the annotations of the properties say."},
	{wire.PeerInterface, "Every object has it."},
	{wire.ObjectManagerInterface, "The manager object has it: GetManagedObjects answers contexts, services and the jobs that are not over; InterfacesAdded and InterfacesRemoved tell which come and go. A daemon that has taken its name tells of what changes from then on: read anew when the name has a new owner."},
	{wire.LogControlInterface, "At " + string(wire.LogControlPath) + ", as org.freedesktop.LogControl1(5) says; systemctl service-log-level hero_proc debug uses it."},
}

type annotation struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type argument struct {
	Name      string `xml:"name,attr"`
	Type      string `xml:"type,attr"`
	Direction string `xml:"direction,attr"`
}

// member is a method, a property or a signal.
type member struct {
	Name        string       `xml:"name,attr"`
	Type        string       `xml:"type,attr"`
	Access      string       `xml:"access,attr"`
	Args        []argument   `xml:"arg"`
	Annotations []annotation `xml:"annotation"`
}

type iface struct {
	Name        string       `xml:"name,attr"`
	Annotations []annotation `xml:"annotation"`
	Methods     []member     `xml:"method"`
	Signals     []member     `xml:"signal"`
	Properties  []member     `xml:"property"`
}

const (
	docString    = "org.gtk.GDBus.DocString"
	emitsChanged = "org.freedesktop.DBus.Property.EmitsChangedSignal"
)

func find(list []annotation, name string) string {
	for _, a := range list {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// ownInterfaces are those of an object that only hero_proc has.
func ownInterfaces(kind wire.Kind) ([]iface, error) {
	var node struct {
		Interfaces []iface `xml:"interface"`
	}
	if err := xml.Unmarshal([]byte(wire.Introspection(kind, nil)), &node); err != nil {
		return nil, fmt.Errorf("cannot read the introspection: %w", err)
	}
	return slices.DeleteFunc(node.Interfaces, func(i iface) bool { return !strings.HasPrefix(i.Name, wire.BusName+".") }), nil
}

// dbusPage is the manual page tf.ourworld.HeroProc1(5), after the example of
// org.freedesktop.systemd1(5). What it says of an interface stands in the
// introspection XML alone.
func dbusPage(date, version string) (string, error) {
	var p page
	p.printf(".\\\" Written by packaging/generate from the introspection XML; do not change it here.\n")
	p.printf(".TH %s 5 %q %q \"D-Bus Interfaces\"\n", strings.ToUpper(wire.BusName), date, "hero_proc "+version)
	p.printf(".SH NAME\n%s \\- the D\\-Bus interface of hero_proc\n", wire.BusName)
	p.printf(".SH INTRODUCTION\n")
	p.text("hero_proc_server(8) keeps the services of a Hero machine running, as units of systemd. On the system bus it has the name " +
		wire.BusName + ". The bus starts it when it is called and does not run.")
	p.printf(".PP\n")
	p.text("Names, leading arguments and types of what is described here stay as they are. New methods, properties, keys and flags may come; pass over a key that you don't know. A flag that is not known is refused.")
	for _, o := range objects {
		interfaces, err := ownInterfaces(o.kind)
		if err != nil {
			return "", err
		}
		p.printf(".SH %s\n", quote(o.title))
		p.text(o.means)
		for _, i := range interfaces {
			p.synopsis(o.path, i)
			if doc := find(i.Annotations, docString); doc != "" {
				p.printf(".PP\n")
				p.text(doc)
			}
			p.members("Methods", i.Methods)
			p.members("Signals", i.Signals)
			p.members("Properties", i.Properties)
		}
	}
	p.printf(".SH STANDARD INTERFACES\n")
	for _, s := range standard {
		p.item(s.name, s.means)
	}
	p.printf(".SH ERRORS\n")
	p.text("The first string of an error is the message, the second one, if there is one, the commands that mend it. Beside those of the D-Bus specification, the errors are:")
	for _, c := range units.Codes {
		p.item(c.DBus, c.Means)
	}
	p.printf(".SH FILES\n")
	p.item("/usr/share/dbus-1/interfaces/"+wire.BusName+".*.xml", "The interfaces, for programs that make code of them.")
	p.item("/usr/share/doc/hero-proc/examples", "How to call all this with busctl(1), gdbus(1) and python3.")
	p.printf(".SH SEE ALSO\n.BR hero_proc (1),\n.BR hero_proc_server (8),\n.BR busctl (1),\n.BR org.freedesktop.systemd1 (5),\n.BR org.freedesktop.LogControl1 (5)\n")
	return p.String(), nil
}

// page is troff in the making: groff_man(7).
type page struct{ strings.Builder }

func (p *page) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// text is a paragraph of prose, a sentence a line, as man-pages(7) wants it.
func (p *page) text(s string) {
	for _, sentence := range strings.SplitAfter(strings.TrimSpace(s), ". ") {
		p.printf("%s\n", troff(strings.TrimSpace(sentence)))
	}
}

func (p *page) item(tag, text string) {
	p.printf(".TP\n.B %s\n", quote(troff(tag)))
	p.text(text)
}

// synopsis is the interface at a glance.
func (p *page) synopsis(path string, i iface) {
	p.printf(".PP\n.EX\nnode %s {\n  interface %s {\n", troff(path), troff(i.Name))
	for _, group := range []struct {
		title string
		list  []member
	}{{"methods", i.Methods}, {"signals", i.Signals}} {
		if len(group.list) > 0 {
			p.printf("    %s:\n", group.title)
		}
		for _, m := range group.list {
			args := make([]string, len(m.Args))
			for n, a := range m.Args {
				args[n] = strings.TrimSpace(fmt.Sprintf("%-3s %s %s", a.Direction, a.Type, a.Name))
			}
			indent := ",\n" + strings.Repeat(" ", len("      (")+len(m.Name))
			p.printf("      %s(%s);\n", m.Name, troff(strings.Join(args, indent)))
		}
	}
	if len(i.Properties) > 0 {
		p.printf("    properties:\n")
	}
	for _, m := range i.Properties {
		emits := find(m.Annotations, emitsChanged)
		if emits == "" {
			emits = find(i.Annotations, emitsChanged)
		}
		if emits != "" && emits != "true" { // which is what it is when nothing is said
			p.printf("      @%s(\"%s\")\n", emitsChanged, emits)
		}
		p.printf("      %s %s %s;\n", map[string]string{"read": "readonly", "write": "writeonly", "readwrite": "readwrite"}[m.Access], m.Type, m.Name)
	}
	p.printf("  };\n};\n.EE\n")
}

func (p *page) members(title string, list []member) {
	if len(list) == 0 {
		return
	}
	p.printf(".SS %s\n", title)
	for _, m := range list {
		tag := m.Name
		if title != "Properties" {
			tag += "()"
		}
		p.item(tag, find(m.Annotations, docString))
	}
}

// troff is text that says the same to groff. Minus signs are to be copied, and
// a point or an apostrophe in front would make a request of the line.
func troff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// quote makes one argument of a request of it.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\(dq`) + `"` }
