package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

type pair struct {
	A string
	B uint64
}

// plainBodies are bodies of every type that there is.
func plainBodies() [][]any {
	deep := dbus.MakeVariant("bottom")
	for range 20 {
		deep = dbus.MakeVariant([]dbus.Variant{deep})
		if len(deep.String()) > 1<<10 {
			break
		}
	}
	return [][]any{
		nil,
		{"text", uint32(7), true, byte(1), int16(-1), uint16(1), int32(-1), int64(-1), uint64(1), 1.5, dbus.ObjectPath("/x"), dbus.SignatureOf("x", 1)},
		{[]string{}, []string{"a", ""}, []byte("bytes"), []bool{true, false}, []uint64{1, 2}, []float64{math.NaN()}, []uint16{}, []dbus.ObjectPath{"/"}, []dbus.Signature{dbus.SignatureOf("")}},
		{map[string]dbus.Variant{"k": dbus.MakeVariant(pair{"x", 1}), "l": dbus.MakeVariant([]pair{{"x", 1}, {"y", 2}})}},
		{[]map[string]dbus.Variant{{}, {"Actions": dbus.MakeVariant([]map[string]dbus.Variant{{"Name": dbus.MakeVariant("main")}})}}},
		{map[dbus.ObjectPath]map[string]map[string]dbus.Variant{"/a": {"i": {"p": dbus.MakeVariant(uint64(1))}}}},
		{map[string]map[uint32]pair{"x": {1: {"a", 2}}}, [][]byte{{}, {1}}, []pair{}, pair{"x", 3}, map[byte]string{1: "y"}, map[string]string{}},
		{dbus.MakeVariant(dbus.MakeVariant([]any{"x", uint32(1)}))},
		{deep},
		{strings.Repeat("x", 70<<10)},
	}
}

// encoded is a call with that body, as godbus sends it.
func encoded(t testing.TB, order binary.ByteOrder, body ...any) []byte {
	t.Helper()
	return framed(t, order, dbus.Message{Type: dbus.TypeMethodCall, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:   dbus.MakeVariant(dbus.ObjectPath("/x")),
		dbus.FieldMember: dbus.MakeVariant("Member"),
	}})
}

func framed(t testing.TB, order binary.ByteOrder, msg dbus.Message) []byte {
	t.Helper()
	if body := msg.Body; len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var buf bytes.Buffer
	if err := msg.EncodeTo(&buf, order); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestWhatGodbusSendsIsDecodable(t *testing.T) {
	t.Parallel()
	for _, body := range plainBodies() {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			if frame := encoded(t, order, body...); !decodable(frame, 0) {
				t.Errorf("%.100v, %v: refused", body, order)
			}
		}
	}
}

func TestWhatGodbusCannotDecodeIsRefused(t *testing.T) {
	t.Parallel()
	deep := dbus.MakeVariant("bottom")
	for range 63 {
		deep = dbus.MakeVariant(deep)
	}
	// A body of another type than its signature says is of the same shape.
	as := func(signature string, body any) []byte {
		return bytes.Replace(encoded(t, binary.LittleEndian, body), []byte(dbus.SignatureOf(body).String()+"\x00"), []byte(signature+"\x00"), 1)
	}
	whole := encoded(t, binary.LittleEndian, "text")
	for _, tt := range []struct {
		name  string
		frame []byte
	}{
		{name: "nothing"},
		{name: "no byte order", frame: append([]byte{'x'}, whole[1:]...)},
		{name: "cut short", frame: whole[:len(whole)-1]},
		{name: "too long", frame: append(bytes.Clone(whole), 0)},
		{name: "file descriptor", frame: as("h", uint32(0))},
		{name: "file descriptors", frame: as("ah", []uint32{0, 1})},
		{name: "no file descriptors", frame: as("ah", []uint32{})},
		{name: "dictionary by boolean", frame: as("a{bs}", map[uint32]string{1: "x"})},
		{name: "dictionary by signature", frame: as("a{gs}", map[uint32]string{})},
		{name: "a boolean of 2", frame: as("b", uint32(2))},
		{name: "deep", frame: encoded(t, binary.LittleEndian, deep)},
		{name: "a signature that is none", frame: as("!", byte(0))},
		{name: "array that ends amid an element", frame: as("at", []uint32{1, 2, 3})},
	} {
		if decodable(tt.frame, 0) {
			t.Errorf("%s: taken", tt.name)
		}
	}
}

// FuzzDecodable is the promise of decodable: godbus decodes what it takes, to
// the last byte. An InvalidMessageError is of a whole message that godbus
// passes over; any other error, or a panic, would end the connection or the process.
func FuzzDecodable(f *testing.F) {
	for _, body := range plainBodies() {
		f.Add(encoded(f, binary.LittleEndian, body...))
		f.Add(encoded(f, binary.BigEndian, body...))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !decodable(frame, 0) {
			return
		}
		rest := bytes.NewReader(frame)
		var invalid dbus.InvalidMessageError
		if _, err := dbus.DecodeMessage(rest); err != nil && !errors.As(err, &invalid) {
			t.Errorf("godbus can't decode %x: %v", frame, err)
		} else if rest.Len() > 0 {
			t.Errorf("godbus leaves %d bytes of %x", rest.Len(), frame)
		}
	})
}

// Bodies of random types, made by the fuzzer, under a header that is right:
// it would take FuzzDecodable long to come by one.
func FuzzDecodableBody(f *testing.F) {
	for _, body := range plainBodies() {
		frame := encoded(f, binary.LittleEndian, body...)
		length := int(binary.LittleEndian.Uint32(frame[4:]))
		f.Add(dbus.SignatureOf(body...).String(), frame[len(frame)-length:])
	}
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		sig, err := dbus.ParseSignature(signature)
		if err != nil || len(body) > 1<<16 {
			return
		}
		msg := dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/x")),
			dbus.FieldMember:    dbus.MakeVariant("Member"),
			dbus.FieldSignature: dbus.MakeVariant(sig),
		}}
		var buf bytes.Buffer
		if err := msg.EncodeTo(&buf, binary.LittleEndian); err != nil {
			return
		}
		frame := append(buf.Bytes(), body...)
		binary.LittleEndian.PutUint32(frame[4:], uint32(len(body)))
		if !decodable(frame, 0) {
			return
		}
		rest := bytes.NewReader(frame)
		if _, err := dbus.DecodeMessage(rest); err != nil || rest.Len() > 0 {
			t.Errorf("godbus can't decode %q %x: %v, %d bytes left", signature, body, err, rest.Len())
		}
	})
}
