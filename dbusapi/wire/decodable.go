package wire

import (
	"encoding/binary"
	"strings"

	"github.com/godbus/dbus/v5"
)

// maxNesting bounds the containers that lie in each other, as in godbus, which
// counts a dictionary twice. The specification has about the same.
const maxNesting = 63

// decodable says that godbus decodes the message. It walks the message as the
// D-Bus specification, "Marshaling", has it, and builds nothing: to decode
// each message twice would make a long answer take half as long again. It is
// stricter than the bus: a signature with a file descriptor, and a dictionary
// by boolean, which godbus can't decode, are refused wherever they stand. With
// fds, the number of descriptors that came with it, a body that is that of
// [FilesMember] is taken too, if each of its descriptors is there.
func decodable(frame []byte, fds int) bool {
	if len(frame) < 16 || frame[0] != 'l' && frame[0] != 'B' {
		return false
	}
	w := newWalker(frame)
	w.fds = fds
	body := int64(w.order.Uint32(frame[4:]))
	signature := ""
	w.at = 12
	// The header fields: an array of structures of a byte and a variant.
	for end := w.array(8); !w.bad && w.at < end; {
		w.align(8)
		code := w.byte()
		at, inner := w.variant(2)
		if dbus.HeaderField(code) == dbus.FieldSignature && inner == "g" && !w.bad {
			signature = string(frame[at+1 : w.at-1])
		}
		w.bad = w.bad || w.at > end
	}
	w.align(8)
	if w.bad || int64(len(frame)-w.at) != body {
		return false
	}
	for rest := signature; rest != "" && !w.bad; {
		var one string
		one, rest = cutType(rest)
		w.single(one, 0)
	}
	return !w.bad && w.at == len(frame)
}

// walker is a place in a message. Once it is bad it stays so.
type walker struct {
	data  []byte
	order binary.ByteOrder
	at    int
	bad   bool
	fds   int
	// heedless of what a signature says: for a header, whatever its body is.
	heedless bool
	// sound says that the message was walked before, and is not bad.
	sound bool
}

// newWalker is at the start of a message of 16 bytes or more.
func newWalker(frame []byte) walker {
	if frame[0] == 'B' {
		return walker{data: frame, order: binary.BigEndian}
	}
	return walker{data: frame, order: binary.LittleEndian}
}

// skip goes on by n bytes, if they are there.
func (w *walker) skip(n int) bool {
	if w.bad || n < 0 || n > len(w.data)-w.at {
		w.bad = true
		return false
	}
	w.at += n
	return true
}

func (w *walker) align(n int) { w.skip(-w.at & (n - 1)) }

func (w *walker) byte() byte {
	if !w.skip(1) {
		return 0
	}
	return w.data[w.at-1]
}

func (w *walker) uint32() uint32 {
	w.align(4)
	if !w.skip(4) {
		return 0
	}
	return w.order.Uint32(w.data[w.at-4:])
}

// array goes to the first element of an array, and returns where it ends.
func (w *walker) array(alignment int) (end int) {
	length := int64(w.uint32())
	w.align(alignment)
	if w.bad || length > int64(len(w.data)-w.at) {
		w.bad = true
		return w.at
	}
	return w.at + int(length)
}

// signature is a value of type g; it is bad if godbus has no types for it.
func (w *walker) signature() string {
	n := int(w.byte())
	if !w.skip(n + 1) {
		return ""
	}
	text := w.data[w.at-n-1 : w.at-1]
	if n == 1 && fixed(text[0]) != 0 || n == 1 && text[0] == 's' {
		return oneByte[text[0]]
	}
	s := string(text)
	if w.sound {
		return s
	}
	files := strings.Contains(s, "h") && (w.fds == 0 || s != FilesSignature)
	if _, err := dbus.ParseSignature(s); err != nil || files || strings.Contains(s, "()") {
		w.bad = true
	}
	return s
}

// oneByte spares the allocation of the commonest signatures.
var oneByte = func() (all [128]string) {
	for i := range all {
		all[i] = string(rune(i))
	}
	return all
}()

// single walks over one value. depth is the number of containers around it.
func (w *walker) single(sig string, depth int) {
	if w.bad || sig == "" {
		w.bad = true
		return
	}
	if size := fixed(sig[0]); size != 0 && len(sig) == 1 {
		w.fixed(sig[0], size)
		return
	}
	if depth >= maxNesting && strings.ContainsRune("v(a", rune(sig[0])) {
		w.bad = true
		return
	}
	switch sig[0] {
	case 'h': // an index; the signature was looked at before
		w.bad = int64(w.uint32()) >= int64(w.fds) || w.bad
	case 's', 'o':
		if n := int64(w.uint32()); n < int64(len(w.data)) {
			w.skip(int(n) + 1)
			return
		}
		w.bad = true
	case 'g':
		if w.heedless {
			w.skip(int(w.byte()) + 1)
			return
		}
		w.signature()
	case 'v':
		w.variant(depth + 1)
	case 'a':
		w.elements(sig[1:], depth+1)
	case '(':
		w.align(8)
		for rest := sig[1 : len(sig)-1]; rest != "" && !w.bad; {
			var one string
			one, rest = cutType(rest)
			w.single(one, depth+1)
		}
	default:
		w.bad = true
	}
}

// variant walks over a variant, and returns where its value is, and its type.
func (w *walker) variant(depth int) (at int, sig string) {
	sig = w.signature()
	at = w.at
	if _, rest := cutType(sig); rest != "" {
		w.bad = true
	}
	w.single(sig, depth)
	return at, sig
}

func (w *walker) fixed(c byte, size int) {
	w.align(size)
	if w.skip(size) && c == 'b' && w.order.Uint32(w.data[w.at-4:]) > 1 {
		w.bad = true
	}
}

// elements walks over an array of elements of that type, {} for a dictionary.
func (w *walker) elements(sig string, depth int) {
	if size := fixed(sig[0]); size != 0 && sig[0] != 'b' {
		if end := w.array(size); !w.bad {
			w.bad = (end-w.at)%size != 0
			w.at = end
		}
		return
	}
	dictionary := sig[0] == '{'
	if dictionary && !strings.ContainsRune("ynqiuxtdso", rune(sig[1])) {
		w.bad = true
		return
	}
	end := w.array(alignment(sig[0]))
	for !w.bad && w.at < end {
		if dictionary {
			w.align(8)
			w.single(sig[1:2], depth+1)
			w.single(sig[2:len(sig)-1], depth+1)
		} else {
			w.single(sig, depth)
		}
	}
	w.bad = w.bad || w.at != end
}

// fixed is the size, and the alignment, of a type of fixed size, else 0.
func fixed(c byte) int {
	switch c {
	case 'y':
		return 1
	case 'n', 'q':
		return 2
	case 'b', 'i', 'u':
		return 4
	case 'x', 't', 'd':
		return 8
	}
	return 0
}

func alignment(c byte) int {
	switch c {
	case '(', '{':
		return 8
	case 'v', 'g':
		return 1
	case 's', 'o', 'a':
		return 4
	}
	return fixed(c)
}

// cutType cuts the first complete type off a valid signature.
func cutType(s string) (one, rest string) {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case 'a':
			continue
		case '(', '{':
			open++
		case ')', '}':
			open--
		}
		if open == 0 {
			return s[:i+1], s[i+1:]
		}
	}
	return s, ""
}
