package units

import "strings"

// SplitCommand splits a command line into arguments, quoted as in a POSIX
// shell: single quotes, double quotes, backslash. Nothing is expanded, and
// operators such as | or && are plain arguments: no shell runs it.
func SplitCommand(line string) ([]string, error) {
	var (
		args  []string
		arg   strings.Builder
		inArg bool
	)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n':
			if inArg {
				args = append(args, arg.String())
				arg.Reset()
				inArg = false
			}
		case '\'', '"':
			end, ok := readQuoted(&arg, line, i)
			if !ok {
				return nil, Errorf(CodeInvalidArgument, "the quote %c at byte %d is not closed", c, i+1)
			}
			i, inArg = end, true
		case '\\':
			i++
			if i == len(line) {
				return nil, Errorf(CodeInvalidArgument, "the backslash at its end escapes nothing")
			}
			if line[i] == '\n' { // a continued line
				continue
			}
			arg.WriteByte(line[i])
			inArg = true
		default:
			arg.WriteByte(c)
			inArg = true
		}
	}
	if inArg {
		args = append(args, arg.String())
	}
	return args, nil
}

// readQuoted reads what stands between the quote at start and its fellow,
// and answers where that is.
func readQuoted(arg *strings.Builder, line string, start int) (end int, ok bool) {
	quote := line[start]
	for i := start + 1; i < len(line); i++ {
		c := line[i]
		if c == quote {
			return i, true
		}
		if c == '\\' && quote == '"' && i+1 < len(line) {
			switch next := line[i+1]; next {
			case '\n':
				i++
				continue
			case '"', '\\', '$', '`': // elsewhere in double quotes it stands for itself
				i++
				c = next
			}
		}
		arg.WriteByte(c)
	}
	return 0, false
}
