package wire

import (
	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Signatures of a body that stands for one that was not read. No method takes
// them, and who sends one gets the same error.
const (
	tooLong     = "((y))"
	undecodable = "(((y)))"
	crowded     = "((((y))))"
)

// Unread is the error for a call whose body was not read, and nil for any
// other. A connection of [Dial] hands on such a call with a body of its own
// making, known by its signature: who called is to get an answer, and not to
// wait for one until its patience is over.
func Unread(signature string) error {
	switch signature {
	case tooLong:
		return units.Errorf(units.CodeLimitsExceeded, "the message is longer than hero_proc reads")
	case crowded:
		return units.Errorf(units.CodeLimitsExceeded, "too many calls with file descriptors are in flight; try again later")
	case undecodable:
		return units.Errorf(units.CodeInvalidArgument, "the message has a type that no method takes: a file descriptor, or a dictionary by boolean")
	}
	return nil
}

// unread is the method call with that header, its body replaced by one of the
// signature why. It is nil for any other message, and for a header that can't
// be decoded itself.
func unread(head []byte, why string) []byte {
	if len(head) < 16 || dbus.Type(head[1]) != dbus.TypeMethodCall {
		return nil
	}
	w := newWalker(head)
	w.at, w.heedless = 12, true
	out := append([]byte{}, head[:16]...)
	for end := w.array(8); !w.bad && w.at < end; {
		w.align(8)
		from := w.at
		field := dbus.HeaderField(w.byte())
		w.variant(2)
		if !w.bad && field != dbus.FieldSignature && field != dbus.FieldUnixFDs {
			out = append(pad8(out), head[from:w.at]...)
		}
	}
	out = append(pad8(out), byte(dbus.FieldSignature), 1, 'g', 0, byte(len(why)))
	out = append(append(out, why...), 0)
	w.order.PutUint32(out[12:], uint32(len(out)-16))
	out = append(pad8(out), 0) // the byte of the signature
	w.order.PutUint32(out[4:], 1)
	if w.bad || !decodable(out, 0) {
		return nil
	}
	return out
}

func pad8(b []byte) []byte { return append(b, make([]byte, -len(b)&7)...) }
