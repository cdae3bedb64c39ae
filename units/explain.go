package units

import "time"

// Relation is how a service hangs on another one, in the words of a
// definition; or how an action hangs on its service.
type Relation string

const (
	RelationRequires  Relation = "requires"
	RelationAfter     Relation = "after"
	RelationWants     Relation = "wants"
	RelationConflicts Relation = "conflicts"
	RelationAction    Relation = "action"
)

// Dependency says that a service names another one in its definition. The
// other one need not be registered.
type Dependency struct {
	Service  ID
	On       ID
	Relation Relation
}

// Link is one link of the chain that leads from a service to the cause of its
// state.
type Link struct {
	ID
	// Depth counts the links that lead here, 0 for the service that was asked
	// about. A link belongs to the last one before it that is less deep.
	Depth int
	// Relation is how the link before leads here; "" at depth 0.
	Relation Relation
	Action   string // "" for the service as a whole
	Unit     string // "" where there is none
	State    State  // "" where the service is not registered
	// What is what is the matter, and Why the reason: without a subject, which
	// is the service or the action.
	What string
	Why  string
	// Remedy are the commands that mend it, one a line, where there are any.
	Remedy string
	// Since is when that came to be; zero where it is not known.
	Since time.Time
	// InvocationID is the activation whose journal says more; "" for none.
	InvocationID string
	// Root says that nothing behind it is to blame.
	Root bool
}

// Explanation is why a service is in the state that it is in.
type Explanation struct {
	ID
	State State // "" where it is not registered
	// Links have the service itself first, and each cause below what it is
	// the cause of.
	Links []Link
	// More counts the causes at the end of a very long chain that were not followed.
	More int
	// Events are what the supervisor has reported of these services and is
	// still to the point, the oldest first.
	Events []LogEntry
	// Remedy are the commands that mend all of it, one a line.
	Remedy string
}
