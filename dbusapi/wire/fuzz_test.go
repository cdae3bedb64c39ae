package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// bodyOf is the encoded body of a message with that one argument.
func bodyOf(t testing.TB, arg any) []byte {
	frame := encoded(t, binary.LittleEndian, arg)
	return frame[len(frame)-int(binary.LittleEndian.Uint32(frame[4:])):]
}

// arrived is the argument of a call with that body, of type a{sv}, as it comes
// through the guard and godbus to a method; ok is false if it does not.
func arrived(t testing.TB, body []byte) (arg map[string]dbus.Variant, ok bool) {
	msg := dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/x")),
		dbus.FieldMember:    dbus.MakeVariant("Member"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.ParseSignatureMust("a{sv}")),
	}}
	var buf bytes.Buffer
	if err := msg.EncodeTo(&buf, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	frame := append(buf.Bytes(), body...)
	binary.LittleEndian.PutUint32(frame[4:], uint32(len(body)))
	if !decodable(frame, 0) {
		return nil, false
	}
	got, err := dbus.DecodeMessage(bytes.NewReader(frame))
	if err != nil {
		t.Fatalf("godbus can't decode %x: %v", body, err)
	}
	return got.Body[0].(map[string]dbus.Variant), true
}

// FuzzDefinition is SetService: whatever bytes come, they are refused with a
// code that the caller understands, or make a definition that is the same once
// it went over the bus and back.
func FuzzDefinition(f *testing.F) {
	deep := dbus.MakeVariant("bottom")
	for range 15 {
		deep = dbus.MakeVariant([]dbus.Variant{deep})
	}
	for _, def := range []map[string]any{
		{},
		{"name": "web", "actions": []any{map[string]any{"exec": "/bin/sleep 1h", "env": map[string]any{"A": "b"}}}},
		{"name": "web", "status": "spec", "requires": []any{"db", "other/db"}, "after": "x"},
		{"name": "web", "actions": []any{map[string]any{
			"name": "a", "exec": []any{"a", "b c"}, "is_process": false, "memory_max": "512M", "cpu_quota": 150,
			"restart_delay": "1.5s", "timeout_start": uint64(3), "tasks_max": 1.0, "depends_on": []any{"b"},
		}, map[string]any{"name": "b", "exec": "b", "ready": "notify", "credentials": map[string]any{"k": "/etc/k"}}}},
		{"name": 1, "actions": true, "context": []any{}, "unknown": map[string]any{"x": []any{1, "y", true}}},
		{"name": "nan", "actions": []any{map[string]any{"exec": "x", "memory_max": math.NaN()}}},
	} {
		m, err := EncodeDefinition(def)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bodyOf(f, m))
	}
	for _, odd := range []any{
		dbus.ObjectPath("/x"), dbus.SignatureOf("x"), pair{"x", 1}, []pair{{"x", 1}}, deep, map[uint32]string{1: "x"}, []byte{1, 2},
	} {
		f.Add(bodyOf(f, map[string]dbus.Variant{"name": dbus.MakeVariant(odd), "actions": dbus.MakeVariant([]dbus.Variant{dbus.MakeVariant(odd)})}))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		arg, ok := arrived(t, body)
		if !ok {
			return
		}
		def, err := DecodeDefinition(arg)
		if err != nil {
			wantCode(t, err, units.CodeInvalidDefinition)
			return
		}
		s, err := units.DecodeService(def)
		if err != nil {
			wantCode(t, err, units.CodeInvalidDefinition)
			return
		}
		out, err := EncodeDefinition(s.Encode())
		if err != nil {
			t.Fatalf("what was taken can't be answered: %v", err)
		}
		back, ok := arrived(t, bodyOf(t, out))
		if !ok {
			t.Fatalf("what was taken, and answered, can't be read: %v", out)
		}
		again, err := DecodeDefinition(back)
		if err != nil {
			t.Fatal(err)
		}
		if s2, err := units.DecodeService(again); err != nil || !reflect.DeepEqual(s, s2) {
			t.Errorf("over the bus and back: %+v, %v\nwas %+v", s2, err, s)
		}
	})
}

// wantCode checks an error that goes to a caller: its code, and that its text
// is fit for the bus.
func wantCode(t *testing.T, err error, code units.Code) {
	t.Helper()
	if units.CodeOf(err) != code {
		t.Errorf("the error's code is %s, want %s: %v", units.CodeOf(err), code, err)
	}
	onBus := ToError(err)
	for _, text := range onBus.Body {
		if s := text.(string); s != Clean(s) {
			t.Errorf("an error's text is unfit for the bus: %q", s)
		}
	}
}

