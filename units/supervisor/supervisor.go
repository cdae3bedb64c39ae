// Package supervisor is the heart of the daemon: the boot sequence, the main
// loop, and what the API asks of it.
//
// What lives here are effects, in the order that plan decided: it asks the
// store what should run and systemd what runs, and it holds no truth of its
// own but what it can ask for again. What never may: SQL, the bus, a format
// for people. It declares the small interfaces that it needs of both.
package supervisor

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

// Systemd is PID 1. The channels of Start, Stop and Restart give the result of
// systemd's job and are closed; closed without a result, the connection was lost.
type Systemd interface {
	Version() int
	// Booted is when it came up.
	Booted() time.Time
	// Units lists hero_proc's units, with what a listing tells of them.
	Units(ctx context.Context) ([]units.Unit, error)
	// Hush has no changes told but the ends of jobs, until Listen, or until
	// there is a new connection.
	Hush(ctx context.Context) error
	Listen(ctx context.Context) error
	// Broken are those of them that systemd has and can't use.
	Broken(ctx context.Context) ([]units.Unit, error)
	// UnitsOf lists those of one service, of its older definitions too.
	UnitsOf(ctx context.Context, id units.ID) ([]units.Unit, error)
	// Identify gives listed units their InvocationID and Digest.
	Identify(ctx context.Context, listed []units.Unit) error
	// Unit reads one unit in full. One that isn't there is Load "not-found".
	Unit(ctx context.Context, name string) (units.Unit, error)
	// StatusText is what a unit has said last of itself.
	StatusText(ctx context.Context, name string) (string, error)
	Make(ctx context.Context, set transient.Set) error
	Start(ctx context.Context, unit, mode string) (<-chan string, error)
	Stop(ctx context.Context, unit, mode string) (<-chan string, error)
	Restart(ctx context.Context, unit, mode string) (<-chan string, error)
	// TryRestart is Restart of a unit that is up; any other stays as it is.
	TryRestart(ctx context.Context, unit, mode string) (<-chan string, error)
	// Run runs a unit to its end, and gives it as it was then, with what it
	// has said last.
	Run(ctx context.Context, u transient.Unit) (ended units.Unit, said string, err error)
	// Pin keeps a unit loaded for as long as the connection lives.
	Pin(ctx context.Context, unit string) error
	// PinAll does so with those of the units that are loaded.
	PinAll(ctx context.Context, units []string) error
	// Unload takes units away that are not alive, also where others refer to them.
	Unload(ctx context.Context, names ...string) error
	ResetFailed(ctx context.Context, unit string) error
	// StartTransient makes one unit and starts it.
	StartTransient(ctx context.Context, u transient.Unit) (<-chan string, error)
	// Release lets go of a unit that has ended, so that it is unloaded.
	Release(ctx context.Context, unit string) error
	// FileState is that of the unit's file on disk (masked, static, …); ""
	// when there is none.
	FileState(ctx context.Context, unit string) (string, error)
	// Wake gets a value when there is something to Take.
	Wake() <-chan struct{}
	Take() units.Changes
}

// Store is what should run, and what ran.
type Store interface {
	Services(ctx context.Context) ([]units.Registered, error)
	UpdateService(ctx context.Context, id units.ID, change func(old *units.Service) (units.Service, error)) (units.Service, error)
	RemoveService(ctx context.Context, id units.ID) error
	SaveJobs(ctx context.Context, records []units.Record) error
	Job(ctx context.Context, id int64) (units.Job, error)
	LiveJobs(ctx context.Context) ([]units.Job, error)
	Jobs(ctx context.Context, filter units.JobFilter) ([]units.Job, error)
	JobByInvocation(ctx context.Context, invocation string) (units.Job, bool, error)
	LastJob(ctx context.Context, unit string) (units.Job, bool, error)
	// LastRun are the jobs of a service's newest run.
	LastRun(ctx context.Context, id units.ID) ([]units.Job, error)
	// Mark is how far something was done; zero if that was never noted.
	Mark(ctx context.Context, name string) (time.Time, error)
	SetMark(ctx context.Context, name string, at time.Time) error
	// BootJobs are the jobs of the runs that a boot began since then.
	BootJobs(ctx context.Context, since time.Time) ([]units.Job, error)
	BeginRun(ctx context.Context, what units.AdHoc, boot string, at time.Time) (units.Job, error)
	BeginRunAgain(ctx context.Context, job *units.Job, boot string) error
	OpenRuns(ctx context.Context) ([]units.OpenRun, error)
	CancelRun(ctx context.Context, run int64) error
	EndRuns(ctx context.Context, runs ...int64) error
	Logs(ctx context.Context, filter units.LogFilter) ([]units.LogEntry, error)
	PruneLogs(ctx context.Context, filter units.LogFilter) (int64, error)
	// CredentialPath is the file of a generated credential, and MakeCredential
	// makes it, unless it is there.
	CredentialPath(service units.ID, name string) string
	MakeCredential(ctx context.Context, service units.ID, name string) error
	// Check looks for damage that opening the store did not look for. mend says that
	// there is some, and that the next opening mends it.
	Check(ctx context.Context) (mend bool, err error)
	// BackUpIfChanged makes a backup when a definition has changed since the
	// last one, or when that is a day old.
	BackUpIfChanged(ctx context.Context) error
	// BackUpInTime is BackUpIfChanged, but not for backups that are dear, nor
	// where nothing was written since it last looked.
	BackUpInTime(ctx context.Context) error
	// Room looks whether the disk is full (CodeStoreFull), and writes the jobs
	// that it kept from being written once it is not.
	Room(ctx context.Context) (written int, err error)
	// Retain deletes the rows of the history that the judge says go.
	Retain(ctx context.Context, goes func(units.Past) bool) (units.Retained, error)
}

