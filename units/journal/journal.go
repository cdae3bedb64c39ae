package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Journalctl is where systemd's packages put it.
const Journalctl = "/usr/bin/journalctl"

// Bounds of one reading: bytes that journalctl writes, and entries that are
// kept of them. An entry is some 500 bytes of the first.
const (
	maxBytes   = 128 << 20
	maxEntries = 20_000
	maxLine    = 64 << 10
)

// ours is in the name of every unit that can be hero_proc's.
const ours = "hero-"

// ErrTooMuch says that there was more than the bounds allow; the newest entries
// are there.
var ErrTooMuch = errors.New("the journal has more entries than are read at once")

// Reader reads the system's journal. The zero Reader does it with [Journalctl].
type Reader struct {
	// Program stands in for journalctl in tests.
	Program string
}

// Entries are PID 1's entries since a time, of those units of hero_proc's that
// are wanted, the oldest first. With an error the newest come too, as far as
// they could be read: none of an activation that may have been asked to stop
// in what was not, since how it ended can't be told without that.
func (r Reader) Entries(ctx context.Context, since time.Time, wanted func(unit string) bool) ([]units.Entry, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	program := r.Program
	if program == "" {
		program = Journalctl
	}
	cmd := exec.CommandContext(ctx, program, arguments(since)...)
	// Nothing of ours, and no locale, no pager, no colour.
	cmd.Env = []string{"LANG=C.UTF-8", "PATH=/usr/bin"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	var stderr head
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot run journalctl: %w", err)
	}
	entries, err := parse(out, wanted)
	slices.Reverse(entries)
	if err != nil {
		stop()
		_ = cmd.Wait() // it was killed
		return told(entries), err
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return told(entries), fmt.Errorf("journalctl: %w%s", err, stderr.String())
	}
	return entries, nil
}

// arguments: journalctl(1). Terms on one field are alternatives, those on
// several all hold. _PID is journald's own word, which no service can write.
func arguments(since time.Time) []string {
	args := []string{
		"--system", "--quiet", "--no-pager", "--reverse", "--output=json", "--output-fields=" + strings.Join(fields, ","),
		fmt.Sprintf("--since=@%d.%06d", since.Unix(), since.Nanosecond()/1000),
		"_PID=1",
	}
	for _, kind := range units.EntryKinds {
		args = append(args, "MESSAGE_ID="+string(kind))
	}
	return args
}

// parse reads a line for each entry, the newest first. A line that can't be read is passed over:
// the journal of a machine that lost its power may be damaged.
func parse(in io.Reader, wanted func(unit string) bool) (entries []units.Entry, err error) {
	limited := &io.LimitedReader{R: in, N: maxBytes}
	lines := bufio.NewReaderSize(limited, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			// No entry of PID 1's is that long. What is left of the line
			// parses as nothing.
			continue
		case errors.Is(err, io.EOF) && limited.N <= 0:
			return entries, ErrTooMuch
		case errors.Is(err, io.EOF):
			return entries, nil
		case err != nil:
			return entries, fmt.Errorf("cannot read what journalctl says: %w", err)
		}
		// Most are about other units, and reading JSON takes its time.
		if !bytes.Contains(line, []byte(ours)) {
			continue
		}
		e, ok := ParseEntry(bytes.TrimSuffix(line, []byte("\n")))
		if !ok || !wanted(e.Unit) {
			continue
		}
		if len(entries) == maxEntries {
			return entries, ErrTooMuch
		}
		entries = append(entries, e)
	}
}

// told leaves out, of entries before which some may be missing, those of
// activations that may have been asked to stop there.
func told(entries []units.Entry) []units.Entry {
	whole := map[string]bool{} // by invocation
	for _, e := range entries {
		if _, known := whole[e.InvocationID]; !known {
			whole[e.InvocationID] = e.Kind == units.EntryStarting || e.Kind == units.EntryStarted || e.Kind == units.EntryStopping
		}
	}
	return slices.DeleteFunc(entries, func(e units.Entry) bool { return !whole[e.InvocationID] })
}

// head keeps the beginning of what a program has to say.
type head struct{ text []byte }

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(512-len(h.text), len(p))]...)
	return len(p), nil
}

func (h *head) String() string {
	if text := strings.TrimSpace(string(h.text)); text != "" {
		return ": " + text
	}
	return ""
}
