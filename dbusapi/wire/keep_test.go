package wire

import (
	"bytes"
	"encoding/binary"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// reply is an answer with that body, as godbus sends it.
func reply(t testing.TB, order binary.ByteOrder, body ...any) []byte {
	t.Helper()
	return framed(t, order, dbus.Message{Type: dbus.TypeMethodReply, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)),
	}})
}

// kept is what is left of a frame, and what godbus makes of it.
func kept(t testing.TB, frame []byte, wanted func(string) bool) (left []byte, msg *dbus.Message) {
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
				_, msg := kept(t, frame, func(name string) bool { return name == one || name == two })
				if got := msg.Body[0]; !reflect.DeepEqual(got, normal(t, order, want)) {
					t.Errorf("%s and %s of them are %v, want %v", one, two, got, want)
				}
			}
		}
		if _, msg := kept(t, frame, func(string) bool { return false }); len(msg.Body[0].(map[string]dbus.Variant)) != 0 {
			t.Errorf("none of them is %v", msg.Body)
		}
		if left, _ := kept(t, frame, func(string) bool { return true }); !bytes.Equal(left, frame) {
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
	nothing := func(string) bool { return false }
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
		even := func(name string) bool { return len(name)%2 == 0 }
		want := all.Body[0].(map[string]dbus.Variant)
		maps.DeleteFunc(want, func(name string, _ dbus.Variant) bool { return !even(name) })
		// Text, since what is no number equals nothing.
		if _, msg := kept(t, frame, even); dbus.MakeVariant(msg.Body[0]).String() != dbus.MakeVariant(want).String() {
			t.Errorf("left is %v, want %v", msg.Body[0], want)
		}
	})
}