// Journal takes structured entries; sending one does not block.
type Journal interface {
	Send(units.Event) error
	// Sync returns when everything sent before is in the journal, on disk.
	Sync(ctx context.Context) error
}

// Past is what PID 1 has written in the journal about units, since a time. With
// an error comes what could be read.
type Past interface {
	Entries(ctx context.Context, since time.Time, wanted func(unit string) bool) ([]units.Entry, error)
}

// Notes are what was met, before services were started, by the program that
// systemd runs for that: whether the supervisor was there or not.
type Notes interface {
	// Units are those that something is noted of.
	Units() ([]string, error)
	// Take reads what is noted of a unit, once.
	Take(unit string) ([]units.Event, error)
}

// LogQueue is the bounded queue before the logs table.
type LogQueue interface {
	Append(units.Event)
	Flush(ctx context.Context) error
	Dropped() uint64
}

// Policy is what the environment says.
type Policy struct {
	// NoAutostartDB leaves hero_db alone at boot.
	NoAutostartDB bool
	// HeroDB is the service to ensure.
	HeroDB units.ID
	// StartTimeout is how long hero_db is waited for.
	StartTimeout time.Duration
	// Retention bounds the history.
	Retention plan.Retention
}

// settle is how long a hero_db that can't say that it is ready must stay up
// before it counts as started. A program that fails at once, as for a bad
// flag, does so within some ten milliseconds.
const settle = 300 * time.Millisecond

// Options are the parts that a supervisor is made of.
type Options struct {
	Store   Store
	Systemd Systemd
	Journal Journal
	// Past may be nil: then what was not seen is lost.
	Past  Past
	Queue LogQueue
	Notes Notes
	// Notify tells the service manager a state: sd_notify(3).
	Notify func(state string)
	// Watchdog is how often the service manager wants to hear of us; 0 is never.
	Watchdog time.Duration
	Policy   Policy
	// Ask asks a probe over the network, once, until ctx ends. says is why it
	// was not well.
	Ask func(ctx context.Context, check units.HealthCheck) (well bool, says string)
	// Found is what is to be reported of the way here: of opening the store.
	Found   []units.Event
	Version string
	Logger  *slog.Logger
	Now     func() time.Time
}

// Supervisor is one daemon's state. What it keeps in memory can be had again
// from the store and from systemd.
type Supervisor struct {
	Options
	started  time.Time
	history  *history
	touched  *touched
	checks   *checks
	ready    atomic.Bool
	up       chan struct{} // is closed once it is ready
	restarts *restarts
	runs     openRuns
	// unanswered are settled by a task of which there is one at a time: retrying
	// says that it goes.
	unanswered unanswered
	retrying   atomic.Bool
	// reported says that something was since the last flush.
	reported atomic.Bool
	graph    atomic.Pointer[plan.Graph]
	// rows are what the store has: the daemon is its only writer. control is
	// held to touch them.
	rows map[units.ID]units.Registered
	// tasks are the goroutines that wait for systemd's jobs; life ends them.
	tasks sync.WaitGroup
	life  context.Context
	end   context.CancelFunc

	// control is held while definitions change and while units are loaded, so
	// that the store and systemd change together. Nobody waits for a job
	// under it. It is a channel so that waiting for it can end in time.
	control chan struct{}
	makes   atomic.Int64 // sets made so far, for the name of the next one
	// incomplete says that the bus went away before the boot was done.
	incomplete bool
	// hushed says that systemd's changes of units are not told. It is the loop's.
	hushed bool
	// resyncDue says that a reading of all units has failed, and is to be
	// done again.
	resyncDue bool
	// marked is the mark of the history, in nanoseconds since 1970.
	marked  atomic.Int64
	reading singleflight.Group
	// mayLack says that what began and ended while the daemon was down was not
	// looked for yet. It is the loop's. lookBackDue has a value when it is to be.
	mayLack     bool
	lookBackDue chan struct{}
	backlog     backlog
	// storeBeat and historyBeat pass on the loop's tick.
	storeBeat, historyBeat beat
	// damaged says that the store is, once.
	damaged chan error
	// readings counts the units that were read since all was quiet. It is the loop's.
	readings int

	mu sync.Mutex
	// noted is what was reported last of the starts of registered units that
	// have not come up since.
	noted map[string]string
	// digests has, for each loaded unit, that of the definition it has.
	digests map[string]string
	// refused has what systemd said to a definition that it would not load.
	refused      map[units.ID]plan.Problem
	heroDB       string // as in units.Health
	heroDBReason string
	// asked has the number of what was asked last of a service, and asks the
	// last one of all: what goes on in the background for an older request
	// gives up.
	asked map[units.ID]uint64
	asks  uint64
	// stops has, for each service that is being stopped, what closes when all
	// of its actions have stopped.
	stops map[units.ID]chan struct{}
}

