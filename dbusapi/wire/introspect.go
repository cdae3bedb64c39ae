package wire

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.xml
var files embed.FS

const doctype = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`

// The interfaces of each file, as they stand between <node> and </node>.
var (
	standardXML = interfaces("org.freedesktop.DBus.xml")
	ownXML      = map[Kind]string{
		KindManager:    interfaces("org.freedesktop.DBus.ObjectManager.xml") + interfaces("tf.ourworld.HeroProc1.Manager.xml"),
		KindContext:    interfaces("tf.ourworld.HeroProc1.Context.xml"),
		KindService:    interfaces("tf.ourworld.HeroProc1.Service.xml"),
		KindJob:        interfaces("tf.ourworld.HeroProc1.Job.xml"),
		KindLogControl: interfaces("org.freedesktop.LogControl1.xml"),
	}
)

func interfaces(file string) string {
	text, err := files.ReadFile(file)
	if err != nil {
		panic(err) // it was there when this was compiled
	}
	_, rest, _ := strings.Cut(string(text), "<node>\n")
	inner, _, _ := strings.Cut(rest, "</node>")
	return inner
}

// Introspection is the introspection XML of an object of that kind, with its
// children: D-Bus specification, "Introspection Data Format". The names of
// children are elements of a path, so there is nothing in them to be escaped.
func Introspection(kind Kind, children []string) string {
	var b strings.Builder
	b.WriteString(doctype + "<node>\n" + standardXML + ownXML[kind])
	for _, child := range children {
		fmt.Fprintf(&b, "  <node name=%q/>\n", child)
	}
	b.WriteString("</node>\n")
	return b.String()
}
