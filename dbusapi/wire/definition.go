package wire

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// EncodeDefinition is a definition as an a{sv}. It takes what JSON, TOML and
// units.Service.Encode give: a list of strings becomes as, a map of strings
// a{ss}, a list of maps aa{sv}.
func EncodeDefinition(def map[string]any) (map[string]dbus.Variant, error) {
	out := make(map[string]dbus.Variant, len(def))
	for key, v := range def {
		value, err := outgoing(key, reflect.ValueOf(v))
		if err != nil {
			return nil, err
		}
		out[key] = dbus.MakeVariant(value)
	}
	return out, nil
}

// DecodeDefinition is the inverse, in the shapes of JSON: string, bool, int64,
// uint64, float64, []any and map[string]any. What the keys mean, and which of
// them there are, is units.DecodeService's to say.
func DecodeDefinition(m map[string]dbus.Variant) (map[string]any, error) {
	v, err := incoming("", reflect.ValueOf(m))
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

func unfit(key, what string) error {
	return units.Errorf(units.CodeInvalidDefinition, "%s %s", Clean(key), what)
}

func outgoing(key string, v reflect.Value) (any, error) {
	for v.IsValid() && v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil, unfit(key, "is null; leave it out instead")
	}
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return nil, unfit(key, "is not UTF-8 text")
		}
		return v.String(), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint(), nil
	case reflect.Float32, reflect.Float64:
		return v.Float(), nil
	case reflect.Slice, reflect.Array:
		return outgoingList(key, v)
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String {
			return outgoingMap(key, v)
		}
	}
	return nil, unfit(key, "is a "+v.Type().String()+", which no field takes")
}

func outgoingList(key string, v reflect.Value) (any, error) {
	texts, maps, mixed := []string{}, []map[string]dbus.Variant{}, []dbus.Variant{}
	for i := range v.Len() {
		value, err := outgoing(key+"["+strconv.Itoa(i)+"]", v.Index(i))
		if err != nil {
			return nil, err
		}
		switch value := value.(type) {
		case string:
			texts = append(texts, value)
		case map[string]string:
			maps = append(maps, variants(value))
		case map[string]dbus.Variant:
			maps = append(maps, value)
		}
		mixed = append(mixed, dbus.MakeVariant(value))
	}
	switch len(mixed) {
	case len(texts):
		return texts, nil
	case len(maps):
		return maps, nil
	}
	return mixed, nil
}

func outgoingMap(key string, v reflect.Value) (any, error) {
	texts, mixed := map[string]string{}, map[string]dbus.Variant{}
	for _, k := range v.MapKeys() {
		value, err := outgoing(key+"."+k.String(), v.MapIndex(k))
		if err != nil {
			return nil, err
		}
		if s, ok := value.(string); ok {
			texts[k.String()] = s
		}
		mixed[k.String()] = dbus.MakeVariant(value)
	}
	if len(texts) == len(mixed) {
		return texts, nil
	}
	return mixed, nil
}

func variants(m map[string]string) map[string]dbus.Variant {
	out := make(map[string]dbus.Variant, len(m))
	for k, v := range m {
		out[k] = dbus.MakeVariant(v)
	}
	return out
}

// errNoField is the error for a value inside a variant of a type that no field takes.
var errNoField = errors.New("no field takes it")

// incoming walks what godbus decodes: it gives a struct as []any, and a file
// descriptor, a path and a signature each as a type of its own.
func incoming(key string, v reflect.Value) (any, error) {
	if variant, ok := v.Interface().(dbus.Variant); ok {
		value, err := incoming(key, reflect.ValueOf(variant.Value()))
		if errors.Is(err, errNoField) {
			err = unfit(key, "is of type "+variant.Signature().String()+", which no field takes")
		}
		return value, err
	}
	switch v.Interface().(type) {
	case []any, dbus.ObjectPath, dbus.Signature, dbus.UnixFD, dbus.UnixFDIndex:
		return nil, errNoField
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint(), nil
	case reflect.Float64:
		return v.Float(), nil
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			var err error
			if list[i], err = incoming(key+"["+strconv.Itoa(i)+"]", v.Index(i)); err != nil {
				return nil, err
			}
		}
		return list, nil
	case reflect.Map:
		if v.Type().Key() != reflect.TypeFor[string]() {
			break
		}
		m := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			value, err := incoming(strings.TrimPrefix(key+"."+k.String(), "."), v.MapIndex(k))
			if err != nil {
				return nil, err
			}
			m[k.String()] = value
		}
		return m, nil
	}
	return nil, errNoField
}
