package wire

import "github.com/godbus/dbus/v5"

// keep takes out of an answer that is one a{sv}, as that of GetAll, what has
// another name than those wanted, and returns how long it is then. godbus would
// make a value of each, for somebody who looks at few of them: of a unit's 350
// properties these are more than nine parts in ten of all that is allocated to
// answer for its status. Any other message stays as it is.
//
// The frame is one that is [decodable], and its body begins at body.
func keep(frame []byte, body int, wanted func(name string) bool) (length int) {
	if dbus.Type(frame[1]) != dbus.TypeMethodReply {
		return len(frame)
	}
	if h, ok := headOf(frame[:body]); !ok || h.signature != "a{sv}" {
		return len(frame)
	}
	w := newWalker(frame)
	w.at, w.sound = body, true
	end := w.array(8)
	first := w.at
	to := first
	for w.at < end {
		w.align(8)
		from := w.at
		w.single("s", 0)
		name := frame[from+4 : w.at-1]
		w.variant(0)
		if !wanted(string(name)) {
			continue
		}
		// An entry is aligned as its values are, so it can go to where an entry may be.
		for ; to%8 != 0; to++ {
			frame[to] = 0
		}
		to += copy(frame[to:], frame[from:w.at])
	}
	w.order.PutUint32(frame[body:], uint32(to-first))
	w.order.PutUint32(frame[4:], uint32(to-body))
	return to
}
