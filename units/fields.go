package units

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Field documents one key of a definition.
type Field struct {
	Name string
	Type string // in words
	Doc  string
}

// ServiceFields and ActionFields are the keys that a definition can have, in
// the order in which people write them.
var (
	ServiceFields = docs(serviceFields)
	ActionFields  = docs(actionFields)
)

// The tables are the one place where a field is: decoding, encoding, checks
// and documentation all read them.
var serviceFields = []field[Service]{
	row("context", contextKind, `The namespace that the service is in; "core" unless given.`, func(s *Service) *string { return &s.Context }),
	row("name", serviceNameKind, "The service's name within its context.", func(s *Service) *string { return &s.Name }),
	row("description", lineKind, "What the service is, for people.", func(s *Service) *string { return &s.Description }),
	row("status", wordKind(WantedStart, WantedStop, WantedIgnore, WantedSpec), `What is wanted: started at boot (the default), loaded only, left alone, or a definition without a unit.`, func(s *Service) *Wanted { return &s.Wanted }),
	row("requires", listKind, "Services that have to be up first, and without which this one can't be: Requires= and After=.", func(s *Service) *[]string { return &s.Requires }),
	row("after", listKind, "Services that come first if they are started too: After=.", func(s *Service) *[]string { return &s.After }),
	row("wants", listKind, "Services that are started first, but may fail: Wants= and After=.", func(s *Service) *[]string { return &s.Wants }),
	row("conflicts", listKind, "Services that can't be up at the same time: Conflicts=.", func(s *Service) *[]string { return &s.Conflicts }),
	row("restart_with_requires", unlessKind, "Whether hero_proc starts it again once all that it requires is up, when it was down only because that had failed; true unless given.", func(s *Service) *bool { return &s.StayDown }),
	{
		Field:  Field{"actions", "a list of actions", `What is executed. A sole action may leave out its name: it is "main".`},
		decode: func(p *problems, path string, s *Service, v any) { s.Actions = decodeActions(p, path, v) },
		encode: func(s, _ *Service) (any, bool) { return encodeActions(s.Actions), len(s.Actions) > 0 },
		check:  func(p *problems, path string, s *Service) { checkActions(p, path, s.Actions) },
	},
}

