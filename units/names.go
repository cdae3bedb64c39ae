package units

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"strconv"
	"strings"
)

// DefaultContext is the context of a service that names none.
const DefaultContext = "core"

// HeroDB is the name of the service that nearly every other one needs, and
// that the supervisor ensures at boot.
const HeroDB = "hero_db"

// Longest names, in bytes. Together they keep every unit name below
// systemd's limit of 255 (UNIT_NAME_MAX).
const (
	MaxContextName = 64
	MaxServiceName = 100
	MaxActionName  = 64
)

const (
	unitPrefix    = "hero-"
	serviceSuffix = ".service"
	sliceSuffix   = ".slice"
	// UnitPattern matches every unit that can be hero_proc's, as
	// ListUnitsByPatterns takes it.
	UnitPattern = unitPrefix + "*" + serviceSuffix
)

// A listing checks the names of a thousand units, so this is no regular expression.

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isContextName is ^[a-z0-9_]+$.
func isContextName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || isDigit(c) || c == '_') {
			return false
		}
	}
	return s != ""
}

// isName is ^[A-Za-z0-9_][A-Za-z0-9_.-]*$, of a service and of an action.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || c == '_' || i > 0 && (c == '.' || c == '-')) {
			return false
		}
	}
	return s != ""
}

// runSuffix cuts -r and digits, the end of an ad-hoc run's name, off a name.
func runSuffix(s string) (name, number string, ok bool) {
	i := strings.LastIndex(s, "-r")
	if i < 0 || i+2 == len(s) {
		return s, "", false
	}
	for k := i + 2; k < len(s); k++ {
		if !isDigit(s[k]) {
			return s, "", false
		}
	}
	return s[:i], s[i+2:], true
}

// CheckContextName says what is wrong with a context's name, or nil.
func CheckContextName(name string) error {
	if len(name) > MaxContextName || !isContextName(name) {
		return fmt.Errorf("is %q; want 1 to %d of a-z, 0-9 and _", clip(name), MaxContextName)
	}
	return nil
}

// CheckServiceName says what is wrong with a service's name, or nil.
func CheckServiceName(name string) error {
	if len(name) > MaxServiceName || !isName(name) {
		return fmt.Errorf("is %q; want 1 to %d of A-Z, a-z, 0-9, _, . and -, not starting with . or -", clip(name), MaxServiceName)
	}
	if _, _, run := runSuffix(name); run {
		return fmt.Errorf("is %q; names that end in -r and digits are those of ad-hoc runs", clip(name))
	}
	return nil
}

// CheckActionName says what is wrong with an action's name, or nil.
func CheckActionName(name string) error {
	if len(name) > MaxActionName || !isName(name) {
		return fmt.Errorf("is %q; want 1 to %d of A-Z, a-z, 0-9, _, . and -, not starting with . or -", clip(name), MaxActionName)
	}
	return nil
}

// Check says what is wrong with the context or the name, or nil.
func (id ID) Check() error {
	if err := CheckContextName(id.Context); err != nil {
		return Errorf(CodeInvalidArgument, "context %w", err)
	}
	if err := CheckServiceName(id.Name); err != nil {
		return Errorf(CodeInvalidArgument, "service name %w", err)
	}
	return nil
}

// ParseRef resolves a dependency as it stands in a definition of context:
// "name", or "context/name".
func ParseRef(context, ref string) (ID, error) {
	id := ID{Context: context, Name: ref}
	if ctx, name, ok := strings.Cut(ref, "/"); ok {
		id = ID{Context: ctx, Name: name}
	}
	return id, id.Check()
}

// Unit is the name of the unit of the service's primary action.
func (id ID) Unit() string { return unitPrefix + id.Context + "-" + id.Name + serviceSuffix }

// ActionUnit is the name of the unit of a further action.
func (id ID) ActionUnit(action string) string {
	return unitPrefix + id.Context + "-" + id.Name + "@" + action + serviceSuffix
}

// RunUnit is the name of the unit of an ad-hoc run.
func (id ID) RunUnit(run int64) string {
	return unitPrefix + id.Context + "-" + id.Name + "-r" + strconv.FormatInt(run, 10) + serviceSuffix
}

// UnitOf is the name of the unit of the service's i-th action.
func (s Service) UnitOf(i int) string {
	if i == s.Primary() {
		return s.Unit()
	}
	return s.ActionUnit(s.Actions[i].Name)
}

// SliceOf is the name of a context's slice.
func SliceOf(context string) string { return unitPrefix + context + sliceSuffix }

const (
	// FlatContext is up to how many services of a context are in its slice
	// itself. What one of them costs to start grows with the number of its
	// siblings, and is not felt before.
	FlatContext = 200
	// sliceSize is how many services a slice of a larger one has at least, and
	// maxSlices how many slices it has at most: each is one more unit to start.
	sliceSize, maxSlices = 32, 64
)

// slicesFor is how many slices the services of a large context are spread over:
// a power of two, so that half of them stay where they are when it doubles.
func slicesFor(services int) int {
	return min(1<<(bits.Len(uint(services/sliceSize))-1), maxSlices)
}

// SliceOf is the slice for the units of a service, where its context has so
// many services: the context's own, or one inside of that, by the dash, so
// that what is set for the context holds for it. No context has such a name.
func (id ID) SliceOf(services int) string {
	if services <= FlatContext {
		return SliceOf(id.Context)
	}
	hash := fnv.New32a()
	hash.Write([]byte(id.Name))
	return fmt.Sprintf("%s%s-%02x%s", unitPrefix, id.Context, hash.Sum32()%uint32(slicesFor(services)), sliceSuffix)
}

// UnitRef is what a unit's name says: whose unit it is. Action is "" for the
// primary action, Run is 0 for anything but an ad-hoc run.
type UnitRef struct {
	ID
	Action string
	Run    int64
}

// ParseUnit reads a unit's name. It is false for the name of a unit that
// can't be hero_proc's.
func ParseUnit(unit string) (UnitRef, bool) {
	rest, ok := strings.CutPrefix(unit, unitPrefix)
	if !ok {
		return UnitRef{}, false
	}
	if rest, ok = strings.CutSuffix(rest, serviceSuffix); !ok {
		return UnitRef{}, false
	}
	var r UnitRef
	if r.Context, r.Name, ok = strings.Cut(rest, "-"); !ok {
		return UnitRef{}, false
	}
	if name, action, ok := strings.Cut(r.Name, "@"); ok {
		if CheckActionName(action) != nil {
			return UnitRef{}, false
		}
		r.Name, r.Action = name, action
	} else if name, number, ok := runSuffix(r.Name); ok {
		run, err := strconv.ParseInt(number, 10, 64)
		if err != nil || run == 0 {
			return UnitRef{}, false
		}
		r.Name, r.Run = name, run
	}
	return r, r.Check() == nil
}

// clip keeps a message short when somebody sends a megabyte as a name.
func clip(s string) string {
	if len(s) > MaxServiceName {
		return s[:MaxServiceName] + "…"
	}
	return s
}
