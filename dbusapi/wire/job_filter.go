package wire

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// EncodeJobFilter is the argument of ListJobs. A zero field is left out. Live
// is no key: it is the flag.
func EncodeJobFilter(f units.JobFilter) map[string]dbus.Variant {
	m := encodeTexts(map[string]string{
		"context": f.Context, "service": f.Service, "action": f.Action, "phase": string(f.Phase), "origin": string(f.Origin),
	})
	for key, n := range map[string]int64{"run": f.Run, "before": f.Before, "limit": int64(f.Limit)} {
		if n != 0 {
			m[key] = dbus.MakeVariant(uint64(max(n, 0)))
		}
	}
	if !f.Since.IsZero() {
		m["since"] = dbus.MakeVariant(limit(f.Since))
	}
	if !f.Until.IsZero() {
		m["until"] = dbus.MakeVariant(limit(f.Until))
	}
	return m
}

// jobFilterKeys are the keys of the filter, in the order to read them.
const jobFilterKeys = "context, service, action, phase, origin, run, since, until, before or limit"

// DecodeJobFilter is the inverse of EncodeJobFilter, and as strict as
// [DecodeFilter].
func DecodeJobFilter(m map[string]dbus.Variant) (units.JobFilter, error) {
	var f units.JobFilter
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if problem := decodeJobFilterKey(&f, key, m[key].Value()); problem != "" {
			problems = append(problems, fmt.Sprintf("%.100q %s", Clean(key), problem))
		}
	}
	if problems != nil {
		return units.JobFilter{}, units.Errorf(units.CodeInvalidArgument, "job filter: %s", strings.Join(problems, "; "))
	}
	return f, nil
}

func decodeJobFilterKey(f *units.JobFilter, key string, value any) (problem string) {
	switch key {
	case "context", "service", "action", "phase", "origin":
		text, ok := value.(string)
		if !ok {
			return "is not a string (s)"
		}
		if err := decodeJobText(f, key, text); err != nil {
			return err.Error()
		}
	case "run", "since", "until", "before", "limit":
		n, ok := value.(uint64)
		if u, short := value.(uint32); short {
			n, ok = uint64(u), true
		}
		switch {
		case !ok:
			return "is not a number (t)"
		case n == 0:
			return "is 0; want no such key for no limit"
		case key == "limit" && n > units.MaxJobLimit:
			return fmt.Sprintf("is %d; want at most %d", n, units.MaxJobLimit)
		}
		decodeJobNumber(f, key, n)
	default:
		return "is not a key; want " + jobFilterKeys
	}
	return ""
}

func decodeJobText(f *units.JobFilter, key, text string) error {
	switch key {
	case "context":
		f.Context = text
		return units.CheckContextName(text)
	case "service":
		f.Service = text
		return units.CheckServiceName(text)
	case "action":
		f.Action = text
		return units.CheckActionName(text)
	case "phase":
		f.Phase = units.Phase(text)
		return oneOf(f.Phase, units.Phases)
	default:
		f.Origin = units.Origin(text)
		return oneOf(f.Origin, units.Origins)
	}
}

func decodeJobNumber(f *units.JobFilter, key string, n uint64) {
	number := int64(min(n, math.MaxInt64))
	switch key {
	case "run":
		f.Run = number
	case "before":
		f.Before = number
	case "limit":
		f.Limit = int(number)
	case "since":
		f.Since = Moment(n)
	default:
		f.Until = Moment(n)
	}
}

func oneOf[T ~string](word T, words []T) error {
	if slices.Contains(words, word) {
		return nil
	}
	return fmt.Errorf("is %.32q; want one of %v", string(word), words)
}
