package prepare

import (
	"os"
	"path/filepath"
	"testing"
)

// The environment is the service's, whose user may put a systemctl of its own
// into it; what we execute is executed as root.
func TestTheServicesPathIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, "executed")
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n: >"+marker+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	_ = stopUnit(t.Context(), "hero-none-none.service") // there is none
	if _, err := os.Stat(marker); err == nil {
		t.Error("a systemctl from the service's PATH was executed")
	}
}
