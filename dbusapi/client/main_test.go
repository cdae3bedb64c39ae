package client_test

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
)

func TestMain(m *testing.M) {
	if socket := os.Getenv(bridgeTo); socket != "" {
		bridge(socket)
	}
	os.Exit(run(m))
}

// run runs the tests and the examples. The examples are as they would be in a
// program; what they take for the system bus is a private one.
func run(m *testing.M) int {
	t := &exampleTB{}
	defer t.end()
	if err := os.Setenv("DBUS_SYSTEM_BUS_ADDRESS", apitest.Start(t).Address); err != nil {
		t.Fatal(err)
	}
	return m.Run()
}

// exampleTB is the part of a testing.TB that there is none of for examples.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()           {}
func (t *exampleTB) Output() io.Writer { return io.Discard }
func (t *exampleTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }

func (t *exampleTB) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (t *exampleTB) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

func (t *exampleTB) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }

func (t *exampleTB) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
