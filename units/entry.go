package units

import "time"

// EntryKind is what PID 1 says in an entry of the journal: its MESSAGE_ID,
// sd-messages(3).
type EntryKind string

const (
	EntryStarting    EntryKind = "7d4958e842da4a758f6c1cdc7b36dcc5"
	EntryStarted     EntryKind = "39f53479d3a045ac8e11786248231fbf" // also "Finished", of a one-shot
	EntryExited      EntryKind = "98e322203f7a4ed290d09fe03c09fe15" // a process ended, and not well
	EntryFailed      EntryKind = "d9b373ed55a64feb8242e02dbe79a49c"
	EntryDeactivated EntryKind = "7ad2d189f7e94e70a38c781354912448" // the unit ended well
	EntryStopping    EntryKind = "de5b426a63be47a7b6ac3eaac82e2f6f" // somebody asked for it
	EntryStopped     EntryKind = "9d1aaa27d60140bd96365438aad20286"
	EntryRestart     EntryKind = "5eb03494b6584870a536b337290809b3" // Restart= has its turn
	EntryUsage       EntryKind = "ae8f7b866b0347b9af31fe1c80b127c0"
)

// EntryKinds are all that say something of how an activation went.
var EntryKinds = []EntryKind{
	EntryStarting, EntryStarted, EntryExited, EntryFailed, EntryDeactivated,
	EntryStopping, EntryStopped, EntryRestart, EntryUsage,
}

// Entry is one entry of PID 1's about one unit: systemd.journal-fields(7).
type Entry struct {
	Kind         EntryKind
	Unit         string
	InvocationID string
	Boot         string // the boot's ID
	Time         time.Time
	// Job is the kind of systemd's job, in Starting, Started, Stopping and
	// Stopped: start, stop, restart.
	Job string
	// Command is which process of the unit's it is, in Exited: ExecStart is
	// the main one.
	Command    string
	ExitCode   int32 // as in [Unit]
	ExitStatus int32
	Result     string // of the unit, in Failed
	Used       Usage  // in Usage
}
