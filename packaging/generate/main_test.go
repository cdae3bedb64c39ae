package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The packages are to be the same whenever and wherever they are built.
func TestGenerate(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), filepath.Join(t.TempDir(), "made", "by", "it")
	for _, dir := range []string{first, second} {
		if err := generate(dir, "1.2.3", "1767366245"); err != nil {
			t.Fatal(err)
		}
	}
	for name, holds := range map[string]string{
		"hero_proc.1":    `.TH HERO_PROC 1 "2026-01-02" "hero_proc 1.2.3"`,
		"hero_proc.bash": "complete -o default -F _hero_proc hero_proc",
		"_hero_proc":     "#compdef hero_proc",
		"hero_proc.fish": "complete -c hero_proc",
	} {
		a, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(a) != string(b) {
			t.Errorf("%s is another one the second time", name)
		}
		if !strings.Contains(string(a), holds) {
			t.Errorf("%s has no %q", name, holds)
		}
	}
}

func TestPageDate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		epoch, want string
		fails       bool
	}{
		{epoch: "", want: fixedDate},
		{epoch: "0", want: "1970-01-01"},
		{epoch: "1767366245", want: "2026-01-02"},
		{epoch: "yesterday", fails: true},
	} {
		got, err := pageDate(tt.epoch)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q is %q, error %v; want %q", tt.epoch, got, err, tt.want)
		}
	}
}
