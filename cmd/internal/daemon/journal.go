package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/coreos/go-systemd/v22/journal"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// systemJournal sends events as structured entries: systemd.journal-fields(7).
// Where there is no journal, as on a developer's machine, they go to the log.
type systemJournal struct {
	logger *slog.Logger
}

func (j systemJournal) Send(e units.Event) error {
	if !journal.Enabled() {
		j.logger.LogAttrs(context.Background(), slogLevel(e.Level), e.Message,
			slog.String("source", e.Source), slog.String("code", string(e.Code)), slog.String("remedy", e.Remedy))
		return nil
	}
	info, ok := e.Code.Info()
	if !ok {
		return fmt.Errorf("event %q is not in the table", e.Code)
	}
	fields := map[string]string{
		"MESSAGE_ID":        info.MessageID,
		"SYSLOG_IDENTIFIER": wire.SyslogIdentifier,
		"HERO_SOURCE":       e.Source,
		"HERO_ERROR_CODE":   string(e.Code),
	}
	for key, value := range map[string]string{
		"HERO_CONTEXT": e.Service.Context, "HERO_SERVICE": e.Service.Name,
		"HERO_REMEDIATION": e.Remedy, "HERO_UNIT": e.Unit, "HERO_RESULT": e.Result,
	} {
		if value != "" {
			fields[key] = value
		}
	}
	return journal.Send(e.Message, journal.Priority(e.Level.Priority()), fields)
}

// journalSocket is journald's for requests: systemd-journald.service(8).
const journalSocket = "/run/systemd/journal/io.systemd.journal"

// Sync has journald handle what it has received, as journalctl --sync does:
// it reads its sockets when it comes to it, and a time stamp says when that was.
func (j systemJournal) Sync(ctx context.Context) error {
	if !journal.Enabled() {
		return nil
	}
	return varlink(ctx, journalSocket, "io.systemd.Journal.Synchronize")
}

// varlink calls a method without parameters: https://varlink.org/Method-Call.
func varlink(ctx context.Context, socket, method string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "{\"method\":%q,\"parameters\":{}}\x00", method); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadBytes(0)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	var reply struct{ Error string }
	if err := json.Unmarshal(bytes.TrimRight(answer, "\x00"), &reply); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if reply.Error != "" {
		return fmt.Errorf("%s: %s", method, reply.Error)
	}
	return nil
}

func slogLevel(l units.Level) slog.Level {
	switch l {
	case units.LevelError:
		return slog.LevelError
	case units.LevelWarning:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// newLogger logs to standard error. Under systemd that is the journal, which
// has the time and wants the priority in front: sd-daemon(3).
func newLogger(stderr io.Writer, control logControl) *slog.Logger {
	if control.target != targetJournal {
		return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: control.level}))
	}
	return slog.New(slog.NewTextHandler(priorities{stderr}, &slog.HandlerOptions{
		Level: control.level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// priorities turns the level that each line begins with into its priority.
type priorities struct{ out io.Writer }

func (p priorities) Write(line []byte) (int, error) {
	text, priority := line, "<6>"
	for level, p := range map[string]string{"level=ERROR ": "<3>", "level=WARN ": "<4>", "level=INFO ": "<6>", "level=DEBUG ": "<7>"} {
		if rest, ok := bytes.CutPrefix(line, []byte(level)); ok {
			text, priority = rest, p
		}
	}
	if _, err := p.out.Write(append([]byte(priority), text...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
