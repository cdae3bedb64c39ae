package units

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"
)

// AdHoc is what an ad-hoc run executes. Its action's name is the registered
// action's that it runs, or [DefaultAction].
type AdHoc struct {
	ID     // context and name; many runs may have the same
	Action Action
}

// Streams are the file descriptors of a run's standard input, output and error.
type Streams [3]int

// OpenRun is an ad-hoc run that was not over when it was last looked at.
type OpenRun struct {
	Run  int64
	What AdHoc // only the ID is set when Err is
	Err  error
	// Boot tells the machine's boot in which it was last started from others;
	// "" is not known.
	Boot string
	// Canceled says that somebody asked for its end.
	Canceled bool
}

// Unit is the name of the run's unit.
func (r OpenRun) Unit() string { return r.What.RunUnit(r.Run) }

// RunFields are the keys that the definition of an ad-hoc run can have.
var RunFields = docs(runFields)

// ofRuns are the fields of actions that runs have too. The others are about
// other actions, about readiness, health and what is done when systemd has
// given up: nobody depends on a run.
var ofRuns = []string{
	"exec", "is_process", "env", "credentials", "state_dir", "user", "group", "working_dir",
	"restart", "restart_delay", "start_limit_burst", "start_limit_interval", "timeout_start", "timeout_stop", "kill_signal",
	"memory_max", "cpu_quota", "tasks_max", "open_files", "log_rate_interval", "log_rate_burst",
}

// runRequest is the definition of a run as somebody gives it.
type runRequest struct {
	AdHoc
	service, action string
}

var runFields = append([]field[runRequest]{
	row("context", contextKind, `The context that it is in; "core" unless given.`, func(r *runRequest) *string { return &r.Context }),
	row("name", serviceNameKind, "Its name. Unless given, that of the service whose action it runs.", func(r *runRequest) *string { return &r.Name }),
	row("service", referenceKind, `A registered service, "name" or "context/name", of which it runs an action.`, func(r *runRequest) *string { return &r.service }),
	row("action", referenceKind, "The action of that service; its primary one unless given.", func(r *runRequest) *string { return &r.action }),
}, ofAction()...)

var referenceKind = textKind("a name", func(*problems, string, string) {}) // it is looked up

func ofAction() (fields []field[runRequest]) {
	for _, f := range actionFields {
		if !slices.Contains(ofRuns, f.Name) {
			continue
		}
		fields = append(fields, field[runRequest]{
			Field:  f.Field,
			decode: func(p *problems, path string, to *runRequest, v any) { f.decode(p, path, &to.Action, v) },
			encode: func(from, silent *runRequest) (any, bool) { return f.encode(&from.Action, &silent.Action) },
			check:  func(p *problems, path string, of *runRequest) { f.check(p, path, &of.Action) },
		})
	}
	return fields
}

// newRunAction is an action with the defaults of a run: it is meant to end.
func newRunAction(name string) Action {
	a := NewAction(name)
	a.Process = false
	return a
}

// DecodeRun reads the definition of an ad-hoc run: its keys are [RunFields].
// registered looks a service up. Of a registered action, the keys given
// replace what the action has, and env adds to its environment; whether it is
// started again, and whether it is to stay alive, is the run's own. Errors are
// as of [DecodeService].
func DecodeRun(def map[string]any, registered func(ID) (Service, error)) (AdHoc, error) {
	r := runRequest{AdHoc: AdHoc{ID: ID{Context: DefaultContext}, Action: newRunAction(DefaultAction)}}
	def = maps.Clone(def)
	var p problems
	if _, of := def["service"]; of {
		if err := r.base(&p, def, registered); err != nil {
			return AdHoc{}, err
		}
	} else if _, ok := def["action"]; ok {
		p.add("action", "is given without service; want both, or exec")
	}
	decodeFields(&p, runFields, &r, def)
	if len(p.Problems) == 0 {
		r.check(&p)
	}
	if err := p.err("run"); err != nil {
		return AdHoc{}, err
	}
	return r.AdHoc, nil
}

