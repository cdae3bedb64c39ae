package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// credentialsDir is where the secrets are that hero_proc has made: one file
// each, CONTEXT/SERVICE/NAME, which root alone can read. They are in no table,
// so that no definition, no backup and no log has them.
const credentialsDir = "credentials"

// secretBytes is how much randomness is in one.
const secretBytes = 32

// CredentialPath is the file of a generated credential, whether it is there
// or not.
func (s *Store) CredentialPath(service units.ID, name string) string {
	return filepath.Join(s.dir, credentialsDir, service.Context, service.Name, name)
}

// MakeCredential generates a credential of a service: 64 hexadecimal digits. One
// that is there already is kept: what it opens would be lost with it.
func (s *Store) MakeCredential(ctx context.Context, service units.ID, name string) error {
	const doing = "make a credential"
	path := s.CredentialPath(service, name)
	if _, err := os.Lstat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return s.fail(ctx, doing, err)
	}
	for _, dir := range []string{
		filepath.Join(s.dir, credentialsDir), filepath.Join(s.dir, credentialsDir, service.Context), filepath.Dir(path),
	} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return s.fail(ctx, doing, err)
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return s.fail(ctx, doing, err)
		}
	}
	var secret [secretBytes]byte
	rand.Read(secret[:]) // which never fails
	return s.fail(ctx, doing, writeSecret(path, hex.EncodeToString(secret[:])))
}

// writeSecret makes a file that is there as a whole or not at all.
func writeSecret(path, secret string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix) // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(secret)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
