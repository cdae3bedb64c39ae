package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

const definition = `{
	"name": "web", "context": "edge", "status": "stop", "requires": ["core/hero_db"], "after": "dns", "wants": [],
	"actions": [
		{"name": "main", "exec": "/bin/web --port 80", "env": {"A": "1", "B": ""}, "memory_max": "512M", "tasks_max": 17, "is_process": true},
		{"name": "init", "exec": ["/bin/true", "x y"], "is_process": false, "credentials": {"key": "/etc/key"}, "depends_on": []}
	]
}`

// What a definition means must not depend on whether it went over the bus.
func TestDefinitionSurvivesTheBus(t *testing.T) {
	t.Parallel()
	var fromJSON map[string]any
	if err := json.Unmarshal([]byte(definition), &fromJSON); err != nil {
		t.Fatal(err)
	}
	want, err := units.DecodeService(fromJSON)
	if err != nil {
		t.Fatal(err)
	}
	for name, def := range map[string]map[string]any{"from JSON": fromJSON, "canonical": want.Encode()} {
		out, err := EncodeDefinition(def)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := DecodeDefinition(overBus(t, out))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := units.DecodeService(back)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: came back as %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestDefinitionTypesOnTheWire(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		value any
		sig   string
	}{
		{name: "text", value: "x", sig: "s"},
		{name: "text of a named type", value: units.WantedStart, sig: "s"},
		{name: "flag", value: true, sig: "b"},
		{name: "int", value: 1, sig: "x"},
		{name: "unsigned", value: uint32(1), sig: "t"},
		{name: "JSON's number", value: 1.0, sig: "d"},
		{name: "list of texts", value: []string{"x"}, sig: "as"},
		{name: "JSON's list of texts", value: []any{"x"}, sig: "as"},
		{name: "empty list", value: []any{}, sig: "as"},
		{name: "list of maps", value: []any{map[string]any{"n": 1}}, sig: "aa{sv}"},
		{name: "list of maps of text", value: []map[string]any{{"n": "x"}}, sig: "aa{sv}"},
		{name: "map of texts", value: map[string]any{"n": "x"}, sig: "a{ss}"},
		{name: "map", value: map[string]any{"n": "x", "m": 1}, sig: "a{sv}"},
		{name: "mixed list", value: []any{"x", 1}, sig: "av"},
	} {
		m, err := EncodeDefinition(map[string]any{"k": tt.value})
		if got := m["k"].Signature().String(); err != nil || got != tt.sig {
			t.Errorf("%s: is %q, %v; want %q", tt.name, got, err, tt.sig)
		}
	}
}

func TestUnfitDefinitionsAreNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{name: "null", value: map[string]any{"actions": []any{map[string]any{"user": nil}}}, want: "actions[0].user is null"},
		{name: "bad text", value: map[string]any{"name": "a\x00b"}, want: "name is not UTF-8 text"},
		{name: "not UTF-8", value: map[string]any{"name": "a\xff"}, want: "name is not UTF-8 text"},
		{name: "struct", value: map[string]any{"name": struct{}{}}, want: "name is a struct {}, which no field takes"},
		{name: "map by number", value: map[string]any{"env": map[int]string{}}, want: "env is a map[int]string, which no field takes"},
	} {
		_, err := EncodeDefinition(tt.value.(map[string]any))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || units.CodeOf(err) != units.CodeInvalidDefinition {
			t.Errorf("encode %s: error is %v; want %s", tt.name, err, tt.want)
		}
	}
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{name: "list of paths", value: []dbus.ObjectPath{"/"}, want: "k is of type ao"},
		{name: "path", value: dbus.ObjectPath("/x"), want: "k is of type o"},
		{name: "signature", value: dbus.SignatureOf(1), want: "k is of type g"},
		{name: "struct", value: struct{ A, B string }{}, want: "k is of type (ss)"},
		{name: "map by number", value: map[int32]string{1: "x"}, want: "k is of type a{is}"},
		{name: "deep", value: []any{dbus.MakeVariant(map[string]dbus.Variant{"x": dbus.MakeVariant(dbus.ObjectPath("/"))})}, want: "k[0].x is of type o"},
	} {
		_, err := DecodeDefinition(overBus(t, map[string]dbus.Variant{"k": dbus.MakeVariant(tt.value)}))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || units.CodeOf(err) != units.CodeInvalidDefinition {
			t.Errorf("decode %s: error is %v; want %s", tt.name, err, tt.want)
		}
	}
}
