// Package authz decides who may call what.
//
// What lives here is the decision alone, from who calls and what the method
// does. What never may: the method itself, or a look into its arguments
// beyond what names the service. Today root may change things and everybody
// may read; finer rules are polkit's, and take their place in [Check].
package authz

import "forge.ourworld.tf/lhumina_code/hero_proc/units"

// Access is what a method does. Its zero value is the stricter one, so that a
// method that says nothing is not open.
type Access int

const (
	// Change is anything that alters what is registered or what runs.
	Change Access = iota
	// Read alters nothing.
	Read
)

// Check is nil if a caller of that user may call the method, else an error
// with [units.CodeAccessDenied].
func Check(uid uint32, access Access, method string) error {
	if access == Read || uid == 0 {
		return nil
	}
	return units.Errorf(units.CodeAccessDenied, "%s is for root, and the caller is user %d", method, uid).
		WithRemedy("run it again with sudo")
}

// SeesSecrets says whether a caller of that user sees environments and
// credentials.
func SeesSecrets(uid uint32) bool { return uid == 0 }
