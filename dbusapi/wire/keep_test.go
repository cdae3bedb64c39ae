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
	msg, err := dbus.DecodeMessage(bytes.NewReader(left))
	if err != nil {
		t.Fatalf("godbus can't decode what is left: %v", err)
	}
	return left, msg
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
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		frame := reply(t, order, properties)
		// Each with each other, as what is before it moves it.
		for one := range properties {
			for two := range properties {
				want := maps.Clone(properties)
				maps.DeleteFunc(want, func(name string, _ dbus.Variant) bool { return name != one && name != two })
				_, msg := kept(t, frame, map[string]bool{one: true, two: true})
				if got := msg.Body[0]; !reflect.DeepEqual(got, normal(t, order, want)) {
					t.Errorf("%s and %s of them are %v, want %v", one, two, got, want)
				}
			}
		}
		if _, msg := kept(t, frame, map[string]bool{}); len(msg.Body[0].(map[string]dbus.Variant)) != 0 {
			t.Errorf("none of them is %v", msg.Body)
		}
		every := map[string]bool{}
		for name := range properties {
			every[name] = true
		}
		if left, _ := kept(t, frame, every); !bytes.Equal(left, frame) {
			t.Errorf("all of them are %x, want %x", left, frame)
		}
	}
}

// normal is what godbus makes of properties that it gets.
func normal(t *testing.T, order binary.ByteOrder, properties map[string]dbus.Variant) any {
	msg, err := dbus.DecodeMessage(bytes.NewReader(reply(t, order, properties)))
	if err != nil {
		t.Fatal(err)
	}
	return msg.Body[0]
}

func TestKeepLeavesAllElse(t *testing.T) {
	t.Parallel()
	nothing := map[string]bool{}
	for _, body := range plainBodies() {
		call := encoded(t, binary.LittleEndian, body...)
		answer := reply(t, binary.LittleEndian, body...)
		if left, _ := kept(t, call, nothing); !bytes.Equal(left, call) {
			t.Errorf("of a call with %v there is %x left, want %x", body, left, call)
		}
		if len(body) == 1 && dbus.SignatureOf(body...).String() == "a{sv}" {
			continue
		}
		if left, _ := kept(t, answer, nothing); !bytes.Equal(left, answer) {
			t.Errorf("of an answer with %v there is %x left, want %x", body, left, answer)
		}
	}
	properties := map[string]dbus.Variant{"a": dbus.MakeVariant("b")}
	for _, msg := range []dbus.Message{
		{Type: dbus.TypeError, Body: []any{properties}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)), dbus.FieldErrorName: dbus.MakeVariant("x.Error"),
		}},
		{Type: dbus.TypeSignal, Body: []any{properties}, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/x")), dbus.FieldInterface: dbus.MakeVariant("x.Y"), dbus.FieldMember: dbus.MakeVariant("Z"),
		}},
	} {
		frame := framed(t, binary.LittleEndian, msg)
		if left, _ := kept(t, frame, nothing); !bytes.Equal(left, frame) {
			t.Errorf("of a message of type %s there is %x left, want %x", msg.Type, left, frame)
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

// FuzzKeep is a body of a{sv}, whatever is in it: what is left has the names that
// are wanted, as they were, and no others.
func FuzzKeep(f *testing.F) {
	for _, body := range plainBodies() {
		for _, arg := range body {
			f.Add(bodyOf(f, map[string]dbus.Variant{"a": dbus.MakeVariant(arg), "bb": dbus.MakeVariant(byte(1)), "ccc": dbus.MakeVariant(arg)}))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		frame := reply(t, binary.LittleEndian, map[string]dbus.Variant{})
		frame = append(frame[:len(frame)-int(binary.LittleEndian.Uint32(frame[4:]))], body...)
		binary.LittleEndian.PutUint32(frame[4:], uint32(len(body)))
		if !decodable(frame, 0) {
			return
		}
		all, err := dbus.DecodeMessage(bytes.NewReader(frame))
		if err != nil {
			t.Fatal(err)
		}
		want, even := all.Body[0].(map[string]dbus.Variant), map[string]bool{}
		for name := range want {
			even[name] = len(name)%2 == 0
		}
		maps.DeleteFunc(want, func(name string, _ dbus.Variant) bool { return !even[name] })
		// Text, since what is no number equals nothing.
		if _, msg := kept(t, frame, even); dbus.MakeVariant(msg.Body[0]).String() != dbus.MakeVariant(want).String() {
			t.Errorf("left is %v, want %v", msg.Body[0], want)
		}
	})
}
