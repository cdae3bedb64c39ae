package units

import (
	"slices"
	"time"
)

// Level is the severity of an event, in syslog's words.
type Level string

const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelInfo    Level = "info"
)

// Levels are all that there are, the most severe first.
var Levels = []Level{LevelError, LevelWarning, LevelInfo}

// Priority is the level as sd-daemon(3) and the journal count it.
func (l Level) Priority() int {
	switch l {
	case LevelError:
		return 3
	case LevelWarning:
		return 4
	default:
		return 6
	}
}

// Sources of events: the step of the supervisor that speaks.
const (
	SourceStore     = "hero_proc.store"
	SourceRecovery  = "hero_proc.recover_running_jobs"
	SourceAutostart = "hero_proc.autostart_services"
	// SourceProcessJobs is the step that queues process jobs again.
	SourceProcessJobs = "hero_proc.autostart_process_jobs"
	SourceHeroDB      = "hero_proc.auto_start_db"
	SourceBus         = "hero_proc.bus"
	SourceHealth      = "hero_proc.health"
	SourceSupervisor  = "hero_proc.supervisor"
	SourceRestart     = "hero_proc.restart"
	SourcePrepare     = "hero_proc.prepare"
)

// EventCode is the kind of an event: HERO_ERROR_CODE in the journal.
type EventCode string

const (
	EventNotRegistered     EventCode = "not-registered"
	EventNotStartIntent    EventCode = "not-start-intent"
	EventStartFailed       EventCode = "start-failed"
	EventStartTimeout      EventCode = "start-timeout"
	EventDependencyFailed  EventCode = "dependency-failed"
	EventDependencyMissing EventCode = "dependency-missing"
	EventDependencyCycle   EventCode = "dependency-cycle"
	EventDefinitionInvalid EventCode = "definition-invalid"
	EventDefinitionRefused EventCode = "definition-refused"
	EventConflict          EventCode = "conflict"
	EventStoreUnusable     EventCode = "store-unusable"
	EventStoreRestored     EventCode = "store-restored"
	EventStoreReset        EventCode = "store-reset"
	EventStoreFull         EventCode = "store-full"
	EventStoreRoom         EventCode = "store-room"
	EventBootStepFailed    EventCode = "boot-step-failed"
	EventBusLost           EventCode = "bus-lost"
	EventBusBack           EventCode = "bus-back"
	EventJournalUnreadable EventCode = "journal-unreadable"
	EventUnhealthy         EventCode = "unhealthy"
	EventUnhealthyRestart  EventCode = "unhealthy-restart"
	EventUnhealthySpent    EventCode = "unhealthy-restarts-spent"
	EventHealthy           EventCode = "healthy-again"
	EventRunQueuedAgain    EventCode = "run-queued-again"
	EventRunNotQueued      EventCode = "run-not-queued"

	EventRestartsSpent  EventCode = "restarts-spent"
	EventStartedAgain   EventCode = "started-again"
	EventRestartsReset  EventCode = "restarts-reset"
	EventDependencyBack EventCode = "dependency-back"
	EventPortTaken      EventCode = "port-taken"
	EventSocketTaken    EventCode = "socket-taken"
	EventHolderEnded    EventCode = "holder-ended"
	EventSocketRemoved  EventCode = "stale-socket-removed"
)

// EventInfo is a row of the event table.
type EventInfo struct {
	Code EventCode
	// MessageID is the journal's MESSAGE_ID: one for each kind, explained in
	// the installed message catalog.
	MessageID string
	Level     Level
}

