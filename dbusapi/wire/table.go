package wire

import (
	"fmt"
	"math"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Field is one entry of an a{sv}, or one property: its name, its D-Bus type,
// and its place in a T.
type Field[T any] struct {
	Name string
	Type string

	sig dbus.Signature // of Type
	get func(*T) any
	set func(*T, any) bool // false: the value is of another type
	// unset says that the value is what a missing key decodes to.
	unset func(any) bool
}

// Table converts between a T and an a{sv}.
type Table[T any] []Field[T]

// Encode is v as an a{sv}, with all of the table's keys.
func (t Table[T]) Encode(v T) map[string]dbus.Variant {
	m := make(map[string]dbus.Variant, len(t))
	for _, f := range t {
		m[f.Name] = f.variant(f.get(&v))
	}
	return m
}

// EncodeRow is v as a row of an aa{sv}: a key whose value is its type's zero,
// or "not counted", is left out. Most are, and a list of a thousand is answered in a third of
// the time.
func (t Table[T]) EncodeRow(v T) map[string]dbus.Variant {
	m := make(map[string]dbus.Variant, len(t)/2)
	for _, f := range t {
		if value := f.get(&v); !f.unset(value) {
			m[f.Name] = f.variant(value)
		}
	}
	return m
}

// variant is a value of the field. That its signature is known already spares
// godbus the reflection.
func (f Field[T]) variant(value any) dbus.Variant {
	return dbus.MakeVariantWithSignature(value, f.sig)
}

// zero knows the types that the tables put on the wire. It takes no other
// value for zero, so that what it doesn't know is sent.
func zero(value any) bool {
	switch v := value.(type) {
	case string:
		return v == ""
	case bool:
		return !v
	case int32:
		return v == 0
	case uint32:
		return v == 0
	case uint64:
		return v == 0
	case map[string]uint32:
		return len(v) == 0
	case map[string]uint64:
		return len(v) == 0
	case []map[string]dbus.Variant:
		return len(v) == 0
	}
	return false
}

// Decode is the inverse. A key that is missing leaves its field zero, and one
// that is not known is passed over: client and daemon may be of different
// versions. A value of another type is an error.
func (t Table[T]) Decode(m map[string]dbus.Variant) (T, error) {
	var v T
	for _, f := range t {
		if value, ok := m[f.Name]; ok && !f.set(&v, value.Value()) {
			return v, fmt.Errorf("%s is of type %s; want %s", f.Name, value.Signature(), f.Type)
		}
	}
	return v, nil
}

// EncodeAll and DecodeAll do it for an aa{sv}, of rows as [Table.EncodeRow]
// makes them.
func (t Table[T]) EncodeAll(vs []T) []map[string]dbus.Variant {
	ms := make([]map[string]dbus.Variant, len(vs))
	for i, v := range vs {
		ms[i] = t.EncodeRow(v)
	}
	return ms
}

func (t Table[T]) DecodeAll(ms []map[string]dbus.Variant) ([]T, error) {
	vs := make([]T, len(ms))
	for i, m := range ms {
		v, err := t.Decode(m)
		if err != nil {
			return nil, err
		}
		vs[i] = v
	}
	return vs, nil
}

// field is the general one: a G of the domain is a W on the wire.
func field[T, G, W any](name string, at func(*T) *G, out func(G) W, in func(W) G) Field[T] {
	sig := dbus.SignatureOf(*new(W))
	return Field[T]{
		Name:  name,
		Type:  sig.String(),
		sig:   sig,
		unset: zero,
		get:   func(t *T) any { return out(*at(t)) },
		set: func(t *T, v any) bool {
			w, ok := v.(W)
			if ok {
				*at(t) = in(w)
			}
			return ok
		},
	}
}

// plain is for what is the same on both sides.
func plain[T, G any](name string, at func(*T) *G) Field[T] {
	same := func(g G) G { return g }
	return field(name, at, same, same)
}

func text[T any, S ~string](name string, at func(*T) *S) Field[T] {
	return field(name, at, func(s S) string { return Clean(string(s)) }, func(s string) S { return S(s) })
}

func number[T any, G, W ~int | ~int64 | ~uint32 | ~uint64](name string, at func(*T) *G) Field[T] {
	return field(name, at, func(g G) W { return W(max(g, 0)) }, func(w W) G { return G(w) })
}

// moment is microseconds since 1970, as systemd counts; 0 is never.
func moment[T any](name string, at func(*T) *time.Time) Field[T] {
	return field(name, at, Microseconds, Moment)
}

// Microseconds is a time on the wire: microseconds since 1970, 0 for the zero time.
func Microseconds(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.UnixMicro())
}

// Moment is the inverse of [Microseconds].
func Moment(µs uint64) time.Time {
	if µs == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(min(µs, math.MaxInt64)))
}

// NotCounted is what systemd itself puts for a number that it does not count:
// org.freedesktop.systemd1(5), CPUUsageNSec.
const NotCounted uint64 = math.MaxUint64

// count is a number that systemd may not count.
func count[T any](name string, at func(*T) *units.Count) Field[T] {
	f := field(name, at,
		func(c units.Count) uint64 {
			if !c.Known {
				return NotCounted
			}
			return c.N
		},
		func(n uint64) units.Count {
			if n == NotCounted {
				return units.Count{}
			}
			return units.Counted(n)
		})
	f.unset = func(v any) bool { return v == NotCounted }
	return f
}

// rows is a list of structs, as an aa{sv}.
func rows[T, R any](name string, table Table[R], at func(*T) *[]R) Field[T] {
	return Field[T]{
		Name:  name,
		Type:  "aa{sv}",
		sig:   dbus.ParseSignatureMust("aa{sv}"),
		unset: zero,
		get:   func(t *T) any { return table.EncodeAll(*at(t)) },
		set: func(t *T, v any) bool {
			ms, ok := v.([]map[string]dbus.Variant)
			if !ok {
				return false
			}
			vs, err := table.DecodeAll(ms)
			*at(t) = vs
			return err == nil
		},
	}
}

// within lifts the fields of a part of T to T itself.
func within[T, P any](table Table[P], at func(*T) *P) Table[T] {
	lifted := make(Table[T], len(table))
	for i, f := range table {
		lifted[i] = Field[T]{
			Name:  f.Name,
			Type:  f.Type,
			sig:   f.sig,
			unset: f.unset,
			get:   func(t *T) any { return f.get(at(t)) },
			set:   func(t *T, v any) bool { return f.set(at(t), v) },
		}
	}
	return lifted
}
