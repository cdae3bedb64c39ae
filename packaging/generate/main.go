// Command generate writes what is generated: from the command line of
// hero_proc the manual page hero_proc.1, and the completions hero_proc.bash,
// _hero_proc (zsh) and hero_proc.fish; from the introspection XML the manual
// page tf.ourworld.HeroProc1.5. It asks the program itself and the API's own
// package for them, so they are as those are, and the same input gives the
// same files.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
)

// fixedDate is the date of the manual pages when SOURCE_DATE_EPOCH is not set.
const fixedDate = "2026-01-01"

// files are what is written, and the arguments that make hero_proc print it.
func files(date string) map[string][]string {
	return map[string][]string{
		"hero_proc.1":    {"man", "--date", date},
		"hero_proc.bash": {"completion", "bash"},
		"_hero_proc":     {"completion", "zsh"},
		"hero_proc.fish": {"completion", "fish"},
	}
}

func main() {
	out := flag.String("out", "build", "the directory to write to")
	version := flag.String("version", "devel", "the version that the manual pages name")
	flag.Parse()
	if err := generate(*out, *version, os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(out, version, epoch string) error {
	date, err := pageDate(epoch)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	text, err := dbusPage(date, version)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, wire.BusName+".5"), []byte(text), 0o644); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "generate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "hero_proc")
	// It has to run here, whatever the packages are built for.
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-X main.version="+version, "-o", program,
		"forge.ourworld.tf/lhumina_code/hero_proc/cmd/hero_proc")
	build.Env = append(os.Environ(), "GOOS=", "GOARCH=", "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("cannot build hero_proc: %w", err)
	}
	for name, args := range files(date) {
		cmd := exec.Command(program, args...)
		cmd.Stderr = os.Stderr
		data, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("cannot make %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pageDate is the date of the manual pages: reproducible-builds.org,
// SOURCE_DATE_EPOCH, in seconds.
func pageDate(epoch string) (string, error) {
	if epoch == "" {
		return fixedDate, nil
	}
	n, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("SOURCE_DATE_EPOCH is %q; want seconds since 1970", epoch)
	}
	return time.Unix(n, 0).UTC().Format(time.DateOnly), nil
}
