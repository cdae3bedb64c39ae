package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration/privatebus"
)

// reply is an answer with that body, as godbus sends it.
func reply(t testing.TB, order binary.ByteOrder, body ...any) []byte {
	t.Helper()
	return framed(t, order, dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)),
	}})
}

// change is a signal with that body, as godbus sends it.
func change(t testing.TB, order binary.ByteOrder, body ...any) []byte {
	t.Helper()
	return framed(t, order, dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/x")), dbus.FieldInterface: dbus.MakeVariant("x.Y"), dbus.FieldMember: dbus.MakeVariant("Z"),
	}})
}

// messages are those that something is taken out of: a message with these
// properties, and maybe with more around them.
var messages = []struct {
	name string
	make func(t testing.TB, order binary.ByteOrder, properties map[string]dbus.Variant) []byte
}{
	{"an answer", func(t testing.TB, order binary.ByteOrder, properties map[string]dbus.Variant) []byte {
		return reply(t, order, properties)
	}},
	{"a signal", func(t testing.TB, order binary.ByteOrder, properties map[string]dbus.Variant) []byte {
		return change(t, order, "an.interface", properties, []string{"One", "", "Three"})
	}},
	{"a signal without names", func(t testing.TB, order binary.ByteOrder, properties map[string]dbus.Variant) []byte {
		return change(t, order, "", properties, []string{})
	}},
}

// kept is what is left of a frame, and what godbus makes of it.
func kept(t testing.TB, frame []byte, wanted map[string]bool) (left []byte, msg *dbus.Message) {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if frame[0] == 'B' {
		order = binary.BigEndian
	}
	left = bytes.Clone(frame)
	left = left[:keep(left, len(frame)-int(order.Uint32(frame[4:])), wanted)]
	if !decodable(left, 0) {
		t.Fatalf("what is left can't be decoded: %x\nof %x", left, frame)
	}
	return left, read(t, left)
}

func TestKeep(t *testing.T) {
	t.Parallel()
	properties := map[string]dbus.Variant{
		"Empty": dbus.MakeVariant(""), "A": dbus.MakeVariant(byte(1)), "Text": dbus.MakeVariant(strings.Repeat("é", 5)), "Number": dbus.MakeVariant(uint64(1 << 60)),
		"Job": dbus.MakeVariant(struct {
			ID   uint32
			Path dbus.ObjectPath
		}{7, "/job/7"}),
		"InvocationID": dbus.MakeVariant([]byte{1, 2, 3}), "LogExtraFields": dbus.MakeVariant([][]byte{[]byte("A=1"), []byte("B")}),
		"Commands": dbus.MakeVariant([]pair{{"/bin/x", 1}, {"", 2}}), "None": dbus.MakeVariant([]pair{}), "Float": dbus.MakeVariant(1.5), "Bool": dbus.MakeVariant(true),
	}
	every := map[string]bool{}
	for name := range properties {
		every[name] = true
	}
	for _, m := range messages {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			frame := m.make(t, order, properties)
			check := func(wanted map[string]bool) {
				t.Helper()
				want := maps.Clone(properties)
				maps.DeleteFunc(want, func(name string, _ dbus.Variant) bool { return !wanted[name] })
				_, msg := kept(t, frame, wanted)
				if want := read(t, m.make(t, order, want)); !reflect.DeepEqual(msg.Body, want.Body) {
					t.Errorf("of %s there is %v left, want %v", m.name, msg.Body, want.Body)
				}
			}
			// Each with each other, as what is before it moves it.
			for one := range properties {
				for two := range properties {
					check(map[string]bool{one: true, two: true})
				}
			}
			check(map[string]bool{})
			if left, _ := kept(t, frame, every); !bytes.Equal(left, frame) {
				t.Errorf("all of %s are %x, want %x", m.name, left, frame)
			}
		}
	}
}

// read is a message as godbus reads it.
func read(t testing.TB, frame []byte) *dbus.Message {
	t.Helper()
	msg, err := dbus.DecodeMessage(bytes.NewReader(frame))
	if err != nil {
		t.Fatalf("godbus can't decode %x: %v", frame, err)
	}
	return msg
}

