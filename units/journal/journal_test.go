package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// everything wants every unit.
func everything(string) bool { return true }

// The fixture is what systemd 252 wrote, as journalctl gave it: a program that
// exited with 2, one that ended well, one that was stopped, one that was
// killed and restarted.
func TestFixture(t *testing.T) {
	t.Parallel()
	entries, err := program(t, "exec tac "+here(t)+"/testdata/systemd-252.json").
		Entries(t.Context(), time.Unix(0, 0), func(unit string) bool { return unit != "hero-core-other.service" })
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/systemd-252.want")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&got, "%s %s %s %s %s job=%s command=%s code=%d/%d result=%s cpu=%d,%v\n", e.Time.Format(time.RFC3339Nano), e.Unit, e.InvocationID[:4],
			e.Boot[:4], string(e.Kind[:4]), e.Job, e.Command, e.ExitCode, e.ExitStatus, e.Result, e.Used.CPU.N, e.Used.CPU.Known)
	}
	if got.String() != string(want) {
		t.Errorf("entries are\n%s\nwant\n%s", got.String(), want)
	}
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

const invocation = "0123456789abcdef0123456789abcdef"

func line(kind units.EntryKind, more string) string {
	return fmt.Sprintf(`{"MESSAGE_ID":%q,"UNIT":"hero-u","INVOCATION_ID":%q,"_BOOT_ID":"b","__REALTIME_TIMESTAMP":"5"%s}`, kind, invocation, more)
}

