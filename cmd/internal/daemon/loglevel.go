package daemon

import (
	"log/slog"
	"strings"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// logControl is the level of the daemon's own log, which can be set as it
// runs: org.freedesktop.LogControl1(5).
type logControl struct {
	level  *slog.LevelVar // info to begin with
	target string
}

func newLogControl(underSystemd bool) logControl {
	l := logControl{level: new(slog.LevelVar), target: targetConsole}
	if underSystemd {
		l.target = targetJournal
	}
	return l
}

// Targets of the log.
const (
	targetJournal = "journal"
	targetConsole = "console"
)

// syslogLevels are syslog's words for the log's levels. The first one for a
// level is what it reads as; the log knows no more than four.
var syslogLevels = []struct {
	word  string
	level slog.Level
}{
	{"err", slog.LevelError}, {"crit", slog.LevelError}, {"alert", slog.LevelError}, {"emerg", slog.LevelError},
	{"warning", slog.LevelWarn},
	{"info", slog.LevelInfo}, {"notice", slog.LevelInfo},
	{"debug", slog.LevelDebug},
}

func (l logControl) LogLevel() string {
	level := l.level.Level()
	for _, known := range syslogLevels {
		if known.level == level {
			return known.word
		}
	}
	return level.String() // can't be: SetLogLevel sets no other
}

func (l logControl) SetLogLevel(word string) error {
	var words []string
	for _, known := range syslogLevels {
		if known.word == word {
			l.level.Set(known.level)
			return nil
		}
		words = append(words, known.word)
	}
	return units.Errorf(units.CodeInvalidArgument, "the log level is %.32q; want %s", word, strings.Join(words, ", "))
}

func (l logControl) LogTarget() string { return l.target }