var actionFields = []field[Action]{
	row("name", actionNameKind, "The action's name within its service.", func(a *Action) *string { return &a.Name }),
	row("exec", commandKind, "The program, as an absolute path or a file name that systemd looks up, and its arguments. No shell runs it and nothing is expanded.", func(a *Action) *[]string { return &a.Exec }),
	row("is_process", boolKind, "Whether it has to stay alive (the default). Otherwise it runs to its end.", func(a *Action) *bool { return &a.Process }),
	row("depends_on", listKind, "Actions of the same service that come first: processes ready, the others finished with success.", func(a *Action) *[]string { return &a.DependsOn }),
	row("env", envKind, "Environment variables. Every local user can read them: secrets belong into credentials.", func(a *Action) *map[string]string { return &a.Env }),
	row("credentials", credentialsKind, "Names under $CREDENTIALS_DIRECTORY, and the absolute paths of the files that systemd loads them from: LoadCredential=. With \"generate\" for a path, hero_proc makes a secret, once, and keeps it where root alone can read it.", func(a *Action) *map[string]string { return &a.Credentials }),
	row("state_dir", stateDirKind, "A directory below /var/lib for its data, made before it starts, which its user alone may enter. Its path is in $STATE_DIRECTORY: StateDirectory=.", func(a *Action) *string { return &a.StateDir }),
	row("user", accountKind, "The user that it runs as; root unless given.", func(a *Action) *string { return &a.User }),
	row("group", accountKind, "The group that it runs as; that of the user unless given.", func(a *Action) *string { return &a.Group }),
	row("working_dir", pathKind, "The directory that it runs in; / unless given.", func(a *Action) *string { return &a.WorkingDir }),
	row("ready", readyKind, "When it counts as ready: once executed (the default), once it says so with sd_notify(3), or once a probe of it succeeds, which systemd waits for: ExecStartPost=.", func(a *Action) *Ready { return &a.Ready }),
	row("ready_interval", durationKind, "How long the probe waits between two tries, less at first; 100ms unless given.", func(a *Action) *time.Duration { return &a.ReadyInterval }),
	row("ready_timeout", durationKind, "How long the probe tries before the start has failed; 30s unless given.", func(a *Action) *time.Duration { return &a.ReadyTimeout }),
	row("ready_status", statusKind, "The status of HTTP that is ready; any from 200 to 399 unless given.", func(a *Action) *uint32 { return &a.ReadyStatus }),
	row("ready_match", matchKind, "Text that the body of an answer of HTTP must have in it.", func(a *Action) *string { return &a.ReadyMatch }),
	row("ready_credential", credentialKind, "The name of the credential with the password for a probe of Redis: AUTH.", func(a *Action) *string { return &a.ReadyCredential }),
	row("health", healthKind, "A probe that is asked for as long as it runs. Without one nothing is known about its health.", func(a *Action) *string { return &a.Health }),
	row("health_interval", durationKind, "How long after one answer the probe is asked again, give or take a tenth; 10s unless given.", func(a *Action) *time.Duration { return &a.HealthInterval }),
	row("health_timeout", durationKind, "How long an answer may take; 5s unless given.", func(a *Action) *time.Duration { return &a.HealthTimeout }),
	row("health_grace", durationKind, "How long after it got ready a probe that fails counts for nothing; 10s unless given.", func(a *Action) *time.Duration { return &a.HealthGrace }),
	row("health_failures", thresholdKind, "How many failures in a row make it unhealthy; 3 unless given.", func(a *Action) *uint32 { return &a.HealthFailures }),
	row("health_successes", thresholdKind, "How many successes in a row make what is unhealthy healthy again; 1 unless given.", func(a *Action) *uint32 { return &a.HealthSuccesses }),
	row("health_status", statusKind, "The status of HTTP that is healthy; any from 200 to 399 unless given.", func(a *Action) *uint32 { return &a.HealthStatus }),
	row("health_match", matchKind, "Text that the body of an answer of HTTP must have in it.", func(a *Action) *string { return &a.HealthMatch }),
	row("health_credential", credentialKind, "The name of the credential with the password for a probe of Redis: AUTH; ready_credential unless given, where ready asks the same server.", func(a *Action) *string { return &a.HealthCredential }),
	row("on_unhealthy", wordKind(UnhealthyWarn, UnhealthyRestart, ""), "What is done when it is unhealthy: reported, or also restarted (the default), if its wanted status is start and nobody has stopped it.", func(a *Action) *OnUnhealthy { return &a.OnUnhealthy }),
	row("unhealthy_restarts", thresholdKind, "The most of these restarts within unhealthy_window; 3 unless given.", func(a *Action) *uint32 { return &a.UnhealthyRestarts }),
	row("unhealthy_window", durationKind, "The time in which these restarts are counted; 10m unless given.", func(a *Action) *time.Duration { return &a.UnhealthyWindow }),
	row("watchdog", durationKind, "For programs that send WATCHDOG=1 by sd_notify(3): systemd kills one that has not for this long, and restart says what follows: WatchdogSec=.", func(a *Action) *time.Duration { return &a.Watchdog }),
	row("restart", wordKind(RestartNo, RestartOnFailure, RestartAlways, ""), "When it is started again after it ended; on-failure unless given, no for an action that is not a process.", func(a *Action) *Restart { return &a.Restart }),
	row("restart_delay", durationKind, "How long a restart waits; 1s unless given.", func(a *Action) *time.Duration { return &a.RestartDelay }),
	row("start_limit_burst", countKind[uint32](1<<20), "How many starts within start_limit_interval are too many.", func(a *Action) *uint32 { return &a.StartLimitBurst }),
	row("start_limit_interval", durationKind, "The time in which starts are counted.", func(a *Action) *time.Duration { return &a.StartLimitInterval }),
	row("restart_delay_max", durationKind, "How long a restart waits at most: the delay grows to it from restart_delay. It needs systemd 254 or later: RestartMaxDelaySec=.", func(a *Action) *time.Duration { return &a.DelayMax }),
	row("restart_steps", countKind[uint32](1<<16), "After how many restarts the delay has grown to restart_delay_max; 5 unless given: RestartSteps=.", func(a *Action) *uint32 { return &a.DelaySteps }),
	row("restart_retry", unlessKind, "Whether hero_proc starts it again, later and ever more rarely, once systemd has given it up because of its start limit; true unless given.", func(a *Action) *bool { return &a.NoRetry }),
	row("restart_retry_delay", durationKind, "How long hero_proc waits before the first such start, and twice as long before each further one; 1m unless given.", func(a *Action) *time.Duration { return &a.RetryDelay }),
	row("restart_retry_delay_max", durationKind, "How long hero_proc waits at most before such a start; 1h unless given.", func(a *Action) *time.Duration { return &a.RetryDelayMax }),
	row("restart_reset_after", durationKind, "How long it has to be up until its restarts no longer count; 10m unless given.", func(a *Action) *time.Duration { return &a.ResetAfter }),
	row("sockets", socketsKind, "Unix sockets that it will listen on: before it starts, stale ones are removed, and it is refused to start over one that somebody has.", func(a *Action) *[]string { return &a.Sockets }),
	row("ports", portsKind, "TCP ports that it will listen on, [HOST:]PORT: it is refused to start when somebody else has one.", func(a *Action) *[]string { return &a.Ports }),
	row("kill_others", boolKind, "Whether whoever has one of the sockets or ports is ended: its unit is stopped, or without one the process killed. Otherwise the start is refused.", func(a *Action) *bool { return &a.KillOthers }),
	row("timeout_start", durationKind, "How long it may take to get ready.", func(a *Action) *time.Duration { return &a.TimeoutStart }),
	row("timeout_stop", durationKind, "How long it may take to end before it is killed.", func(a *Action) *time.Duration { return &a.TimeoutStop }),
	row("kill_signal", signalKind, "The signal that asks it to end; SIGTERM unless given.", func(a *Action) *string { return &a.KillSignal }),
	row("memory_max", sizeKind, "The most memory that it may use.", func(a *Action) *uint64 { return &a.MemoryMax }),
	row("cpu_quota", percentKind, "The most CPU time that it may use; 100% is one CPU.", func(a *Action) *uint32 { return &a.CPUQuota }),
	row("tasks_max", countKind[uint64](1<<22), "The most processes and threads that it may have.", func(a *Action) *uint64 { return &a.TasksMax }),
	row("open_files", countKind[uint64](1<<30), "The most files that it may have open: RLIMIT_NOFILE.", func(a *Action) *uint64 { return &a.OpenFiles }),
	row("log_rate_interval", durationKind, "The time in which log messages are counted; 30s unless given.", func(a *Action) *time.Duration { return &a.LogRateInterval }),
	row("log_rate_burst", countKind[uint32](1<<30), "How many log messages within log_rate_interval are kept; 10000 unless given.", func(a *Action) *uint32 { return &a.LogRateBurst }),
}

