package units

import (
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"one line", "it is well", "it is well"},
		{"several", "\n  first \nsecond", "first"},
		{"nothing", " \n", ""},
		{"control characters", "a\x1b[31mred\x07\tb\r", "a?[31mred??b"},
		{"what turns the writing round", "a\u202eb", "a?b"},
		{"no text at all", "a\xffb\xfe", "ab"},
		{"as long as may be", strings.Repeat("x", 20), strings.Repeat("x", 20)},
		{"too long", strings.Repeat("x", 21), strings.Repeat("x", 20) + "…"},
		{"cut in the middle of a character", strings.Repeat("x", 19) + "é", strings.Repeat("x", 19) + "…"},
	} {
		if got := Line(tt.text, 20); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
