package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// color is an SGR sequence of ECMA-48; "" paints nothing.
type color string

const (
	plain  color = ""
	red    color = "\x1b[31m"
	green  color = "\x1b[32m"
	yellow color = "\x1b[33m"
	bold   color = "\x1b[1m"
	reset        = "\x1b[0m"
)

func (c *call) paint(col color, s string) string {
	if !c.Color || col == plain || s == "" {
		return s
	}
	return string(col) + s + reset
}

func stateColor(s units.State) color {
	switch s {
	case units.StateRunning:
		return green
	case units.StateFailed, units.StateBlocked:
		return red
	case units.StateDegraded, units.StateActivating, units.StateUnknown:
		return yellow
	default:
		return plain
	}
}

func levelColor(l units.Level) color {
	switch l {
	case units.LevelError:
		return red
	case units.LevelWarning:
		return yellow
	default:
		return plain
	}
}

// printable makes one safe line of text that comes from a definition or from
// systemd: no newline, no escape sequence.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, s)
}

// cell is one field of a table.
type cell struct {
	text  string
	color color
}

// narrowest is how many columns a field keeps when a table is cut.
const narrowest = 8

// table prints rows below a header, two columns apart. On a terminal it is
// made to fit: the last field is cut first, as it is prose; then the widest
// ones. In a pipe nothing is ever cut.
func (c *call) table(header []string, rows [][]cell) {
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range rows {
		for i, f := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(f.text))
		}
	}
	if c.Width > 0 {
		fit(widths, c.Width)
	}
	head := make([]cell, len(header))
	for i, h := range header {
		head[i] = cell{h, bold}
	}
	c.row(widths, head)
	for _, row := range rows {
		c.row(widths, row)
	}
}

// fit takes columns off until the table, with its gaps, is no wider than width.
func fit(widths []int, width int) {
	over := 2*(len(widths)-1) - width
	for _, w := range widths {
		over += w
	}
	last := len(widths) - 1
	if cut := min(over, widths[last]-narrowest); cut > 0 {
		widths[last] -= cut
		over -= cut
	}
	for ; over > 0; over-- {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= narrowest {
			return // a terminal this narrow wraps
		}
		widths[widest]--
	}
}

func (c *call) row(widths []int, row []cell) {
	var line strings.Builder
	for i, f := range row {
		text := clip(f.text, widths[i])
		line.WriteString(c.paint(f.color, text))
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
		}
	}
	fmt.Fprintln(c.Stdout, strings.TrimRight(line.String(), " "))
}

// clip cuts a text to a width and says so.
func clip(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// wrapped prints a text with the lines after the first one indented, so that
// it fits the terminal. In a pipe it is one line.
func (c *call) wrapped(first, text, indent string) { fill(c.Stdout, first, text, indent, c.Width) }

// fill breaks a text at spaces, so that no line is wider than width; 0 is no
// limit. A word is never broken: it may be a path or a command to copy.
func fill(w io.Writer, first, text, indent string, width int) {
	line := first
	at := columns(first)
	for i, word := range strings.Fields(text) {
		n := columns(word)
		switch {
		case i == 0:
		case width > 0 && at+1+n > width:
			fmt.Fprintln(w, line)
			line, at = indent, len(indent)
		default:
			line += " "
			at++
		}
		line += word
		at += n
	}
	fmt.Fprintln(w, line)
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]*m")

// columns is how many columns a text takes: colours take none.
func columns(s string) int { return utf8.RuneCountInString(sgr.ReplaceAllString(s, "")) }

const timeFormat = "2006-01-02 15:04:05"

// when is a time as people read it.
func (c *call) when(t time.Time) string {
	return t.In(c.Now().Location()).Format(timeFormat)
}

// ago is how long ago a time was, in its one or two largest units.
func (c *call) ago(t time.Time) string { return span(c.Now().Sub(t)) }

func span(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dmin %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh %dmin", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	}
}