// field is a row of a table.
type field[T any] struct {
	Field
	decode func(p *problems, path string, to *T, v any)
	// encode is false for what says the same as silence.
	encode func(from, silent *T) (v any, said bool)
	check  func(p *problems, path string, of *T)
}

// kind is what the fields of one type have in common.
type kind[V any] struct {
	// want is the type in words; it ends the message about a wrong value.
	want   string
	decode func(v any) (V, error)
	encode func(V) any
	check  func(p *problems, path string, v V)
}

func row[T, V any](name string, k kind[V], doc string, at func(*T) *V) field[T] {
	return field[T]{
		Field: Field{name, k.want, doc},
		decode: func(p *problems, path string, to *T, v any) {
			got, err := k.decode(v)
			if err != nil {
				p.add(path, "%v; want %s", err, k.want)
				return
			}
			*at(to) = got
		},
		encode: func(from, silent *T) (any, bool) {
			if isZero(at(from)) && isZero(at(silent)) { // as most are
				return nil, false
			}
			v := k.encode(*at(from))
			return v, !reflect.DeepEqual(v, k.encode(*at(silent)))
		},
		check: func(p *problems, path string, of *T) { k.check(p, path, *at(of)) },
	}
}

func isZero[V any](v *V) bool { return reflect.ValueOf(v).Elem().IsZero() }

func docs[T any](fields []field[T]) []Field {
	out := make([]Field, len(fields))
	for i, f := range fields {
		out[i] = f.Field
	}
	return out
}

func decodeFields[T any](p *problems, fields []field[T], to *T, def map[string]any) {
	given := 0
	for _, f := range fields {
		if v, ok := def[f.Name]; ok {
			f.decode(p, f.Name, to, v)
			given++
		}
	}
	if given == len(def) {
		return
	}
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.Name
	}
	for _, key := range slices.Sorted(maps.Keys(def)) {
		if slices.Contains(known, key) {
			continue
		}
		if p.full() { // the search is not for free
			p.More++
			continue
		}
		if near := nearest(key, known); near != "" {
			p.add(pathKey(key), "is not a field; did you mean %q?", near)
		} else {
			p.add(pathKey(key), "is not a field; want one of %s", strings.Join(known, ", "))
		}
	}
}