// FuzzFilters is every call that takes a filter.
func FuzzFilters(f *testing.F) {
	for _, m := range []map[string]dbus.Variant{
		EncodeFilter(units.LogFilter{Source: "s", Level: units.LevelError, Exact: true, Context: "core", Service: "web", Since: time.Unix(1, 0), Until: time.Unix(2, 0), Limit: 7}),
		ServiceFilter{Context: "core", State: units.StateRunning}.Encode(),
		EncodeJobFilter(units.JobFilter{Context: "core", Service: "web", Action: "main", Phase: units.PhaseLost, Origin: units.OriginBoot,
			Run: 3, Before: 9, Since: time.Unix(1, 0), Until: time.Unix(2, 0), Limit: 7}),
		{"since": dbus.MakeVariant(uint64(math.MaxUint64)), "until": dbus.MakeVariant(uint64(1) << 63), "limit": dbus.MakeVariant(uint32(0))},
		{"context": dbus.MakeVariant([]string{"x"}), "state": dbus.MakeVariant("\n"), "\n": dbus.MakeVariant(pair{})},
	} {
		f.Add(bodyOf(f, m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		arg, ok := arrived(t, body)
		if !ok || !utf8.Valid(body) { // the bus lets no other text through
			return
		}
		if got, err := DecodeFilter(arg); err != nil {
			wantCode(t, err, units.CodeInvalidArgument)
		} else if again, err := DecodeFilter(EncodeFilter(got)); err != nil || again != got {
			t.Errorf("log filter %+v came back as %+v, %v", got, again, err)
		}
		if got, err := DecodePruneFilter(arg, false); err != nil {
			wantCode(t, err, units.CodeInvalidArgument)
		} else if got == (units.LogFilter{}) {
			t.Errorf("%v selects the whole log, and that was not said to be meant", arg)
		}
		if got, err := DecodeServiceFilter(arg); err != nil {
			wantCode(t, err, units.CodeInvalidArgument)
		} else if again, err := DecodeServiceFilter(got.Encode()); err != nil || again != got {
			t.Errorf("service filter %+v came back as %+v, %v", got, again, err)
		}
		if got, err := DecodeJobFilter(arg); err != nil {
			wantCode(t, err, units.CodeInvalidArgument)
		} else if again, err := DecodeJobFilter(EncodeJobFilter(got)); err != nil || again != got {
			t.Errorf("job filter %+v came back as %+v, %v", got, again, err)
		}
	})
}

// FuzzParsePath is the object of every call: each object has one path alone.
func FuzzParsePath(f *testing.F) {
	for _, path := range []dbus.ObjectPath{
		"/", RootPath, ContextsPath, ServicesPath, JobsPath, LogControlPath,
		ContextPath("core"), ServicePath(units.ID{Context: "core", Name: "a.b-c_1"}), JobPath(7), JobPath(math.MaxInt64),
		ServicesPath + "/core/_2f", ServicesPath + "/core/_", ServicesPath + "/core/a_5F", ServicesPath + "//", JobsPath + "/007", JobsPath + "/+1",
	} {
		f.Add(string(path))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if UnescapeLabel(EscapeLabel(text)) != text {
			t.Errorf("%q is another text once escaped", text)
		}
		_ = UnescapeLabel(text)
		path := dbus.ObjectPath(text)
		if !path.IsValid() { // neither the bus nor godbus lets it through
			return
		}
		o := ParsePath(path)
		switch o.Kind {
		case KindContext:
			if ContextPath(o.Service.Context) != path {
				t.Errorf("%q is read as context %q", path, o.Service.Context)
			}
		case KindService:
			if err := o.Service.Check(); err != nil || ServicePath(o.Service) != path {
				t.Errorf("%q is read as service %v, %v", path, o.Service, err)
			}
		case KindJob:
			if JobPath(o.Job) != path {
				t.Errorf("%q is read as job %d", path, o.Job)
			}
		}
	})
}

// pipe is a connection that brings some bytes, and then ends.
type pipe struct{ io.Reader }

func (pipe) Write(p []byte) (int, error) { return len(p), nil }
func (pipe) Close() error                { return nil }

// FuzzGuard is the whole of what reads the bus: of no stream of bytes does
// godbus make an error that ends the connection before the stream ends.
func FuzzGuard(f *testing.F) {
	const longest = 4 << 10
	var all []byte
	for _, body := range plainBodies() {
		one := encoded(f, binary.LittleEndian, body...)
		f.Add(one)
		if len(all) < 1<<14 {
			all = append(all, one...)
		}
	}
	f.Add(all)
	f.Add(encoded(f, binary.BigEndian, strings.Repeat("x", longest)))
	f.Add(bytes.Replace(encoded(f, binary.LittleEndian, uint32(0)), []byte("u\x00"), []byte("h\x00"), 1))
	f.Fuzz(func(t *testing.T, stream []byte) {
		g := newGuard(pipe{bytes.NewReader(stream)}, longest)
		g.frames = true
		for {
			_, err := dbus.DecodeMessage(g)
			var invalid dbus.InvalidMessageError
			switch {
			case err == nil || errors.As(err, &invalid):
				if g.frame.Len() > 0 {
					t.Fatalf("godbus leaves %d bytes of a message of %x", g.frame.Len(), stream)
				}
			case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, bufio.ErrBufferFull):
				return
			default:
				t.Fatalf("godbus ends the connection: %v of %x", err, stream)
			}
		}
	})
}

// FuzzUnread is what stands for a call that is not read.
func FuzzUnread(f *testing.F) {
	for _, body := range plainBodies()[:6] {
		f.Add(encoded(f, binary.LittleEndian, body...))
		f.Add(encoded(f, binary.BigEndian, body...))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var invalid dbus.InvalidMessageError
		out := unread(frame, undecodable)
		if out == nil {
			return
		}
		rest := bytes.NewReader(out)
		msg, err := dbus.DecodeMessage(rest)
		if errors.As(err, &invalid) {
			return
		}
		if err != nil || rest.Len() > 0 {
			t.Fatalf("godbus can't decode %x: %v, %d bytes left", out, err, rest.Len())
		}
		got := msg.Headers[dbus.FieldSignature].Value().(dbus.Signature).String()
		if msg.Type != dbus.TypeMethodCall || got != undecodable || Unread(got) == nil {
			t.Errorf("it is a message of type %v and signature %q", msg.Type, got)
		}
	})
}
