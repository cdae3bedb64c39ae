package wire

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// ServiceFilter is the filter of ListServicesFiltered. A zero field selects all.
type ServiceFilter struct {
	Context string
	State   units.State
}

// Encode is the argument of ListServicesFiltered.
func (f ServiceFilter) Encode() map[string]dbus.Variant {
	return encodeTexts(map[string]string{"context": f.Context, "state": string(f.State)})
}

// Selects says whether the filter selects a service.
func (f ServiceFilter) Selects(s units.Status) bool {
	return (f.Context == "" || s.Context == f.Context) && (f.State == "" || s.State == f.State)
}

// DecodeServiceFilter is the inverse of Encode, and as strict as [DecodeFilter].
func DecodeServiceFilter(m map[string]dbus.Variant) (f ServiceFilter, err error) {
	err = decodeTexts("service filter", m, map[string]func(string) error{
		"context": func(s string) error { f.Context = s; return units.CheckContextName(s) },
		"state":   func(s string) error { f.State = units.State(s); return oneOf(f.State, units.States) },
	})
	return f, err
}

func encodeTexts(texts map[string]string) map[string]dbus.Variant {
	m := map[string]dbus.Variant{}
	for key, s := range texts {
		if s != "" {
			m[key] = dbus.MakeVariant(Clean(s))
		}
	}
	return m
}

// decodeTexts hands each value to its key's taker.
func decodeTexts(what string, m map[string]dbus.Variant, take map[string]func(string) error) error {
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text, isText := m[key].Value().(string)
		taker, known := take[key]
		problem := ""
		switch {
		case !known:
			problem = "is not a key; want " + strings.Join(slices.Sorted(maps.Keys(take)), " or ")
		case !isText:
			problem = "is not a string (s)"
		default:
			if err := taker(text); err != nil {
				problem = err.Error()
			}
		}
		if problem != "" {
			problems = append(problems, fmt.Sprintf("%.100q %s", Clean(key), problem))
		}
	}
	if problems != nil {
		return units.Errorf(units.CodeInvalidArgument, "%s: %s", what, strings.Join(problems, "; "))
	}
	return nil
}
