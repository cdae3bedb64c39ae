package units

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a definition. Any local user may send one, and systemd keeps each
// setting as a line of at most 1 MiB, in which a byte can become four.
const (
	MaxActions     = 64
	maxRefs        = 256
	maxCredentials = 64
	maxDescription = 256
	maxPath        = 4095     // PATH_MAX, less its NUL
	maxFileName    = 255      // NAME_MAX
	maxBlock       = 64 << 10 // all arguments, or the whole environment, of an action
	maxDuration    = 365 * 24 * time.Hour
	maxProblems    = 50
)

// Problem is one field of a definition that is unknown or wrong.
type Problem struct {
	Field   string // its path, such as "requires[0]" or "actions[web].exec"
	Message string // what is wrong, and what would be right
}

// DefinitionError is all that is wrong with a definition. No message in it
// tells an argument, the value of a variable or the path of a credential.
type DefinitionError struct {
	Problems []Problem
	// More counts the problems beyond those, of somebody's very wrong definition.
	More int
}

func (e *DefinitionError) Error() string {
	var lines []string
	for _, p := range e.Problems {
		lines = append(lines, p.Field+" "+p.Message)
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(lines, ";\n")
}

// problems collects. The zero value is ready for use.
type problems struct {
	DefinitionError
	seen   map[string]bool
	prefix string // of the paths of all fields that are looked at
}

// in has a part of the definition looked at, whose fields' paths begin with
// prefix. They are put together where there is a problem: nearly no field has one.
func (p *problems) in(prefix string, look func()) {
	before := p.prefix
	p.prefix += prefix
	look()
	p.prefix = before
}

// add keeps the first problem of a field: later ones are mostly its consequences.
func (p *problems) add(field, format string, args ...any) {
	field = p.prefix + field
	switch {
	case p.seen[field]:
	case p.full():
		p.More++
	default:
		if p.seen == nil {
			p.seen = map[string]bool{}
		}
		p.seen[field] = true
		p.Problems = append(p.Problems, Problem{field, fmt.Sprintf(format, args...)})
	}
}

func (p *problems) full() bool { return len(p.Problems) == maxProblems }

func (p *problems) result(s Service) (Service, error) {
	if err := p.err("definition"); err != nil {
		return Service{}, err
	}
	return s, nil
}

// err is the error that the problems are, nil if there are none.
func (p *problems) err(what string) error {
	switch len(p.Problems) {
	case 0:
		return nil
	case 1:
		return Errorf(CodeInvalidDefinition, "the %s is invalid: %w", what, &p.DefinitionError)
	default:
		return Errorf(CodeInvalidDefinition, "the %s is invalid:\n%w", what, &p.DefinitionError)
	}
}

// Validate says all that is wrong with the service, as [DecodeService] does.
// It is for services that come from elsewhere: code, or the store.
func (s Service) Validate() error {
	var p problems
	s.check(&p)
	_, err := p.result(s)
	return err
}

func (s Service) check(p *problems) {
	checkFields(p, serviceFields, &s)
	if len(s.Actions) == 0 && s.Wanted != WantedSpec {
		p.add("actions", "is empty; want at least one, or the status %q", WantedSpec)
	}
	s.checkRefs(p)
}

// checkRefs looks at the names of other services.
func (s Service) checkRefs(p *problems) {
	context := s.Context
	if CheckContextName(context) != nil {
		context = DefaultContext // one complaint about it is enough
	}
	self := ID{context, s.Name}
	pulled := map[ID]string{}
	for _, list := range []struct {
		name string
		refs []string
	}{{"requires", s.Requires}, {"after", s.After}, {"wants", s.Wants}, {"conflicts", s.Conflicts}} {
		seen := map[ID]bool{}
		for i, ref := range list.refs[:min(len(list.refs), maxRefs)] {
			at := fmt.Sprintf("%s[%d]", list.name, i)
			id, err := ParseRef(context, ref)
			switch {
			case err != nil:
				p.add(at, "can't be a service: %v", err)
			case id == self:
				p.add(at, "is the service itself; want another one")
			case seen[id]:
				p.add(at, "is %q, which was named before; want each service once", id)
			case list.name == "conflicts" && pulled[id] != "":
				p.add(at, "is %q, which %s names too; want it in one of them", id, pulled[id])
			case list.name == "requires" || list.name == "wants":
				pulled[id] = list.name
			}
			seen[id] = true
		}
	}
}

func checkActions(p *problems, path string, actions []Action) {
	if len(actions) > MaxActions {
		p.add(path, "has %d entries; want at most %d", len(actions), MaxActions)
		return
	}
	index := map[string]int{}
	prefixes := actionPrefixes(path, actions)
	for i := range actions {
		a := &actions[i]
		p.in(prefixes[i], func() {
			checkFields(p, actionFields, a)
			if first, ok := index[a.Name]; ok {
				p.add("name", "is %q, as is that of %s[%d]; want another one", clip(a.Name), path, first)
			} else {
				index[a.Name] = i
			}
			checkReadiness(p, a)
			checkHealth(p, a)
			checkRestarting(p, a)
			checkPreparing(p, a)
			if !a.Process && a.Restart == RestartAlways {
				p.add("restart", "is %q; want %q or %q, since the action is no process", a.Restart, RestartNo, RestartOnFailure)
			}
		})
	}
	checkOrder(p, prefixes, actions, index)
}

// checkOrder looks at depends_on, along which it walks to find cycles.
func checkOrder(p *problems, prefixes []string, actions []Action, index map[string]int) {
	const (
		entered = 1
		done    = 2
	)
	state := make([]int, len(actions))
	var trail []string
	var walk func(i int)
	walk = func(i int) {
		state[i] = entered
		trail = append(trail, actions[i].Name)
		seen := map[string]bool{}
		for k, name := range actions[i].DependsOn[:min(len(actions[i].DependsOn), maxRefs)] {
			at := fmt.Sprintf("%sdepends_on[%d]", prefixes[i], k)
			next, ok := index[name]
			switch {
			case !ok:
				p.add(at, "is %q, which is no action of the service; want one of %s", clip(name), strings.Join(slices.Sorted(maps.Keys(index)), ", "))
			case seen[name]:
				p.add(at, "is %q, which was named before; want each action once", name)
			case next == i:
				p.add(at, "is the action itself; want another one")
			case state[next] == entered:
				cycle := append(trail[slices.Index(trail, name):], name)
				p.add(at, "closes a cycle (%s); want an order that begins somewhere", strings.Join(cycle, ", "))
			case state[next] == 0:
				walk(next)
			}
			seen[name] = true
		}
		trail = trail[:len(trail)-1]
		state[i] = done
	}
	for i := range actions {
		if state[i] == 0 {
			walk(i)
		}
	}
}

func fromError(check func(string) error) func(*problems, string, string) {
	return func(p *problems, path, s string) {
		if err := check(s); err != nil {
			p.add(path, "%v", err)
		}
	}
}

func checkLength(p *problems, path string, list []string) {
	if len(list) > maxRefs {
		p.add(path, "has %d entries; want at most %d", len(list), maxRefs)
	}
}

func checkAtMost[V uint32 | uint64](most V) func(*problems, string, V) {
	return func(p *problems, path string, n V) {
		if n > most {
			p.add(path, "is too large; want at most %d", most)
		}
	}
}

// checkDuration refuses what systemd would round to 0, which means something else.
func checkDuration(p *problems, path string, d time.Duration) {
	if d < 0 || d > maxDuration || d%time.Millisecond != 0 {
		p.add(path, "is %s; want whole milliseconds, up to %s", d, maxDuration)
	}
}

func checkDescription(p *problems, path, s string) {
	if err := checkLine(s); err != nil {
		p.add(path, "%v", err)
	} else if len(s) > maxDescription {
		p.add(path, "has %d bytes; want at most %d", len(s), maxDescription)
	}
}

// checkLine is for text that systemd writes into the unit's file as it is: it
// must read the same when systemd is reloaded, and be no further setting.
func checkLine(s string) error {
	switch {
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8; want UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("has control characters; want one line without any")
	case strings.TrimSpace(s) != s:
		return errors.New("begins or ends with white space; want none there")
	case strings.HasSuffix(s, `\`):
		return errors.New("ends in a backslash; want none there")
	}
	return nil
}

func checkPath(p *problems, at, s string) {
	if s == "" {
		return
	}
	if err := checkLine(s); err != nil {
		p.add(at, "%v", err)
	} else if !path.IsAbs(s) || path.Clean(s) != s {
		p.add(at, `is not an absolute path without "//", "." and ".."; want one`)
	} else if !fitsPath(s) {
		p.add(at, "is too long; want at most %d bytes, and %d between slashes", maxPath, maxFileName)
	}
}

// checkStateDir holds to what systemd takes, less what it would have to be
// quoted for, and less hero_proc's own directory.
func checkStateDir(p *problems, at, s string) {
	if s == "" {
		return
	}
	for name := range strings.SplitSeq(s, "/") {
		if len(s) > maxPath-len("/var/lib/") || len(name) > maxFileName || !credentialName.MatchString(name) {
			p.add(at, "is not a path below /var/lib; want names of A-Z, a-z, 0-9, _, . and -, not starting with . or -, and / between them")
			return
		}
	}
	if first, _, _ := strings.Cut(s, "/"); first == "hero_proc" || first == "private" {
		p.add(at, "is below /var/lib/%s, which is not for services; want another one", first)
	}
}

// isProgramPath holds to what systemd takes when it reads a unit's file,
// which is less than what it takes from the bus.
func isProgramPath(s string) bool {
	return path.IsAbs(s) && !strings.HasSuffix(s, "/") && checkLine(s) == nil && !strings.ContainsAny(s, quotes) && fitsPath(s)
}

func fitsPath(s string) bool {
	for name := range strings.SplitSeq(s, "/") {
		if len(name) > maxFileName {
			return false
		}
	}
	return len(s) <= maxPath
}

const quotes = "\"'`\\"

var (
	programName    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
	variableName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	credentialName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	accountName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,30}$`)
)

func checkExec(p *problems, path string, args []string) {
	if len(args) == 0 {
		p.add(path, "is missing; want %s", commandWords)
		return
	}
	program := args[0]
	if !programName.MatchString(program) && !isProgramPath(program) {
		p.add(path+"[0]", "can't be a program; want an absolute path without quotes and backslashes, or a file name that systemd looks up")
	}
	size := 0
	for _, arg := range args {
		size += len(arg) + 1
	}
	if !fitsBlock(p, path, size) {
		return
	}
	for i, arg := range args {
		if !isText(arg) {
			p.add(fmt.Sprintf("%s[%d]", path, i), notText)
		}
	}
}

func checkEnv(p *problems, path string, env map[string]string) {
	size := 0
	for name, value := range env {
		size += len(name) + len(value) + 2
	}
	if !fitsBlock(p, path, size) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		// Somebody may have written NAME=secret for a name.
		shown, _, _ := strings.Cut(name, "=")
		at := path + "[" + pathKey(shown) + "]"
		if !variableName.MatchString(name) {
			p.add(at, "is not a variable's name; want A-Z, a-z, 0-9 and _, not starting with a digit")
		}
		checkText(p, at, env[name])
	}
}

const notText = "is not text; want UTF-8 without NUL"

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func checkText(p *problems, path, s string) {
	if !isText(s) {
		p.add(path, notText)
	}
}

func fitsBlock(p *problems, path string, size int) bool {
	if size > maxBlock {
		p.add(path, "has %d bytes; want at most %d", size, maxBlock)
	}
	return size <= maxBlock
}

func checkCredentials(p *problems, path string, credentials map[string]string) {
	if len(credentials) > maxCredentials {
		p.add(path, "has %d entries; want at most %d", len(credentials), maxCredentials)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(credentials)) {
		at := path + "[" + pathKey(name) + "]"
		if len(name) > maxFileName || !credentialName.MatchString(name) {
			p.add(at, "is not a credential's name; want 1 to %d of A-Z, a-z, 0-9, _, . and -, not starting with . or -", maxFileName)
		}
		switch file := credentials[name]; {
		case file == GeneratedCredential:
		case file == "":
			p.add(at, "is empty; want an absolute path, or %q", GeneratedCredential)
		case strings.ContainsAny(file, quotes+" "):
			// The executor of newer systemds splits it there, and the start fails.
			p.add(at, "has a space, a quote or a backslash, which systemd can't load a credential from; want a path without")
		default:
			checkPath(p, at, file)
		}
	}
}

// checkAccount holds to systemd's rules: USER_NAMES(7), "User/Group Name Syntax".
func checkAccount(p *problems, path, s string) {
	if s == "" || accountName.MatchString(s) {
		return
	}
	// 65535 and 4294967295 are "no user" to the kernel.
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || strconv.FormatUint(id, 10) != s || id == 1<<16-1 || id == 1<<32-1 {
		p.add(path, "is %q; want a name of 1 to 31 of A-Z, a-z, 0-9, _, . and -, starting with a letter or _, or a number", clip(s))
	}
}

// signals are those that programs take as a request to end.
var signals = map[string]syscall.Signal{
	"SIGABRT":  syscall.SIGABRT,
	"SIGALRM":  syscall.SIGALRM,
	"SIGCONT":  syscall.SIGCONT,
	"SIGHUP":   syscall.SIGHUP,
	"SIGINT":   syscall.SIGINT,
	"SIGKILL":  syscall.SIGKILL,
	"SIGPWR":   syscall.SIGPWR,
	"SIGQUIT":  syscall.SIGQUIT,
	"SIGTERM":  syscall.SIGTERM,
	"SIGUSR1":  syscall.SIGUSR1,
	"SIGUSR2":  syscall.SIGUSR2,
	"SIGWINCH": syscall.SIGWINCH,
}

// SignalNumber is the number of a signal that kill_signal can name.
func SignalNumber(name string) (number int32, ok bool) {
	n, ok := signals[name]
	return int32(n), ok
}

func checkSignal(p *problems, path, s string) {
	if _, ok := signals[s]; !ok && s != "" {
		p.add(path, "is %q; want one of %s", clip(s), strings.Join(slices.Sorted(maps.Keys(signals)), ", "))
	}
}

// pathKey is a key as it stands in a path: quoted and cut short if it isn't a plain word.
func pathKey(key string) string {
	if len(key) <= MaxServiceName && credentialName.MatchString(key) {
		return key
	}
	return strconv.Quote(clip(key))
}

// nearest is the known word that somebody who wrote key may have meant, or "".
func nearest(key string, known []string) string {
	best, least := "", 3
	if len(key) > MaxServiceName {
		return ""
	}
	for _, word := range known {
		if d := distance(key, word); d < least && d < len(word) {
			best, least = word, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes to add, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