func TestParseEntry(t *testing.T) {
	t.Parallel()
	at := time.UnixMicro(5).UTC()
	base := units.Entry{Unit: "hero-u", InvocationID: invocation, Boot: "b", Time: at}
	with := func(kind units.EntryKind, set func(*units.Entry)) *units.Entry {
		e := base
		e.Kind = kind
		if set != nil {
			set(&e)
		}
		return &e
	}
	for _, c := range []struct {
		name, line string
		want       *units.Entry // nil is none
	}{
		{"nothing", "", nil},
		{"no JSON", "{", nil},
		{"no object", "[]", nil},
		{"a message of another kind", line("6f2c1a6e0f0c4c7fb2d0a2b1c0f00000", ""), nil},
		{"started", line(units.EntryStarted, `,"JOB_TYPE":"start"`), with(units.EntryStarted, func(e *units.Entry) { e.Job = "start" })},
		{"when it was written comes first", line(units.EntryStarted, `,"_SOURCE_REALTIME_TIMESTAMP":"4"`), with(units.EntryStarted, func(e *units.Entry) { e.Time = time.UnixMicro(4).UTC() })},
		{"exited", line(units.EntryExited, `,"EXIT_CODE":"exited","EXIT_STATUS":"3","COMMAND":"ExecStart"`),
			with(units.EntryExited, func(e *units.Entry) { e.Command, e.ExitCode, e.ExitStatus = "ExecStart", 1, 3 })},
		{"dumped", line(units.EntryExited, `,"EXIT_CODE":"dumped","EXIT_STATUS":"11"`), with(units.EntryExited, func(e *units.Entry) { e.ExitCode, e.ExitStatus = 3, 11 })},
		{"exited in a way that is none", line(units.EntryExited, `,"EXIT_CODE":"vanished","EXIT_STATUS":"1"`), nil},
		{"exited with what is no number", line(units.EntryExited, `,"EXIT_CODE":"exited","EXIT_STATUS":"x"`), nil},
		{"exited with too much", line(units.EntryExited, `,"EXIT_CODE":"exited","EXIT_STATUS":"99999999999"`), nil},
		{"failed", line(units.EntryFailed, `,"UNIT_RESULT":"timeout"`), with(units.EntryFailed, func(e *units.Entry) { e.Result = "timeout" })},
		{"failed, nobody knows how", line(units.EntryFailed, ""), nil},
		{"a field twice", line(units.EntryFailed, `,"UNIT_RESULT":["a","b"]`), nil},
		{"a field too long", line(units.EntryFailed, `,"UNIT_RESULT":null`), nil},
		{"used", line(units.EntryUsage, `,"CPU_USAGE_NSEC":"7","IO_METRIC_READ_BYTES":"0","IO_METRIC_WRITE_BYTES":"18446744073709551615"`),
			with(units.EntryUsage, func(e *units.Entry) { e.Used.CPU, e.Used.IORead = units.Counted(7), units.Counted(0) })},
		{"no unit", strings.Replace(line(units.EntryStarted, ""), `"UNIT"`, `"OTHER"`, 1), nil},
		{"no invocation", strings.Replace(line(units.EntryStarted, ""), invocation, "0123", 1), nil},
		{"an invocation that is none", strings.Replace(line(units.EntryStarted, ""), "abcdef", "ABCDEF", 1), nil},
		{"no time", strings.Replace(line(units.EntryStarted, ""), `"5"`, `"x"`, 1), nil},
		{"a time beyond all times", strings.Replace(line(units.EntryStarted, ""), `"5"`, `"18446744073709551614"`, 1), nil},
	} {
		got, ok := ParseEntry([]byte(c.line))
		if ok != (c.want != nil) || ok && got != *c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, ok, c.want)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, kind := range units.EntryKinds {
		f.Add([]byte(line(kind, `,"EXIT_CODE":"killed","EXIT_STATUS":"9","UNIT_RESULT":"signal","CPU_USAGE_NSEC":"1"`)))
	}
	f.Add([]byte(`{"MESSAGE_ID":[1,2],"UNIT":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, ok := ParseEntry(line)
		if !ok {
			return
		}
		if !slices.Contains(units.EntryKinds, e.Kind) || e.Unit == "" || len(e.InvocationID) != 32 || e.Time.IsZero() || e.Time.Unix() < 0 {
			t.Errorf("%q is read as %+v", line, e)
		}
		if e.Kind == units.EntryFailed && e.Result == "" || e.Kind == units.EntryExited && (e.ExitCode < 1 || e.ExitCode > 3) {
			t.Errorf("%q is read as an end without how: %+v", line, e)
		}
	})
}

func TestWhatIsNoEntryIsPassedOver(t *testing.T) {
	t.Parallel()
	good := line(units.EntryStarted, "")
	in := strings.Join([]string{"garbage", good, `{"MESSAGE":"` + strings.Repeat("x", 3*maxLine) + `"}`, good, `{"half":`}, "\n")
	entries, err := parse(strings.NewReader(in), everything)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v; want the two good ones", len(entries), err)
	}
}

func TestReadingIsBounded(t *testing.T) {
	t.Parallel()
	entries, err := parse(&endless{text: line(units.EntryStarted, "") + "\n"}, everything)
	if !errors.Is(err, ErrTooMuch) || len(entries) != maxEntries {
		t.Errorf("%d entries, %v; want %d and that there are more", len(entries), err, maxEntries)
	}
	entries, err = parse(&endless{text: strings.Repeat("x", 500) + "\n"}, everything)
	if !errors.Is(err, ErrTooMuch) || len(entries) != 0 {
		t.Errorf("%d entries, %v; want none of other units, and an end", len(entries), err)
	}
}

// Of more than is read at once the newest is what counts: it says what has
// become of what the history has running.
func TestTheNewestEntriesAreKept(t *testing.T) {
	t.Parallel()
	at := func(i int, kind units.EntryKind, inv string) string {
		return strings.NewReplacer(`"5"`, fmt.Sprintf(`"%d"`, i), invocation, strings.Repeat(inv, 32)).Replace(line(kind, `,"UNIT_RESULT":"signal"`)) + "\n"
	}
	var text strings.Builder
	// From the newest on: one that failed, after an entry of its own; one
	// that did, with nothing of it that was read before; the rest.
	text.WriteString(at(9_000_003, units.EntryFailed, "a") + at(9_000_002, units.EntryFailed, "b") + at(9_000_001, units.EntryStarted, "a"))
	const more = maxEntries + 10
	for i := range more {
		text.WriteString(at(more-i, units.EntryStarting, "c"))
	}
	path := filepath.Join(t.TempDir(), "entries")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := program(t, "exec cat "+path).Entries(t.Context(), time.Unix(0, 0), everything)
	if !errors.Is(err, ErrTooMuch) || len(entries) != maxEntries-1 {
		t.Fatalf("%d entries, %v; want %d and that there are more", len(entries), err, maxEntries-1)
	}
	var times []int64
	for _, e := range entries {
		times = append(times, e.Time.UnixMicro())
	}
	if !slices.IsSorted(times) || times[0] != more-(maxEntries-3)+1 || !slices.Equal(times[len(times)-2:], []int64{9_000_001, 9_000_003}) {
		t.Errorf("the entries are of %v … %v; want the newest, without that whose beginning is unknown", times[:2], times[len(times)-3:])
	}
}

// Of an activation whose first entries were not read nothing is told, unless
// it can't have been asked to stop in them.
func TestWhatIsToldOfPartOfTheJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kinds []units.EntryKind
		want  bool
	}{
		{[]units.EntryKind{units.EntryStarting, units.EntryStarted, units.EntryDeactivated}, true},
		{[]units.EntryKind{units.EntryStarted, units.EntryDeactivated}, true},
		{[]units.EntryKind{units.EntryStopping, units.EntryExited, units.EntryFailed}, true},
		{[]units.EntryKind{units.EntryDeactivated}, false},
		{[]units.EntryKind{units.EntryExited, units.EntryFailed, units.EntryUsage}, false},
		{[]units.EntryKind{units.EntryUsage, units.EntryStopped}, false},
	} {
		var entries []units.Entry
		for _, kind := range c.kinds {
			entries = append(entries, units.Entry{Kind: kind, InvocationID: "i"})
		}
		if got := told(entries); (len(got) == len(c.kinds)) != c.want || !c.want && len(got) != 0 {
			t.Errorf("of %v are told %v", c.kinds, got)
		}
	}
}

// endless repeats a text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], e.text[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.text)
	}
	return n, nil
}

// program is a script in journalctl's place.
func program(t *testing.T, script string) Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journalctl")
	// What another test forks meanwhile would have the file open for writing
	// for a moment: ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return Reader{Program: path}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	since := time.Unix(1795397558, 542908999)
	good := line(units.EntryStarted, "")
	for _, c := range []struct {
		name, script string
		entries      int
		want         string // in the error; "" is none
	}{
		{"it has some", "echo '" + good + "'", 1, ""},
		{"it has none", "", 0, ""},
		{"it fails", "echo '" + good + "'; echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1", 1,
			"journalctl: exit status 1: No journal files were opened"},
		{"it talks for ever as it fails", "yes error | head -c 1000000 >&2; exit 1", 0, "exit status 1: error"},
		{"it gets the time and nothing of ours", `case "$*" in *--since=@1795397558.542908*_PID=1*MESSAGE_ID=*) ;; *) echo "$*" >&2; exit 1;; esac; test -z "$HOME"`, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entries, err := program(t, c.script).Entries(t.Context(), since, everything)
			if len(entries) != c.entries || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d entries, %.200v; want %d, %q", len(entries), err, c.entries, c.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestEntriesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("too late")
	done := make(chan error)
	go func() {
		_, err := program(t, "echo '"+line(units.EntryStarted, "")+"'; exec sleep 1000").Entries(ctx, time.Now(), func(string) bool {
			cancel(late)
			return true
		})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, late) {
			t.Errorf("it ended with %v, want that it is too late", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on though its context is over")
	}
}

func TestEntriesWithoutJournalctl(t *testing.T) {
	t.Parallel()
	if _, err := (Reader{Program: "/nonexistent"}).Entries(t.Context(), time.Now(), everything); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the program the error is %v", err)
	}
}