// base takes over the registered action that def names, and what of def goes
// together with it.
func (r *runRequest) base(p *problems, def map[string]any, registered func(ID) (Service, error)) error {
	context, ok := def["context"].(string)
	if !ok {
		context = DefaultContext
	}
	ref, ok := def["service"].(string)
	if !ok {
		return nil // its decoding says so
	}
	id, err := ParseRef(context, ref)
	if err != nil {
		p.add("service", "can't be a service: %v", err)
		return nil
	}
	if _, given := def["context"]; given && context != id.Context {
		p.add("context", "is %q, and the service is of %q; want one of them", clip(context), id.Context)
		return nil
	}
	s, err := registered(id)
	if err != nil {
		return err
	}
	if _, given := def["exec"]; given {
		p.add("exec", "is given beside service; want one of them")
		return nil
	}
	name, _ := def["action"].(string)
	at := slices.IndexFunc(s.Actions, func(a Action) bool { return a.Name == name })
	if name == "" {
		at = s.Primary()
	}
	if at < 0 {
		p.add("action", "is %q; want an action of %s%s", clip(name), id, oneOf(s.Actions))
		return nil
	}
	r.ID = id
	base, silent := runRequest{AdHoc: AdHoc{Action: s.Actions[at]}}, runRequest{AdHoc: AdHoc{Action: newRunAction("")}}
	theirs := encodeFields(ofAction(), &base, &silent)
	delete(theirs, "is_process")
	delete(theirs, "restart")
	decodeFields(p, ofAction(), r, theirs)
	r.Action.Name = base.Action.Name
	if more, err := decodeMap(def["env"]); err == nil && len(r.Action.Env) > 0 {
		env := maps.Clone(r.Action.Env)
		maps.Copy(env, more)
		def["env"] = env
	}
	def["context"] = id.Context
	return nil
}

func oneOf(actions []Action) string {
	var names []string
	for _, a := range actions {
		names = append(names, a.Name)
	}
	if names == nil {
		return ", which has none"
	}
	return ": " + orList(names)
}

func (r runRequest) check(p *problems) {
	checkFields(p, runFields, &r)
	for _, name := range slices.Sorted(maps.Keys(r.Action.Credentials)) {
		if r.Action.Credentials[name] == GeneratedCredential {
			p.add("credentials", "has %q to be generated, which is for services; want the path of a file", name)
		}
	}
	if !r.Action.Process && r.Action.Restart == RestartAlways {
		p.add("restart", "is %q; want %q or %q, since it is no process", r.Action.Restart, RestartNo, RestartOnFailure)
	}
}

// Encode is the run as it is stored, as JSON; [DecodeAdHoc] reads it.
func (r AdHoc) Encode() string {
	silent := newRunAction("")
	def := encodeFields(actionFields, &r.Action, &silent)
	text, err := json.Marshal(def)
	if err != nil {
		panic(err) // text, numbers and booleans can't fail
	}
	return string(text)
}

// DecodeAdHoc reads what was stored of a run.
func DecodeAdHoc(id ID, stored string) (AdHoc, error) {
	var def map[string]any
	if err := json.Unmarshal([]byte(stored), &def); err != nil {
		return AdHoc{ID: id}, Errorf(CodeInvalidDefinition, "the stored definition of the run %q can't be read: not a JSON object: %w", id, err)
	}
	r := runRequest{AdHoc: AdHoc{ID: id, Action: newRunAction("")}}
	var p problems
	decodeFields(&p, actionFields, &r.Action, def)
	r.check(&p)
	if err := p.err("stored run"); err != nil {
		return AdHoc{ID: id}, err
	}
	return r.AdHoc, nil
}

// RunName is a name for a run of a command, made of its program.
func RunName(program string) string {
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || isName(string(r)) {
			return r
		}
		return -1
	}, path.Base(program))
	name = strings.TrimLeft(name, ".-")
	name = name[:min(len(name), MaxServiceName)]
	if CheckServiceName(name) != nil {
		return "run"
	}
	return name
}

// ShellStatus is what a shell would make of a job's end: the program's exit
// status, or 128 and the number of the signal that ended it. It is false for a
// job whose program has not ended, or never began.
func (j Job) ShellStatus() (int, bool) {
	switch j.ExitCode {
	case cldExited:
		return int(j.ExitStatus), true
	case cldKilled, cldDumped:
		return 128 + int(j.ExitStatus), true
	}
	return 0, false
}
