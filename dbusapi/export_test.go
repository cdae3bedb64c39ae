package dbusapi

import "forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/authz"

// Row is a row of the method table, for the tests outside of the package.
type Row struct {
	Interface, Member string
	In, Out           []Arg
	Access            authz.Access
	Changes           bool
}

// Arg is an argument of a row.
type Arg struct{ Name, Type string }

// Rows is the method table.
func Rows() []Row {
	args := func(in arguments) (out []Arg) {
		for _, a := range in {
			out = append(out, Arg{a.name, a.sig})
		}
		return out
	}
	var rows []Row
	for _, m := range methods {
		rows = append(rows, Row{m.iface, m.member, args(m.in), args(m.out), m.access, m.access != authz.Read})
	}
	return rows
}

// Bounds, for the tests outside of the package.
const (
	MaxOfSender = maxOfSender
	MaxBody     = maxBody
	FirstLook   = firstLook
)
