package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// oddTypes are types that no method, or another one, takes.
var oddTypes = []string{"s", "t", "a{sv}", "v", "u", "b", "ay", "as", "d", "(st)", "a(st)", "a{us}", "o", "g", "aav", "x", "n"}

// words are those that the daemon knows, and those that it should trip over.
var words = []string{
	"", "core", "soak", "churn1", "name", "context", "actions", "exec", "env", "status", "spec", "limit", "since", "level", "state",
	"/bin/sleep 60", manager, busName + ".Service", "State", "..", "a/b", "%n%i", "$HOME", "\x01\x7f\x1b[2J", "é\u202e\U0001f600", "'", `"`, "\\", "\n",
	"hero_proc", "-", "--", "@", "1e309", "18446744073709551616", strings.Repeat("x", 300), strings.Repeat("\u0301", 2000),
}

func word() string {
	if rand.IntN(3) > 0 {
		return words[rand.IntN(len(words))]
	}
	runes := make([]rune, rand.IntN(40))
	for i := range runes {
		runes[i] = rune(1 + rand.IntN(0xd7fe)) // what the bus takes: no NUL, no surrogate
	}
	return string(runes)
}

var numbers = []uint64{0, 1, 2, 3, 7, 1 << 31, 1<<32 - 1, 1 << 63, math.MaxUint64}

// value is any value of a type, of those that the attacks use.
func value(sig string, depth int) any {
	n := numbers[rand.IntN(len(numbers))]
	switch sig {
	case "s":
		return word()
	case "o":
		return dbus.ObjectPath(root)
	case "g":
		return dbus.SignatureOf("", 1)
	case "b":
		return n%2 == 0
	case "h":
		return dbus.UnixFDIndex(n) // of none that comes along
	case "n":
		return int16(n)
	case "u":
		return uint32(n)
	case "x":
		return int64(n)
	case "t":
		return n
	case "d":
		return math.Float64frombits(n * 0x1234567)
	case "ay":
		return []byte(word())
	case "as":
		return []string{word(), word()}
	case "(st)":
		return struct {
			A string
			B uint64
		}{word(), n}
	case "a(st)":
		return []struct {
			A string
			B uint64
		}{{word(), n}}
	case "a{us}":
		return map[uint32]string{uint32(n): word()}
	case "aav":
		return [][]dbus.Variant{{dbus.MakeVariant(word())}, {}}
	case "a{sv}":
		m := map[string]dbus.Variant{}
		for range rand.IntN(6) {
			m[word()] = value("v", depth+1).(dbus.Variant)
		}
		return m
	case "v":
		if depth > 6 {
			return dbus.MakeVariant(word())
		}
		return dbus.MakeVariant(value(oddTypes[rand.IntN(len(oddTypes))], depth+1))
	}
	panic("attacker: a method takes " + sig + ", of which it makes no values")
}

// malformed sends messages with some bytes wrong. The bus ends the connection
// of who does that; what it lets through is the daemon's to live with.
func (a *attacker) malformed(ctx context.Context) error {
	conn, err := net.Dial("unix", "/run/dbus/system_bus_socket")
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "\x00AUTH EXTERNAL %s\r\n", hex.EncodeToString([]byte(strconv.Itoa(os.Getuid()))))
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "OK") {
		return fmt.Errorf("the bus does not let us in: %q, %w", line, err)
	}
	hello := frame("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
	if _, err := conn.Write(append([]byte("BEGIN\r\n"), hello...)); err != nil {
		return err
	}
	go func() { // answers
		buf := make([]byte, 1<<16)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	for i := range 200 {
		m := a.methods[rand.IntN(len(a.methods))]
		dot := strings.LastIndex(m.name, ".")
		var args []any
		for _, sig := range m.inputs {
			args = append(args, value(sig, 0))
		}
		f := frame(busName, m.path, m.name[:dot], m.name[dot+1:], args...)
		for range i % 3 {
			f[rand.IntN(len(f))] ^= byte(1 << rand.IntN(8))
		}
		if _, err := conn.Write(f); err != nil || ctx.Err() != nil {
			return nil // as it should be
		}
	}
	return nil
}

func frame(destination string, path dbus.ObjectPath, iface, member string, body ...any) []byte {
	msg := dbus.Message{Type: dbus.TypeMethodCall, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(destination),
		dbus.FieldPath:        dbus.MakeVariant(path),
		dbus.FieldInterface:   dbus.MakeVariant(iface),
		dbus.FieldMember:      dbus.MakeVariant(member),
	}}
	if len(body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var buf bytes.Buffer
	if err := msg.EncodeTo(&buf, binary.LittleEndian); err != nil {
		panic(err)
	}
	out := buf.Bytes()
	binary.LittleEndian.PutUint32(out[8:], 1+rand.Uint32N(math.MaxUint32)) // the serial
	return out
}