// Events is the table of all events. IDs are for good: catalogs and people's
// filters refer to them.
var Events = []EventInfo{
	{EventNotRegistered, "d28e459f3dce4a7eab30f0594a427b7b", LevelError},
	{EventNotStartIntent, "966404ac684046798e544d54d30ffe1f", LevelWarning},
	{EventStartFailed, "55d1ab69c6bc4d3d89f1260a6257fb8b", LevelError},
	{EventStartTimeout, "12e0e990e3264e2abbb648194928d603", LevelError},
	{EventDependencyFailed, "51ef1618de4443d7bd814e5e9828a6b8", LevelError},
	{EventDependencyMissing, "9786cf559ee14203a51185a3a68a9171", LevelError},
	{EventDependencyCycle, "ddaafe7301d74b5aa3d5850008ae9c75", LevelError},
	{EventDefinitionInvalid, "18760c68bed94f3c9458fbaf7218ea1f", LevelError},
	{EventDefinitionRefused, "726428aa84ac4aef8219511d75793b6c", LevelError},
	{EventConflict, "dea3730486344f8a8d5b68c3a80a656f", LevelError},
	{EventStoreUnusable, "731a80d4d51c488cb74d0419d45c5129", LevelError},
	{EventStoreRestored, "29be8b7685c6468aa01cbae4bc21d4de", LevelError},
	{EventStoreReset, "ff26913a6d05421bb33875585ffca14c", LevelError},
	{EventStoreFull, "b18416fbc2684f89aa57cc0a6bcc477f", LevelError},
	{EventStoreRoom, "78bcf1d9395a4a56829c3f072d31ed69", LevelInfo},
	{EventBootStepFailed, "ba81184fb777427cb9bd098e5282ef35", LevelError},
	{EventBusLost, "5922da093d9641d3915106f2f4ab2eef", LevelWarning},
	{EventBusBack, "b24bcf568b7840a090313ed584ba862e", LevelInfo},
	{EventJournalUnreadable, "f22ec03f94a6420cbc13c44ea65a4023", LevelWarning},
	{EventUnhealthy, "b47e74ee46ce4d4c84476c679e83df55", LevelWarning},
	{EventUnhealthyRestart, "73d55f91125440f1aeb1b4cacfdf1037", LevelWarning},
	{EventUnhealthySpent, "0dc46262ab984bfcb140844b872b4fbb", LevelError},
	{EventHealthy, "de1e381b5078456a928d5a9521acb8f9", LevelInfo},
	{EventRunQueuedAgain, "d7331f51e72148ac86efb27c345c443d", LevelInfo},
	{EventRunNotQueued, "0378641c4bc04cbdbd0db316329fc8f5", LevelError},
	{EventRestartsSpent, "ee35e13453304633b8d39f558cedceef", LevelError},
	{EventStartedAgain, "f53d643c61db4631ba3334af871f6c7a", LevelWarning},
	{EventRestartsReset, "483c20dda088458f9b50db2db94f04a0", LevelInfo},
	{EventDependencyBack, "37805a76444c42bf92a3cfec03999bdb", LevelInfo},
	{EventPortTaken, "bf286a06e20f4942a670f8ad95756339", LevelError},
	{EventSocketTaken, "1cebce4fee3f43e58d37ca544ac034d1", LevelError},
	{EventHolderEnded, "f20d58471f9c4166bd66705d79837df5", LevelWarning},
	{EventSocketRemoved, "8681567fd86e4518a2d95177b05c5232", LevelInfo},
}

// Info is the code's row of the table; ok is false for a code that has none.
func (c EventCode) Info() (info EventInfo, ok bool) {
	for _, i := range Events {
		if i.Code == c {
			return i, true
		}
	}
	return EventInfo{}, false
}

// Event is something that the supervisor has to say: one journal entry, and
// one row of the logs table.
type Event struct {
	Time    time.Time
	Source  string
	Code    EventCode
	Level   Level
	Service ID // zero when it is about none
	// Message is one sentence: what is wrong and why.
	Message string
	// Remedy are the commands that mend it, one a line.
	Remedy string
	// Unit and Result are systemd's, where a unit is at the bottom of it.
	Unit   string
	Result string
}

// LogEntry is a row of the logs table.
type LogEntry struct {
	ID int64
	Event
}

// LogFilter selects rows of the logs table. Zero values select everything.
type LogFilter struct {
	// Source selects the source itself and those below it: "hero_proc" is
	// also "hero_proc.store".
	Source string
	// Level selects those that are at least that severe, as journalctl's
	// --priority does; with Exact, that level alone.
	Level   Level
	Exact   bool
	Context string
	Service string // a name, whatever its context
	Since   time.Time
	Until   time.Time
	// Limit is the number of rows, the newest ones; 0 is DefaultLogLimit.
	Limit int
}

// Levels are those that the filter selects.
func (f LogFilter) Levels() []Level {
	i := slices.Index(Levels, f.Level)
	switch {
	case f.Level == "":
		return Levels
	case f.Exact || i < 0: // one that is none selects none
		return []Level{f.Level}
	default:
		return Levels[:i+1]
	}
}

// Bounds of one answer of a log query.
const (
	DefaultLogLimit = 1000
	MaxLogLimit     = 10000
)
