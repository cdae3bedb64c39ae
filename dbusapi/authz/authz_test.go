package authz

import (
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		uid     uint32
		access  Access
		allowed bool
	}{
		{name: "root reads", uid: 0, access: Read, allowed: true},
		{name: "root changes", uid: 0, access: Change, allowed: true},
		{name: "a user reads", uid: 1000, access: Read, allowed: true},
		{name: "a user can't change", uid: 1000, access: Change},
		{name: "nobody can't change", uid: 65534, access: Change},
		{name: "an access that is not known is not open", uid: 1000, access: Read + 1},
	} {
		err := Check(tt.uid, tt.access, "StartService")
		if allowed := err == nil; allowed != tt.allowed {
			t.Errorf("%s: allowed is %v; want %v", tt.name, allowed, tt.allowed)
		}
		if err != nil && units.CodeOf(err) != units.CodeAccessDenied {
			t.Errorf("%s: code is %s; want %s", tt.name, units.CodeOf(err), units.CodeAccessDenied)
		}
	}
}

func TestOnlyRootSeesSecrets(t *testing.T) {
	t.Parallel()
	if !SeesSecrets(0) || SeesSecrets(1) || SeesSecrets(65534) {
		t.Error("want root alone to see secrets")
	}
}
