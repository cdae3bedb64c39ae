package wire

import "github.com/godbus/dbus/v5"

// keep takes out of an answer that is one a{sv}, as that of GetAll is, and out of a
// signal as PropertiesChanged is, what has another name than those wanted, and
// returns how long the message is then, 0 if it can't be. godbus would make a value
// of each, for somebody who looks at few: of all that is allocated to answer for the
// status of a unit, the 330 properties that nobody looks at were more than nine parts
// in ten. Any other message stays as it is.
//
// The frame is one that is [decodable], and its body begins at body.
func keep(frame []byte, body int, wanted map[string]bool) (length int) {
	h, _ := headOf(frame[:body])
	w := newWalker(frame)
	w.at, w.sound = body, true
	switch {
	case h.kind == dbus.TypeMethodReply && h.signature == "a{sv}":
	case h.kind == dbus.TypeSignal && h.signature == "sa{sv}as":
		w.single("s", 0)
		w.align(4)
	default:
		return len(frame)
	}
	size := w.at
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
		to = padded(frame, to, 8)
		to += copy(frame[to:], frame[from:w.at])
	}
	w.order.PutUint32(frame[size:], uint32(to-first))
	if w.at < len(frame) { // the names of a signal's as
		w.align(4)
		to = padded(frame, to, 4)
		to += copy(frame[to:], frame[w.at:])
	}
	w.order.PutUint32(frame[4:], uint32(to-body))
	return to
}

// padded is the next multiple of the alignment, with zeroes up to there.
func padded(frame []byte, at, alignment int) int {
	for ; at%alignment != 0; at++ {
		frame[at] = 0
	}
	return at
}
