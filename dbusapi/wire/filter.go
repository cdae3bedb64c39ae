package wire

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// EncodeFilter is the argument of QueryLogs. A zero field is left out.
func EncodeFilter(f units.LogFilter) map[string]dbus.Variant {
	m := map[string]dbus.Variant{}
	add := func(key string, value any, set bool) {
		if set {
			m[key] = dbus.MakeVariant(value)
		}
	}
	add("source", Clean(f.Source), f.Source != "")
	add("level", Clean(string(f.Level)), f.Level != "")
	add("context", Clean(f.Context), f.Context != "")
	add("service", Clean(f.Service), f.Service != "")
	add("since", limit(f.Since), !f.Since.IsZero())
	add("until", limit(f.Until), !f.Until.IsZero())
	add("limit", uint64(max(f.Limit, 0)), f.Limit != 0)
	return m
}

// limit is a time that is a limit: 0 would be none, so that what lies before
// 1970 is its first microsecond.
func limit(t time.Time) uint64 { return max(Microseconds(t), 1) }

// DecodeFilter is the inverse. It is strict and names every key that is
// wrong: a filter that is passed over would look like an answer.
func DecodeFilter(m map[string]dbus.Variant) (units.LogFilter, error) {
	var f units.LogFilter
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if problem := decodeFilterKey(&f, key, m[key].Value()); problem != "" {
			problems = append(problems, fmt.Sprintf("%q %s", Clean(key), problem))
		}
	}
	if problems != nil {
		return f, units.Errorf(units.CodeInvalidArgument, "log filter: %s", strings.Join(problems, "; "))
	}
	return f, nil
}

// DecodePruneFilter is DecodeFilter for PruneLogs, which has no limit. What
// selects everything is refused unless everything is meant.
func DecodePruneFilter(m map[string]dbus.Variant, everything bool) (units.LogFilter, error) {
	if _, limited := m["limit"]; limited {
		return units.LogFilter{}, units.Errorf(units.CodeInvalidArgument, `log filter: "limit" is not a key; want source, level, context, service, since or until`)
	}
	f, err := DecodeFilter(m)
	if err == nil && f == (units.LogFilter{}) && !everything {
		err = units.Errorf(units.CodeInvalidArgument, "the filter selects the whole log; flag %d says that this is meant", FlagEverything)
	}
	return f, err
}

func decodeFilterKey(f *units.LogFilter, key string, value any) (problem string) {
	s, isText := value.(string)
	n, isNumber := value.(uint64)
	if u, ok := value.(uint32); ok {
		n, isNumber = uint64(u), true
	}
	switch key {
	case "source", "level", "context", "service":
		if !isText {
			return "is not a string (s)"
		}
	case "since", "until", "limit":
		if !isNumber {
			return "is not a number (t)"
		}
	default:
		return "is not a key; want source, level, context, service, since, until or limit"
	}
	switch key {
	case "source":
		f.Source = s
	case "level":
		f.Level = units.Level(s)
		if f.Level != units.LevelError && f.Level != units.LevelWarning && f.Level != units.LevelInfo {
			return fmt.Sprintf("is %.32q; want error, warning or info", s)
		}
	case "context":
		f.Context = s
		if err := units.CheckContextName(s); err != nil {
			return err.Error()
		}
	case "service":
		f.Service = s
		if err := units.CheckServiceName(s); err != nil {
			return err.Error()
		}
	case "since", "until":
		if n == 0 {
			return "is 0; want microseconds since 1970, or no such key for no limit"
		}
		if key == "since" {
			f.Since = Moment(n)
		} else {
			f.Until = Moment(n)
		}
	case "limit":
		if n > units.MaxLogLimit {
			return fmt.Sprintf("is %d; want at most %d", n, units.MaxLogLimit)
		}
		f.Limit = int(n)
	}
	return ""
}
