package units

import (
	"strings"
	"unicode"
)

// Line is the first line of what somebody else wrote, as far as it is fit to be
// shown: what can't be printed is a question mark, and of more than most bytes
// the beginning is left.
func Line(s string, most int) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if cut {
		return s + "…"
	}
	return strings.TrimRight(s, "? ")
}
