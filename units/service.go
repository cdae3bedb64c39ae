package units

import "time"

// ID names a service: a name within a context. Both halves are needed; there
// is no global service namespace.
type ID struct {
	Context string
	Name    string
}

// String is the form that people read and write: context/name.
func (id ID) String() string { return id.Context + "/" + id.Name }

// Wanted is what the operator wants of a service. It is a wish: what is, is
// [State].
type Wanted string

const (
	// WantedStart is started at boot.
	WantedStart Wanted = "start"
	// WantedStop is loaded, so that systemctl can start it, but not started at boot.
	WantedStop Wanted = "stop"
	// WantedIgnore is loaded; hero_proc does nothing with it by itself.
	WantedIgnore Wanted = "ignore"
	// WantedSpec is a definition only: it has no unit.
	WantedSpec Wanted = "spec"
)

// Service is a named set of actions with a wanted status and dependencies.
//
// The four dependency lists name other services: "name" in the same context,
// "context/name" in another. They mean what systemd.unit(5) says of the
// directives that they become: Requires= with After=, After=, Wants= with
// After=, and Conflicts=.
type Service struct {
	ID
	Description string
	Wanted      Wanted
	Requires    []string
	After       []string
	Wants       []string
	Conflicts   []string
	// StayDown leaves it down when what it requires is back, and it was only
	// for that that it could not start.
	StayDown bool
	Actions  []Action
}

// Registered is a row of the store: a definition, or why it can't be read.
type Registered struct {
	Service Service // only the ID is set when Err is
	Err     error
	// Digest is the service's, where somebody has worked it out already.
	Digest string
}

// Ready says how systemd learns that a process action is ready: by one of the
// words below, which are systemd.service(5)'s Type=, or by a probe, which
// [ParseProbe] reads. [ReadyForms] has them all.
type Ready string

const (
	// ReadyExec is ready once the program was executed (Type=exec).
	ReadyExec Ready = "exec"
	// ReadyNotify is ready once the program says so with sd_notify(3) (Type=notify).
	ReadyNotify Ready = "notify"
)

// Restart says when systemd starts a process action again: systemd.service(5), Restart=.
type Restart string

const (
	RestartNo        Restart = "no"
	RestartOnFailure Restart = "on-failure"
	RestartAlways    Restart = "always"
)

// Action is one thing to execute. A zero number, duration or string means
// "not set": systemd's default holds, unless a field says otherwise.
type Action struct {
	Name string
	// Exec is the argument vector. It is executed as it is: no shell, no
	// expansion of variables or specifiers. Exec[0] is an absolute path, or a
	// file name that systemd looks up.
	Exec []string
	// Process says that the action must stay alive. Otherwise it runs to its
	// end (Type=oneshot).
	Process bool
	// DependsOn names actions of the same service that come first: processes
	// ready, one-shots finished with success.
	DependsOn []string
	// Env is readable by every local user through systemd; secrets belong into
	// Credentials.
	Env map[string]string
	// Credentials maps the name under $CREDENTIALS_DIRECTORY to the absolute
	// path of the file that systemd loads it from (LoadCredential=), or to
	// [GeneratedCredential].
	Credentials map[string]string
	// StateDir is a directory below /var/lib that systemd makes for User, who
	// alone may enter it, before the start (StateDirectory=).
	StateDir   string
	User       string
	Group      string
	WorkingDir string

	Ready Ready
	// ReadyInterval is how long a probe waits between two tries, less at first, ReadyTimeout
	// how long it tries: [Action.ReadyWait] has what holds where they are 0.
	ReadyInterval time.Duration
	ReadyTimeout  time.Duration
	// ReadyStatus is the only status that a probe of HTTP takes for ready; 0
	// is any from 200 to 399. ReadyMatch is text that the body must have.
	ReadyStatus uint32
	ReadyMatch  string
	// ReadyCredential names the one of Credentials that has the password for
	// a probe of Redis: AUTH.
	ReadyCredential string

	// Health is a probe that is asked for as long as it runs; "" is none.
	// [Action.HealthCheck] reads it and what follows.
	Health            string
	HealthInterval    time.Duration
	HealthTimeout     time.Duration
	HealthGrace       time.Duration
	HealthFailures    uint32
	HealthSuccesses   uint32
	HealthStatus      uint32
	HealthMatch       string
	HealthCredential  string
	OnUnhealthy       OnUnhealthy
	UnhealthyRestarts uint32
	UnhealthyWindow   time.Duration
	// Watchdog is how long systemd waits for a WATCHDOG=1 of the program's
	// before it kills it: sd_watchdog_enabled(3).
	Watchdog time.Duration

	Restart            Restart // "" is on-failure for a process, no for a one-shot
	RestartDelay       time.Duration
	StartLimitBurst    uint32
	StartLimitInterval time.Duration
	Restarting
	Preparing
	TimeoutStart time.Duration
	TimeoutStop  time.Duration
	KillSignal   string // "SIGTERM" and so on

	MemoryMax uint64 // bytes
	CPUQuota  uint32 // percent of one CPU
	TasksMax  uint64
	OpenFiles uint64 // RLIMIT_NOFILE

	LogRateInterval time.Duration
	LogRateBurst    uint32
}

// Defaults that hold where a definition is silent and systemd's own default
// would serve a supervised machine badly.
const (
	DefaultRestartDelay    = time.Second
	DefaultLogRateInterval = 30 * time.Second
	DefaultLogRateBurst    = 10000
)

// NewAction is an action with the defaults of a definition that says nothing
// but the name.
func NewAction(name string) Action {
	return Action{
		Name:            name,
		Process:         true,
		Ready:           ReadyExec,
		RestartDelay:    DefaultRestartDelay,
		LogRateInterval: DefaultLogRateInterval,
		LogRateBurst:    DefaultLogRateBurst,
	}
}

// RestartPolicy is the policy that holds: the one set, or the default for the
// kind of action.
func (a Action) RestartPolicy() Restart {
	switch {
	case a.Restart != "":
		return a.Restart
	case a.Process:
		return RestartOnFailure
	default:
		return RestartNo
	}
}

// Primary is the index of the action that the service's own unit runs: the
// first process action, else the last action. It is -1 for a service without
// actions.
func (s Service) Primary() int {
	for i, a := range s.Actions {
		if a.Process {
			return i
		}
	}
	return len(s.Actions) - 1
}