func TestKeepLeavesAllElse(t *testing.T) {
	t.Parallel()
	nothing := map[string]bool{}
	for _, body := range plainBodies() {
		frames := [][]byte{encoded(t, binary.LittleEndian, body...), change(t, binary.LittleEndian, body...)}
		if len(body) != 1 || dbus.SignatureOf(body...).String() != "a{sv}" {
			frames = append(frames, reply(t, binary.LittleEndian, body...))
		}
		for _, frame := range frames {
			if left, _ := kept(t, frame, nothing); !bytes.Equal(left, frame) {
				t.Errorf("of a message of type %d with %v there is %x left, want %x", frame[1], body, left, frame)
			}
		}
	}
	properties := map[string]dbus.Variant{"a": dbus.MakeVariant("b")}
	for _, frame := range [][]byte{
		framed(t, binary.LittleEndian, dbus.Message{Type: dbus.TypeError, Body: []any{properties}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)), dbus.FieldErrorName: dbus.MakeVariant("x.Error"),
		}}),
		reply(t, binary.LittleEndian, "an.interface", properties, []string{"One"}),
		change(t, binary.LittleEndian, "an.interface", properties, []string{"One"}, "more"),
		change(t, binary.LittleEndian, properties),
	} {
		if left, _ := kept(t, frame, nothing); !bytes.Equal(left, frame) {
			t.Errorf("of a message of type %d there is %x left, want %x", frame[1], left, frame)
		}
	}
}

// A connection of [DialKeeping] hands on what its names say, and goes on after it.
func TestDialKeeping(t *testing.T) {
	t.Parallel()
	bus := echoOn(t, privatebus.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	conn, err := DialKeeping(ctx, bus.Address, MaxMessage, map[string]bool{"b": true, "d": true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		all := map[string]dbus.Variant{"a": dbus.MakeVariant("x"), "b": dbus.MakeVariant([]uint64{1, 2}), "c": dbus.MakeVariant(true)}
		call := conn.Object("test.Echo", "/").CallWithContext(ctx, "test.Echo.Echo", 0, all)
		if want := []any{map[string]dbus.Variant{"b": all["b"]}}; call.Err != nil || !reflect.DeepEqual(call.Body, want) {
			t.Errorf("the answer is %v, %v, want %v", call.Body, call.Err, want)
		}
	}
}

// FuzzKeep is a body with an a{sv}, whatever is in it: what is left has the names
// that are wanted, as they were, and no others.
func FuzzKeep(f *testing.F) {
	for _, body := range plainBodies() {
		for _, arg := range body {
			properties := map[string]dbus.Variant{"a": dbus.MakeVariant(arg), "bb": dbus.MakeVariant(byte(1)), "ccc": dbus.MakeVariant(arg)}
			for i, m := range messages {
				frame := m.make(f, binary.LittleEndian, properties)
				f.Add(i > 0, frame[len(frame)-int(binary.LittleEndian.Uint32(frame[4:])):])
			}
		}
	}
	f.Fuzz(func(t *testing.T, signal bool, body []byte) {
		frame, at := reply(t, binary.LittleEndian, map[string]dbus.Variant{}), 0
		if signal {
			frame, at = change(t, binary.LittleEndian, "", map[string]dbus.Variant{}, []string{}), 1
		}
		frame = append(frame[:len(frame)-int(binary.LittleEndian.Uint32(frame[4:]))], body...)
		binary.LittleEndian.PutUint32(frame[4:], uint32(len(body)))
		if !decodable(frame, 0) {
			return
		}
		want, even := read(t, frame).Body, map[string]bool{}
		for name := range want[at].(map[string]dbus.Variant) {
			even[name] = len(name)%2 == 0
		}
		maps.DeleteFunc(want[at].(map[string]dbus.Variant), func(name string, _ dbus.Variant) bool { return !even[name] })
		_, msg := kept(t, frame, even)
		for i := range want { // as text, since what is no number equals nothing
			if got, want := dbus.MakeVariant(msg.Body[i]).String(), dbus.MakeVariant(want[i]).String(); got != want {
				t.Errorf("left is %v, want %v", got, want)
			}
		}
	})
}