func encodeFields[T any](fields []field[T], from, silent *T) map[string]any {
	def := map[string]any{}
	for _, f := range fields {
		if v, said := f.encode(from, silent); said {
			def[f.Name] = v
		}
	}
	return def
}

func checkFields[T any](p *problems, fields []field[T], of *T) {
	for _, f := range fields {
		f.check(p, f.Name, of)
	}
}

const commandWords = "a command line, or a list of arguments"

// The kinds. Limits on counts are those of the kernel, or far beyond use.
var (
	contextKind     = textKind("a context's name", fromError(CheckContextName))
	serviceNameKind = textKind("a service's name", fromError(CheckServiceName))
	actionNameKind  = textKind("an action's name", fromError(CheckActionName))
	lineKind        = textKind("one line of text", checkDescription)
	accountKind     = textKind("a name or a number", checkAccount)
	pathKind        = textKind("an absolute path", checkPath)
	stateDirKind    = textKind("a relative path", checkStateDir)
	signalKind      = textKind("a signal's name such as SIGTERM", checkSignal)
	matchKind       = textKind("text", checkMatch)
	credentialKind  = textKind("a credential's name", func(*problems, string, string) {}) // checkReadiness knows them all

	boolKind = kind[bool]{
		want: "true or false",
		decode: func(v any) (bool, error) {
			if b, ok := v.(bool); ok {
				return b, nil
			}
			return false, wrongType(v)
		},
		encode: func(b bool) any { return b },
		check:  func(*problems, string, bool) {},
	}
	// What the names stand for is checked where the other names are known.
	listKind = kind[[]string]{
		want:   "a list of names, or one name",
		decode: decodeList,
		encode: encodeList,
		check:  checkLength,
	}
	commandKind = kind[[]string]{
		want: commandWords,
		decode: func(v any) ([]string, error) {
			line, ok := v.(string)
			if !ok {
				return decodeList(v)
			}
			args, err := SplitCommand(line)
			if err != nil {
				return nil, fmt.Errorf("can't be split: %w", err)
			}
			return args, nil
		},
		encode: encodeList,
		check:  checkExec,
	}
	envKind         = kind[map[string]string]{"a map of names to text", decodeMap, encodeMap, checkEnv}
	credentialsKind = kind[map[string]string]{"a map of names to absolute paths", decodeMap, encodeMap, checkCredentials}

	durationKind = kind[time.Duration]{
		want: `a duration such as "1.5s" or "1m30s"`,
		decode: func(v any) (time.Duration, error) {
			s, ok := v.(string)
			if !ok {
				return 0, wrongType(v)
			}
			d, err := time.ParseDuration(s)
			if err != nil {
				return 0, fmt.Errorf("is %q", clip(s))
			}
			return d, nil
		},
		encode: func(d time.Duration) any { return d.String() },
		check:  checkDuration,
	}
	sizeKind = kind[uint64]{
		want:   `a number of bytes, or a size such as "512M" with K, M, G or T (0 or "infinity": no limit)`,
		decode: func(v any) (uint64, error) { return decodeNumber(v, sizeUnits) },
		encode: func(n uint64) any { return formatSize(n) },
		check:  checkAtMost[uint64](1 << 60),
	}
	statusKind = kind[uint32]{
		want: "a status of HTTP such as 200 (0: any that says it is well)",
		decode: func(v any) (uint32, error) {
			n, err := decodeNumber(v, nil)
			return uint32(min(n, math.MaxUint32)), err
		},
		encode: func(n uint32) any { return n },
		check:  checkStatus,
	}
	percentKind = kind[uint32]{
		want: `a percentage such as "150%" or 150 (0 or "infinity": no limit)`,
		decode: func(v any) (uint32, error) {
			n, err := decodeNumber(v, map[byte]uint64{'%': 1})
			return uint32(min(n, math.MaxUint32)), err
		},
		encode: func(n uint32) any { return strconv.FormatUint(uint64(n), 10) + "%" },
		check:  checkAtMost[uint32](1 << 20),
	}
)