// New makes a supervisor; Run brings it to life. Whatever changes something
// waits until the boot has loaded the services, so the API may be served
// before Run.
func New(o Options) *Supervisor {
	s := &Supervisor{
		Options: o,
		started: o.Now(),
		digests: map[string]string{},
		noted:   map[string]string{},
		refused: map[units.ID]plan.Problem{},
		heroDB:  "pending",
		asked:   map[units.ID]uint64{},
		stops:   map[units.ID]chan struct{}{},
		control: make(chan struct{}, 1), lookBackDue: make(chan struct{}, 1),
		storeBeat: make(beat, 1), historyBeat: make(beat, 1), damaged: make(chan error, 1),
		up: make(chan struct{}),
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.touched, s.checks = newTouched(), newChecks()
	s.backlog = newBacklog()
	pid1 := &ordered{Systemd: o.Systemd}
	s.Systemd = pid1
	s.history = newHistory(o.Store, pid1, o.Logger, o.Now, func(jobs []int64) { s.touched.mark(nil, jobs, false) },
		func(id units.ID) (units.Service, bool) { return s.graph.Load().Service(id) }, o.Past != nil)
	s.restarts = newRestarts()
	s.graph.Store(plan.NewGraph(nil))
	return s
}

// lock takes control; unlock gives it back.
func (s *Supervisor) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case s.control <- struct{}{}:
		return func() { <-s.control }, nil
	case <-ctx.Done():
		return nil, units.Errorf(units.CodeTimeout, "hero_proc is busy loading services: %w", context.Cause(ctx))
	}
}

// Load reads the registered services, and keeps control until Run has loaded
// them. It comes before the API is served: who calls must never see a store
// that has not been read, nor change it under the boot.
func (s *Supervisor) Load(ctx context.Context) error {
	s.control <- struct{}{}
	return s.reread(ctx)
}

// ask notes that something was asked of a service, and what number that was.
func (s *Supervisor) ask(id units.ID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks++
	s.asked[id] = s.asks
	return s.asks
}

// asking is the number of what was asked of a service last.
func (s *Supervisor) asking(id units.ID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[id]
}

// still says whether nothing was asked of the service since.
func (s *Supervisor) still(id units.ID, number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[id] == number
}

// reread reads the store. control is held.
func (s *Supervisor) reread(ctx context.Context) error {
	rows, err := s.Store.Services(ctx)
	if err != nil {
		return err
	}
	s.rows = make(map[units.ID]units.Registered, len(rows))
	for _, row := range rows {
		s.rows[row.Service.ID] = row
	}
	s.redraw()
	return nil
}

// redraw makes the graph anew from the rows. control is held.
func (s *Supervisor) redraw() {
	s.graph.Store(plan.NewGraph(slices.Collect(maps.Values(s.rows))))
	s.checks.redraw(s.graph.Load(), s.Now())
	s.forgetGone()
	s.touched.mark(nil, nil, true)
}

// forgetGone forgets what is remembered of services, and of actions, that are
// registered no more.
func (s *Supervisor) forgetGone() {
	g := s.graph.Load()
	gone := func(id units.ID) bool {
		_, valid := g.Service(id)
		_, broken := g.Problem(id)
		return !valid && !broken
	}
	registered := func(unit string) bool {
		_, _, ok := s.actionOf(unit)
		return ok
	}
	s.history.forgetGone(registered)
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.noted, func(unit, _ string) bool { return !registered(unit) })
	maps.DeleteFunc(s.asked, func(id units.ID, _ uint64) bool { return gone(id) })
	maps.DeleteFunc(s.refused, func(id units.ID, _ plan.Problem) bool { return gone(id) })
}

// problem is why the service can't be started: found in its definition, or
// told by systemd when it, or what it requires, was loaded.
func (s *Supervisor) problem(id units.ID) *plan.Problem {
	g := s.graph.Load()
	if p, ok := g.Problem(id); ok {
		return &p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.refused[id]; ok {
		return &p
	}
	return g.Behind(id, s.refused)
}
