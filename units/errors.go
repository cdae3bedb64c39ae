package units

import (
	"errors"
	"fmt"
)

// Code is the kind of an error, the same word in Go, on the bus and, by its
// exit status, in the shell.
type Code string

const (
	CodeInternal          Code = "Internal"
	CodeInvalidArgument   Code = "InvalidArgument"
	CodeInvalidDefinition Code = "InvalidDefinition"
	CodeNoSuchService     Code = "NoSuchService"
	CodeNoSuchJob         Code = "NoSuchJob"
	CodeAccessDenied      Code = "AccessDenied"
	CodeNotStartable      Code = "NotStartable"
	CodeRefused           Code = "Refused"
	CodeBlocked           Code = "Blocked"
	CodeInUse             Code = "InUse"
	CodeStartFailed       Code = "StartFailed"
	CodeTimeout           Code = "Timeout"
	CodeCanceled          Code = "Canceled"
	CodeStoreFull         Code = "StoreFull"
	CodeStoreFailed       Code = "StoreFailed"
	CodeLimitsExceeded    Code = "LimitsExceeded"
	CodeUnavailable       Code = "Unavailable"
	CodeNotRunning        Code = "NotRunning"

	CodeInteractiveAuthorizationRequired Code = "InteractiveAuthorizationRequired"
)

// Exit statuses of the command line.
const (
	ExitDone          = 0
	ExitFailed        = 1
	ExitUsage         = 2
	ExitNotActive     = 3
	ExitNoSuchService = 4
)

// CodeInfo is a row of the error table.
type CodeInfo struct {
	Code Code
	// DBus is the error's name on the bus.
	DBus string
	// Exit is the exit status of a command that ends with it.
	Exit int
	// Means is one sentence for the documentation.
	Means string
}

const dbusErrorPrefix = "tf.ourworld.HeroProc1.Error."

// Codes is the one error table. Standard D-Bus names are used where there is one.
var Codes = []CodeInfo{
	{CodeInternal, dbusErrorPrefix + "Internal", ExitFailed, "A fault of hero_proc itself; its journal has the detail."},
	{CodeInvalidArgument, "org.freedesktop.DBus.Error.InvalidArgs", ExitUsage, "An argument is not what the call takes."},
	{CodeInvalidDefinition, dbusErrorPrefix + "InvalidDefinition", ExitUsage, "A field of the definition is unknown or wrong; each one is named. Nothing was changed."},
	{CodeNoSuchService, dbusErrorPrefix + "NoSuchService", ExitNoSuchService, "No service of that name is registered in that context."},
	{CodeNoSuchJob, dbusErrorPrefix + "NoSuchJob", ExitFailed, "No job has that number."},
	{CodeAccessDenied, "org.freedesktop.DBus.Error.AccessDenied", ExitFailed, "The caller may not do that. Nothing was changed."},
	{CodeInteractiveAuthorizationRequired, "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", ExitFailed, "The caller may do that once somebody has authenticated, which the call has to allow. Nothing was changed."},
	{CodeNotStartable, dbusErrorPrefix + "NotStartable", ExitFailed, "The service is a definition only (wanted status spec); it has no unit."},
	{CodeRefused, dbusErrorPrefix + "Refused", ExitFailed, "systemd refused the unit or the job."},
	{CodeBlocked, dbusErrorPrefix + "Blocked", ExitFailed, "A dependency is missing, or is part of a cycle."},
	{CodeInUse, dbusErrorPrefix + "InUse", ExitFailed, "The service is running, or another one requires it."},
	{CodeStartFailed, dbusErrorPrefix + "StartFailed", ExitFailed, "The unit was started and failed."},
	{CodeTimeout, "org.freedesktop.DBus.Error.Timeout", ExitFailed, "The time for the call was up."},
	{CodeCanceled, dbusErrorPrefix + "Canceled", ExitFailed, "The call was given up: its caller left, or hero_proc is stopping."},
	{CodeStoreFull, dbusErrorPrefix + "StoreFull", ExitFailed, "The disk is full. Nothing was changed; reading and control go on."},
	{CodeStoreFailed, dbusErrorPrefix + "StoreFailed", ExitFailed, "The store could not be read or written. Nothing was changed."},
	{CodeLimitsExceeded, "org.freedesktop.DBus.Error.LimitsExceeded", ExitFailed, "The caller has too many calls in flight, or one that is too large."},
	{CodeUnavailable, dbusErrorPrefix + "Unavailable", ExitFailed, "systemd, or the bus, can't be reached at the moment. Nothing was changed."},
	{CodeNotRunning, "org.freedesktop.DBus.Error.ServiceUnknown", ExitFailed, "hero_proc is not running."},
}

// Info is the code's row of the table. An unknown code is an internal error.
func (c Code) Info() CodeInfo {
	for _, i := range Codes {
		if i.Code == c {
			return i
		}
	}
	return Codes[0]
}

// Error is an error that somebody outside can act on.
type Error struct {
	Code    Code
	Message string
	// Remedy are the commands that mend it, where there are any.
	Remedy string
	// Err is the cause, for logs and errors.Is; it is never shown to a caller.
	Err error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error]. As with fmt.Errorf, %w keeps the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// WithRemedy adds the commands that mend it.
func (e *Error) WithRemedy(remedy string) *Error {
	e.Remedy = remedy
	return e
}

// CodeOf is the code of an error; anything that is not an [Error] is internal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// RemedyOf is that of an error, or otherwise where it has none.
func RemedyOf(err error, otherwise string) string {
	var e *Error
	if errors.As(err, &e) && e.Remedy != "" {
		return e.Remedy
	}
	return otherwise
}

// NoSuchService is the error for a name that is not registered.
func NoSuchService(id ID) *Error {
	return Errorf(CodeNoSuchService, "no service %q is registered", id.String()).
		WithRemedy("hero_proc service list")
}
