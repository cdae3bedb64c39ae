package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"reflect"
	"syscall"

	"github.com/godbus/dbus/v5"
)

// encodedMessage is one that godbus is about to send.
type encodedMessage struct {
	message []byte
	fds     []int
}

// negotiate asks the bus to pass file descriptors: D-Bus specification,
// "Authentication Protocol". It comes between godbus's last line and BEGIN,
// when nothing is under way.
func (g *guard) negotiate() error {
	if _, err := g.ReadWriteCloser.Write([]byte("NEGOTIATE_UNIX_FD\r\n")); err != nil {
		return err
	}
	line, err := g.in.ReadSlice('\n')
	g.passes = bytes.HasPrefix(line, []byte("AGREE_UNIX_FD"))
	return err
}

// outgoing encodes a message before godbus sends it, and leaves a message without
// a body, in whose place the other one is written. godbus would encode it twice,
// the first time to count file descriptors. It passes these over connections of
// its own making only, so they are taken out of a call here, and go along with it.
func (g *guard) outgoing(msg *dbus.Message) {
	if len(msg.Body) == 0 {
		return
	}
	var fds []int
	if msg.Type == dbus.TypeMethodCall && g.passes {
		for i, v := range msg.Body {
			msg.Body[i] = indexed(reflect.ValueOf(v), &fds).Interface()
		}
	}
	if len(fds) > 0 {
		msg.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(len(fds)))
	}
	var whole bytes.Buffer
	left, err := msg.EncodeToWithFDs(&whole, binary.LittleEndian)
	if err != nil && msg.Type == dbus.TypeMethodReply {
		fmt.Fprintf(os.Stderr, "dbus: the answer to call %v of %v can't be encoded, replacing it: %v\n",
			msg.Headers[dbus.FieldReplySerial], msg.Headers[dbus.FieldDestination], err)
	}
	if err != nil || len(left) > 0 {
		return // godbus meets it too, and tells who is to know
	}
	g.sendMu.Lock()
	defer g.sendMu.Unlock()
	if g.sending == nil {
		return
	}
	g.sending[msg.Serial()] = encodedMessage{whole.Bytes(), fds}
	msg.Body = nil
	delete(msg.Headers, dbus.FieldSignature)
	delete(msg.Headers, dbus.FieldUnixFDs)
}

var (
	fdType      = reflect.TypeFor[dbus.UnixFD]()
	variantType = reflect.TypeFor[dbus.Variant]()
)

// indexed is v with each descriptor in it replaced by its place in fds. They
// stand at the top, or in a variant: in structures and lists of those.
func indexed(v reflect.Value, fds *[]int) reflect.Value {
	switch {
	case !v.IsValid():
		return v
	case v.Type() == fdType:
		*fds = append(*fds, int(v.Int()))
		return reflect.ValueOf(dbus.UnixFDIndex(len(*fds) - 1))
	case v.Type() == variantType:
		variant := v.Interface().(dbus.Variant)
		if fd, ok := variant.Value().(dbus.UnixFD); ok {
			return reflect.ValueOf(dbus.MakeVariant(indexed(reflect.ValueOf(fd), fds).Interface()))
		}
	case v.Kind() == reflect.Slice && holds(v.Type().Elem()):
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(indexed(v.Index(i), fds))
		}
		return out
	case v.Kind() == reflect.Struct && holds(v.Type()):
		out := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			out.Field(i).Set(indexed(v.Field(i), fds))
		}
		return out
	}
	return v
}

// holds says that a value of the type can have a variant in it.
func holds(t reflect.Type) bool {
	switch {
	case t == variantType:
		return true
	case t.Kind() == reflect.Slice:
		return holds(t.Elem())
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if holds(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// write writes a message, or the encoded one in whose place it stands, and with
// its first byte its descriptors.
func (g *guard) write(p []byte) (int, error) {
	e, ok := g.encodedAs(p)
	if !ok {
		return g.ReadWriteCloser.Write(p)
	}
	if len(e.message) > MaxMessage {
		return 0, errTooLong
	}
	written := 0
	if len(e.fds) > 0 {
		n, _, err := g.files.WriteMsgUnix(e.message, syscall.UnixRights(e.fds...), nil)
		if err != nil {
			return 0, err
		}
		written = n
	}
	if _, err := g.ReadWriteCloser.Write(e.message[written:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// encodedAs is the encoded message in whose place p stands, by its serial.
func (g *guard) encodedAs(p []byte) (e encodedMessage, ok bool) {
	if len(p) < 16 || p[0] != 'l' && p[0] != 'B' {
		return encodedMessage{}, false
	}
	g.sendMu.Lock()
	defer g.sendMu.Unlock()
	var order binary.ByteOrder = binary.LittleEndian
	if p[0] == 'B' {
		order = binary.BigEndian
	}
	serial := order.Uint32(p[8:])
	e, ok = g.sending[serial]
	delete(g.sending, serial)
	return e, ok
}