func textKind(want string, check func(p *problems, path, s string)) kind[string] {
	return kind[string]{want, decodeText[string], func(s string) any { return s }, check}
}

// wordKind is one of some words. The empty word is for "not given".
func wordKind[V ~string](words ...V) kind[V] {
	var quoted []string
	for _, w := range words {
		if w != "" {
			quoted = append(quoted, strconv.Quote(string(w)))
		}
	}
	want := orList(quoted)
	return kind[V]{want, decodeText[V], func(v V) any { return string(v) }, func(p *problems, path string, v V) {
		if !slices.Contains(words, v) {
			p.add(path, "is %q; want %s", clip(string(v)), want)
		}
	}}
}

func countKind[V uint32 | uint64](most V) kind[V] {
	return kind[V]{
		want: `a number (0 or "infinity": systemd's default)`,
		decode: func(v any) (V, error) {
			n, err := decodeNumber(v, nil)
			// One too many is as wrong as a million, and still fits the type.
			return V(min(n, uint64(most)+1)), err
		},
		encode: func(n V) any { return n },
		check:  checkAtMost(most),
	}
}

func decodeText[V ~string](v any) (V, error) {
	if s, ok := v.(string); ok {
		return V(s), nil
	}
	return "", wrongType(v)
}

func decodeList(v any) ([]string, error) {
	var list []string
	switch v := v.(type) {
	case string:
		list = []string{v}
	case []string:
		list = slices.Clone(v)
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("is a list that holds %s", typeName(e))
			}
			list = append(list, s)
		}
	default:
		return nil, wrongType(v)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list, nil
}

func encodeList(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}

func decodeMap(v any) (map[string]string, error) {
	m := map[string]string{}
	switch v := v.(type) {
	case map[string]string:
		maps.Copy(m, v)
	case map[string]any:
		for name, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("is a map that holds %s", typeName(e))
			}
			m[name] = s
		}
	default:
		return nil, wrongType(v)
	}
	if len(m) == 0 {
		return nil, nil
	}
	return m, nil
}

func encodeMap(m map[string]string) any {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

func decodeMaps(v any) ([]map[string]any, error) {
	switch v := v.(type) {
	case []map[string]any:
		return v, nil
	case []any:
		list := make([]map[string]any, len(v))
		for i, e := range v {
			m, ok := e.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("is a list that holds %s", typeName(e))
			}
			list[i] = m
		}
		return list, nil
	}
	return nil, wrongType(v)
}

var sizeUnits = map[byte]uint64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}

func formatSize(n uint64) string {
	for _, unit := range "TGMK" {
		if by := sizeUnits[byte(unit)]; n >= by && n%by == 0 {
			return strconv.FormatUint(n/by, 10) + string(unit)
		}
	}
	return strconv.FormatUint(n, 10)
}

// decodeNumber takes every integer that a bus or JSON can carry, and text
// with at most one of the units at its end.
func decodeNumber(v any, units map[byte]uint64) (uint64, error) {
	switch r := reflect.ValueOf(v); {
	case !r.IsValid():
		return 0, wrongType(v)
	case r.CanUint():
		return r.Uint(), nil
	case r.CanInt():
		if r.Int() < 0 {
			return 0, fmt.Errorf("is %d", r.Int())
		}
		return uint64(r.Int()), nil
	case r.CanFloat():
		if f := r.Float(); f == math.Trunc(f) && f >= 0 && f < 1<<63 {
			return uint64(f), nil
		}
		return 0, fmt.Errorf("is %v", v)
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return 0, wrongType(v)
	case s == "infinity":
		return 0, nil
	}
	digits, by := s, uint64(1)
	if s != "" {
		if u, ok := units[s[len(s)-1]]; ok {
			digits, by = s[:len(s)-1], u
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err == nil && n > math.MaxUint64/by {
		err = strconv.ErrRange
	}
	if err != nil {
		return 0, fmt.Errorf("is %q", clip(s))
	}
	return n * by, nil
}

// orList is "a, b or c".
func orList(words []string) string {
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " or " + words[last]
	}
	return strings.Join(words, "")
}

// wrongType never tells a value: it may be somebody's secret.
func wrongType(v any) error { return errors.New("is " + typeName(v)) }

func typeName(v any) string {
	if v == nil {
		return "nothing"
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a map"
	default:
		return "a number"
	}
}
