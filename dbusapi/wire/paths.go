package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Parents of the context, service and job objects.
const (
	ContextsPath = RootPath + "/context"
	ServicesPath = RootPath + "/service"
	JobsPath     = RootPath + "/job"
)

// NoJob stands for a job where there is none, as it does in systemd's API.
const NoJob dbus.ObjectPath = "/"

// ContextPath is the path of a context's object.
func ContextPath(name string) dbus.ObjectPath {
	return ContextsPath + dbus.ObjectPath("/"+name)
}

// ServicePath is the path of a service's object.
func ServicePath(id units.ID) dbus.ObjectPath {
	return ServicesPath + dbus.ObjectPath("/"+id.Context+"/"+EscapeLabel(id.Name))
}

// JobPath is the path of a job's object, or [NoJob].
func JobPath(id int64) dbus.ObjectPath {
	if id <= 0 {
		return NoJob
	}
	return JobsPath + dbus.ObjectPath("/"+strconv.FormatInt(id, 10))
}

// Kind is the kind of an object.
type Kind int

const (
	// KindNone is a path that can't be an object of ours.
	KindNone Kind = iota
	// KindParent only has children: it can be introspected, and no more.
	KindParent
	KindManager
	KindContext
	KindService
	KindJob
	KindLogControl
)

// Object is what a path names. Whether there is such a service or job is
// another question.
type Object struct {
	Kind Kind
	Path dbus.ObjectPath
	// Service is set for KindService; its Context alone for KindContext, and
	// for the parent of a context's services.
	Service units.ID
	Job     int64 // for KindJob
}

// ParsePath reads a path. Each object has one path alone: another escaping of
// the same name is not it.
func ParsePath(path dbus.ObjectPath) Object {
	o := Object{Path: path}
	switch {
	case path == RootPath:
		o.Kind = KindManager
	case path == LogControlPath:
		o.Kind = KindLogControl
	case path == "/" || path == ContextsPath || path == ServicesPath || path == JobsPath,
		strings.HasPrefix(string(RootPath), string(path)+"/"),
		strings.HasPrefix(string(LogControlPath), string(path)+"/"):
		o.Kind = KindParent
	default:
		if rest, ok := strings.CutPrefix(string(path), string(ContextsPath)+"/"); ok {
			o.context(rest)
		} else if rest, ok := strings.CutPrefix(string(path), string(ServicesPath)+"/"); ok {
			o.service(rest)
		} else if rest, ok := strings.CutPrefix(string(path), string(JobsPath)+"/"); ok {
			o.job(rest)
		}
	}
	return o
}

func (o *Object) context(rest string) {
	if units.CheckContextName(rest) == nil {
		o.Kind, o.Service.Context = KindContext, rest
	}
}

func (o *Object) service(rest string) {
	context, label, named := strings.Cut(rest, "/")
	if units.CheckContextName(context) != nil {
		return
	}
	id := units.ID{Context: context, Name: UnescapeLabel(label)}
	switch {
	case !named:
		o.Kind, o.Service.Context = KindParent, context
	case id.Check() == nil && ServicePath(id) == o.Path:
		o.Kind, o.Service = KindService, id
	}
}

func (o *Object) job(rest string) {
	id, err := strconv.ParseInt(rest, 10, 64)
	if err == nil && id > 0 && JobPath(id) == o.Path {
		o.Kind, o.Job = KindJob, id
	}
}

// EscapeLabel makes any text an element of an object path, as systemd's
// sd_bus_path_encode(3) does: what is not a letter or a digit, and a digit in
// front, becomes _ and two hexadecimal digits.
func EscapeLabel(s string) string {
	if s == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		digit := '0' <= c && c <= '9'
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || digit && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// UnescapeLabel is the inverse of [EscapeLabel]. What is not an escape stays
// as it is.
func UnescapeLabel(s string) string {
	if s == "_" {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '_' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
