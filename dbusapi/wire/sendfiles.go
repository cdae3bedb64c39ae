package wire

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"syscall"

	"github.com/godbus/dbus/v5"
)

// maxSending bounds the messages whose descriptors are noted and that never
// got as far as the socket: they could not be encoded.
const maxSending = 64

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

// outgoing looks at a message before godbus sends it. godbus passes file
// descriptors over connections of its own making only, so they are taken out
// of a call here, and go along with it when it is written.
func (g *guard) outgoing(msg *dbus.Message) {
	if msg.Type != dbus.TypeMethodCall || !g.passes {
		return
	}
	var fds []int
	for i, v := range msg.Body {
		msg.Body[i] = indexed(reflect.ValueOf(v), &fds).Interface()
	}
	if len(fds) == 0 {
		return
	}
	msg.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(len(fds)))
	g.sendMu.Lock()
	defer g.sendMu.Unlock()
	if len(g.sending) >= maxSending {
		clear(g.sending)
	}
	g.sending[msg.Serial()] = fds
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

// write writes a message, and with its first byte its descriptors.
func (g *guard) write(p []byte) (int, error) {
	fds := g.filesOf(p)
	if len(fds) == 0 {
		return g.ReadWriteCloser.Write(p)
	}
	n, _, err := g.files.WriteMsgUnix(p, syscall.UnixRights(fds...), nil)
	if err == nil && n < len(p) {
		var more int
		more, err = g.ReadWriteCloser.Write(p[n:])
		n += more
	}
	return n, err
}

// filesOf is the descriptors of an encoded message, by its serial.
func (g *guard) filesOf(p []byte) []int {
	if len(p) < 16 || p[0] != 'l' && p[0] != 'B' {
		return nil
	}
	g.sendMu.Lock()
	defer g.sendMu.Unlock()
	if len(g.sending) == 0 {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if p[0] == 'B' {
		order = binary.BigEndian
	}
	serial := order.Uint32(p[8:])
	fds := g.sending[serial]
	delete(g.sending, serial)
	return fds
}
