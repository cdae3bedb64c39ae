package wire

import (
	"encoding/binary"

	"github.com/godbus/dbus/v5"
)

// headFields is what the header of a message says that has to do with its file
// descriptors.
type headFields struct {
	kind                             dbus.Type
	serial, fds                      uint32
	iface, member, sender, signature string
}

// takesFiles says that it is a call of [FilesMember].
func (h headFields) takesFiles() bool {
	return h.kind == dbus.TypeMethodCall && h.member == FilesMember && (h.iface == ManagerInterface || h.iface == "") &&
		h.signature == FilesSignature && h.fds > 0 && h.fds <= maxFiles && h.sender != ""
}

// headOf reads a header; it is false for one that can't be read.
func headOf(head []byte) (h headFields, ok bool) {
	if len(head) < 16 || head[0] != 'l' && head[0] != 'B' {
		return h, false
	}
	w := newWalker(head)
	w.heedless = true
	h.kind, h.serial = dbus.Type(head[1]), w.order.Uint32(head[8:])
	w.at = 12
	for end := w.array(8); !w.bad && w.at < end; {
		w.align(8)
		field := dbus.HeaderField(w.byte())
		at, sig := w.variant(2)
		if w.bad {
			break
		}
		value := func() []byte { return head[at:w.at] }
		switch {
		case field == dbus.FieldUnixFDs && sig == "u":
			h.fds = w.order.Uint32(value()[-at&3:])
		case field == dbus.FieldSignature && sig == "g":
			h.signature = string(value()[1 : w.at-at-1])
		case field == dbus.FieldInterface && sig == "s":
			h.iface = textOf(w.order, value()[-at&3:])
		case field == dbus.FieldMember && sig == "s":
			h.member = textOf(w.order, value()[-at&3:])
		case field == dbus.FieldSender && sig == "s":
			h.sender = textOf(w.order, value()[-at&3:])
		}
	}
	return h, !w.bad
}

// textOf is a value of type s that was walked over.
func textOf(order binary.ByteOrder, v []byte) string { return string(v[4 : 4+order.Uint32(v)]) }
