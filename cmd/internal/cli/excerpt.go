package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxLines bounds the lines that one is shown of a journal, and maxLine the
// characters of each.
const (
	maxLines = 1000
	maxLine  = 500
)

// excerpt is the end of what one activation has left in the journal.
type excerpt struct {
	Lines []journalLine `json:"lines"`
	// Hint says why there is less than there may be.
	Hint string `json:"hint"`
	// Try is the command that shows it.
	Try string `json:"try"`
}

type journalLine struct {
	Time    time.Time `json:"time"`
	From    string    `json:"from"` // the program
	Message string    `json:"message"`
}

// lastLines reads the journal as the caller: what a service prints may be a
// secret, so the daemon hands out none of it.
func (c *call) lastLines(ctx context.Context, l units.Link, n int) excerpt {
	own := "_SYSTEMD_INVOCATION_ID=" + l.InvocationID
	x := excerpt{Lines: []journalLine{}}
	if c.host != "" {
		x.Hint, x.Try = "what it printed is over there", "journalctl "+own
		return x
	}
	// What it said itself, and what went wrong before it could. journald can't
	// tell the invocation of a process that is gone by the time that it looks,
	// so the unit's other lines are read too, and sorted out.
	about := []string{own, "+", "INVOCATION_ID=" + l.InvocationID}
	entries, refused := c.readJournal(ctx, n+spareLines, append(about, "+", "_SYSTEMD_UNIT="+l.Unit)...)
	x.Lines = linesOf(l.InvocationID, entries)
	if len(x.Lines) == 0 { // many lines have come since
		entries, refused = c.readJournal(ctx, n+spareLines, about...)
		x.Lines = linesOf(l.InvocationID, entries)
	}
	x.Lines = x.Lines[max(0, len(x.Lines)-n):]
	switch {
	case len(x.Lines) > 0:
	case refused:
		x.Hint, x.Try = "the journal does not show you what it printed", "sudo journalctl "+own
	default:
		x.Hint = "it printed nothing"
	}
	return x
}

// spareLines are read beside those that are wanted: systemd's own, and those of
// other activations.
const spareLines = 50

// readJournal reads the last entries that match. refused says that the caller may
// not see all.
func (c *call) readJournal(ctx context.Context, n int, matches ...string) (entries []map[string]any, refused bool) {
	argv := append([]string{"journalctl", "--output=json", "--all", "--no-pager", "--lines=" + strconv.Itoa(n)}, matches...)
	stdout, stderr, err := c.Capture(ctx, argv)
	for line := range bytes.Lines(stdout) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil {
			entries = append(entries, entry)
		}
	}
	return entries, err != nil || len(bytes.TrimSpace(stderr)) > 0
}

// linesOf are the lines of one activation, and systemd's errors about it.
func linesOf(invocation string, entries []map[string]any) []journalLine {
	lines := []journalLine{}
	in := false // between the activation's first entry and one of another
	for _, e := range entries {
		by, about := fieldText(e["_SYSTEMD_INVOCATION_ID"]), fieldText(e["INVOCATION_ID"])
		switch {
		case about == invocation: // systemd speaks
			in = true
			// That the start has failed is what is being explained.
			if fieldText(e["PRIORITY"]) > "3" || e["JOB_RESULT"] != nil {
				continue
			}
		case by == invocation:
			in = true
		case by != "":
			in = false
			continue
		case !in:
			continue
		}
		if l, ok := parseJournal(e); ok {
			lines = append(lines, l)
		}
	}
	return lines
}

// parseJournal reads an entry: systemd.journal-fields(7), and for the form
// https://systemd.io/JOURNAL_EXPORT_FORMATS, "Journal JSON Format".
func parseJournal(entry map[string]any) (journalLine, bool) {
	micros, err := strconv.ParseInt(fieldText(entry["__REALTIME_TIMESTAMP"]), 10, 64)
	if err != nil {
		return journalLine{}, false
	}
	from := fieldText(entry["SYSLOG_IDENTIFIER"])
	if from == "" {
		from = fieldText(entry["_COMM"])
	}
	if pid := fieldText(entry["_PID"]); pid != "" {
		from += "[" + pid + "]"
	}
	return journalLine{time.UnixMicro(micros).UTC(), from, fieldText(entry["MESSAGE"])}, true
}

// fieldText is the text of a field. What is no UTF-8 comes as a list of bytes,
// and a field that is there several times as a list of its values.
func fieldText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var text strings.Builder
		for i, e := range v {
			b, isByte := e.(float64)
			if !isByte {
				if i > 0 {
					text.WriteByte(' ')
				}
				text.WriteString(fieldText(e))
				continue
			}
			text.WriteByte(byte(b))
		}
		return strings.ToValidUTF8(text.String(), "�")
	}
	return ""
}
