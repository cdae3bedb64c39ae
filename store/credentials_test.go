package store

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestMakeCredential(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	id := units.ID{Context: "core", Name: "hero_db"}
	path := s.CredentialPath(id, "key")
	if want := filepath.Join(dir, "credentials/core/hero_db/key"); path != want {
		t.Errorf("its path is %s, want %s", path, want)
	}
	read := func() string {
		t.Helper()
		if err := s.MakeCredential(t.Context(), id, "key"); err != nil {
			t.Fatal(err)
		}
		secret, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(secret)
	}
	first := read()
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(first) {
		t.Errorf("the secret has %d bytes, want 64 hexadecimal digits", len(first))
	}
	if read() != first {
		t.Error("made again, it is another secret")
	}
	for at, want := range map[string]os.FileMode{
		path: 0o600, filepath.Dir(path): os.ModeDir | 0o700, filepath.Join(dir, "credentials/core"): os.ModeDir | 0o700, filepath.Join(dir, "credentials"): os.ModeDir | 0o700,
	} {
		if info, err := os.Lstat(at); err != nil || info.Mode() != want {
			t.Errorf("%s is of mode %v, %v; want %v", at, info.Mode(), err, want)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("beside it is %v, %v", files, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if read() == first {
		t.Error("two secrets are the same")
	}
}

// What can't be written is an error of the table, and leaves nothing behind.
func TestMakeCredentialInVain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "credentials"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.MakeCredential(t.Context(), units.ID{Context: "core", Name: "x"}, "key")
	if units.CodeOf(err) != units.CodeStoreFailed {
		t.Errorf("error is %v", err)
	}
}
