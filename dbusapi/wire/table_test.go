package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// fill sets every field to a value of its own, so that none can be missed and
// no two can be mixed up.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(1700000000000000 + *n)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(*n)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Struct:
		for i := range v.NumField() {
			// The order of its readings is the daemon's own business.
			if v.Type().Field(i).Name != "Reading" {
				fill(v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	default:
		panic("the test does not know " + v.Type().String())
	}
}

// overBus is what a peer gets: encoded as a message, and decoded from it.
func overBus(t *testing.T, m map[string]dbus.Variant) map[string]dbus.Variant {
	t.Helper()
	msg := dbus.Message{Type: dbus.TypeMethodReply, Body: []any{m}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(uint32(1)),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(m)),
	}}
	var buf bytes.Buffer
	if err := msg.EncodeTo(&buf, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	back, err := dbus.DecodeMessage(&buf)
	if err != nil {
		t.Fatal(err)
	}
	return back.Body[0].(map[string]dbus.Variant)
}

func roundTrip[T any](t *testing.T, table Table[T]) {
	t.Helper()
	var full, zero T
	n := int64(0)
	fill(reflect.ValueOf(&full).Elem(), &n)
	for name, v := range map[string]T{"every field set": full, "no field set": zero} {
		for how, encoded := range map[string]map[string]dbus.Variant{"alone": table.Encode(v), "as a row": table.EncodeRow(v)} {
			got, err := table.Decode(overBus(t, encoded))
			if err != nil {
				t.Errorf("%T, %s, %s: %v", v, name, how, err)
			}
			// An empty list or map may come back for one that is nil.
			if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", v); a != b {
				t.Errorf("%T, %s, %s: came back as\n%s; want\n%s", v, name, how, a, b)
			}
		}
	}
	if rows := [2]int{len(table.EncodeRow(full)), len(table.EncodeRow(zero))}; rows != [2]int{len(table), 0} {
		t.Errorf("%T: rows with all set and with nothing set have %d keys; want %d and 0", full, rows, len(table))
	}
	for _, f := range table {
		wrong := map[string]dbus.Variant{f.Name: dbus.MakeVariant(byte(1))}
		if _, err := table.Decode(wrong); err == nil {
			t.Errorf("%T: %s of another type was taken", full, f.Name)
		}
		if got := table.Encode(full)[f.Name].Signature().String(); got != f.Type {
			t.Errorf("%T: %s is of type %s, its table says %s", full, f.Name, got, f.Type)
		}
	}
	if len(table.Encode(zero)) != len(table) {
		t.Errorf("%T: two fields have one name", full)
	}
}

func TestEveryFieldGoesOverTheBusAndBack(t *testing.T) {
	t.Parallel()
	roundTrip(t, Status)
	roundTrip(t, Action)
	roundTrip(t, Job)
	roundTrip(t, LogEntry)
	roundTrip(t, Health)
	roundTrip(t, Context)
	roundTrip(t, LogControl)
	roundTrip(t, Dependency)
	roundTrip(t, Explanation)
	roundTrip(t, BootAnalysis)
}

func TestAnOlderOrNewerPeerIsUnderstood(t *testing.T) {
	t.Parallel()
	got, err := Job.Decode(map[string]dbus.Variant{"ID": dbus.MakeVariant(uint64(7)), "Novelty": dbus.MakeVariant(true)})
	if err != nil || got != (units.Job{ID: 7}) {
		t.Errorf("got %+v, %v; want the known key alone", got, err)
	}
}

func TestFilterRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		filter units.LogFilter
	}{
		{name: "nothing selected"},
		{name: "everything selected", filter: units.LogFilter{
			Source: "hero_proc.store", Level: units.LevelError, Exact: true, Context: "core", Service: "web",
			Since: time.UnixMicro(1), Until: time.UnixMicro(1700000000000001), Limit: 17,
		}},
	} {
		got, err := DecodeFilter(EncodeFilter(tt.filter))
		if err != nil || got != tt.filter {
			t.Errorf("%s: came back as %+v, %v", tt.name, got, err)
		}
	}
	// A field that is added to the filter has to be added here and to the keys.
	if n := reflect.TypeFor[units.LogFilter]().NumField(); n != 8 {
		t.Errorf("the filter has %d fields; the test knows 8", n)
	}
}

func TestFilterIsStrict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		key   string
		value any
		want  string // "" if it is taken
	}{
		{name: "unknown key", key: "sauce", value: "x", want: `log filter: "sauce" is not a key; want source, level, exact, context, service, since, until or limit`},
		{name: "exact, or not at all", key: "exact", value: false, want: `log filter: "exact" is not true (b); want no such key for the more severe ones too`},
		{name: "no service's name", key: "service", value: "-", want: `log filter: "service" is "-"; want 1 to 100 of A-Z, a-z, 0-9, _, . and -, not starting with . or -`},
		{name: "source of another type", key: "source", value: uint64(1), want: `log filter: "source" is not a string (s)`},
		{name: "time of another type", key: "since", value: "yesterday", want: `log filter: "since" is not a number (t)`},
		{name: "signed limit", key: "limit", value: int32(-1), want: `log filter: "limit" is not a number (t)`},
		{name: "limit too high", key: "limit", value: uint64(1 << 63), want: `log filter: "limit" is 9223372036854775808; want at most 10000`},
		{name: "limit as u", key: "limit", value: uint32(5)},
		{name: "unknown level", key: "level", value: "debug", want: `log filter: "level" is "debug"; want error, warning or info`},
		{name: "no context's name", key: "context", value: "a/b", want: `log filter: "context" is "a/b"; want 1 to 64 of a-z, 0-9 and _`},
	} {
		_, err := DecodeFilter(map[string]dbus.Variant{tt.key: dbus.MakeVariant(tt.value)})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || err.Error() != tt.want || units.CodeOf(err) != units.CodeInvalidArgument):
			t.Errorf("%s: error is %v; want %s", tt.name, err, tt.want)
		}
	}
}

func TestListFiltersGoOverAndSelect(t *testing.T) {
	t.Parallel()
	service := units.Status{ID: units.ID{Context: "core", Name: "web"}, State: units.StateFailed}
	for _, tt := range []struct {
		filter ServiceFilter
		want   bool
	}{
		{filter: ServiceFilter{}, want: true},
		{filter: ServiceFilter{Context: "core"}, want: true},
		{filter: ServiceFilter{Context: "test"}},
		{filter: ServiceFilter{State: units.StateFailed}, want: true},
		{filter: ServiceFilter{Context: "core", State: units.StateRunning}},
	} {
		got, err := DecodeServiceFilter(tt.filter.Encode())
		if err != nil || got != tt.filter || got.Selects(service) != tt.want {
			t.Errorf("%+v came back as %+v, %v, and selects: %v; want %v", tt.filter, got, err, got.Selects(service), tt.want)
		}
	}
}
