package units

import (
	"reflect"
	"strings"
	"testing"
)

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		line string
		want []string
	}{
		{"nothing", "", nil},
		{"blanks alone", " \t\n ", nil},
		{"words", "a  b\tc\nd", []string{"a", "b", "c", "d"}},
		{"blanks around", "  a b  ", []string{"a", "b"}},
		{"single quotes", `a 'b  c'`, []string{"a", "b  c"}},
		{"nothing is special in single quotes", `'\ " $x'`, []string{`\ " $x`}},
		{"double quotes", `a "b  c"`, []string{"a", "b  c"}},
		{"backslash in double quotes", `"\" \\ \$ \` + "`" + ` \n 'x'"`, []string{`" \ $ ` + "`" + ` \n 'x'`}},
		{"backslash outside", `a\ b \'c\" \\`, []string{"a b", `'c"`, `\`}},
		{"empty arguments", `a '' ""`, []string{"a", "", ""}},
		{"pieces of one argument", `a'b'"c"d\e`, []string{"abcde"}},
		{"continued line", "a \\\n b\\\nc \"d\\\ne\"", []string{"a", "bc", "de"}},
		{"nothing is expanded", `$HOME ~ * $(x) | && ; #`, []string{"$HOME", "~", "*", "$(x)", "|", "&&", ";", "#"}},
		{"not only ASCII", `é 'ü x'`, []string{"é", "ü x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := SplitCommand(tt.line)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("SplitCommand(%q) = %q, %v; want %q", tt.line, got, err, tt.want)
			}
		})
	}
	for line, want := range map[string]string{
		`a 'b`:    "the quote ' at byte 3 is not closed",
		`a "b\"`:  `the quote " at byte 3 is not closed`,
		`a "b' c`: `the quote " at byte 3 is not closed`,
		`a "b\`:   `the quote " at byte 3 is not closed`,
		`a b\`:    "the backslash at its end escapes nothing",
	} {
		if got, err := SplitCommand(line); err == nil || err.Error() != want || CodeOf(err) != CodeInvalidArgument {
			t.Errorf("SplitCommand(%q) = %q, %v (%s); want %q", line, got, err, CodeOf(err), want)
		}
	}
}

// Whatever it makes of a line, quoted it is the same again.
func FuzzSplitCommand(f *testing.F) {
	for _, seed := range []string{"", `a 'b c' "d\"e" f\ g`, `'`, `"\`, "\\\n", "é\x00\xff", `''""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args, err := SplitCommand(line)
		if err != nil {
			return
		}
		var quoted []string
		for _, a := range args {
			quoted = append(quoted, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
		}
		again, err := SplitCommand(strings.Join(quoted, " "))
		if err != nil || !reflect.DeepEqual(again, args) {
			t.Errorf("%q gives %q, and quoted %q, %v", line, args, again, err)
		}
	})
}
