package wire

import "github.com/godbus/dbus/v5"

// keep takes out of an answer that is one a{sv}, as that of GetAll is, what has
// another name than those wanted, and returns how long the answer is then, 0 if it
// can't be. godbus would make a value of each, for somebody who looks at few: of all
// that is allocated to answer for the status of a unit, the 330 properties that
// nobody looks at were more than nine parts in ten. Any other message stays as it is.
//
// The frame is one that is [decodable], and its body begins at body.
func keep(frame []byte, body int, wanted map[string]bool) (length int) {
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
		value := w.at
		w.variant(0)
		if w.bad { // which a frame that was walked is not
			return 0
		}
		if !wanted[string(frame[from+4:value-1])] {
			continue
		}
		// Entries begin at multiples of 8, which is as far as anything in them is
		// aligned: one can go to any other multiple of 8.
		for ; to%8 != 0; to++ {
			frame[to] = 0
		}
		to += copy(frame[to:], frame[from:w.at])
	}
	w.order.PutUint32(frame[body:], uint32(to-first))
	w.order.PutUint32(frame[4:], uint32(to-body))
	return to
}
