package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/client"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// What services print is in the journal, and journalctl(1) reads it with the
// rights of whoever calls: no line of it goes through the daemon.

// journalFlags are those of every command that shows it.
func journalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on printing what comes"},
		&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Usage: "only the last `COUNT` lines"},
		&cli.StringFlag{Name: "since", Usage: "only from this `TIME` on"},
		&cli.StringFlag{Name: "until", Usage: "only up to this `TIME`"},
	}
}

// journalTime is a time as systemd.time(7) reads it, wherever it is read.
const journalTime = "2006-01-02 15:04:05.000000 UTC"

// journalArgs is journalctl with what those flags say.
func (c *call) journalArgs(cc *cli.Context) ([]string, error) {
	argv := []string{"journalctl"}
	if c.host == "" {
		argv = append(argv, "--quiet") // about rights there is a better hint
	}
	if c.json {
		argv = append(argv, "--output=json", "--all") // without it a long field would be null
	}
	if cc.Bool("follow") {
		argv = append(argv, "--follow")
		if cc.IsSet("until") {
			return nil, usagef(cc, "--follow goes on for ever, and --until says when to end; want one of them")
		}
	}
	if n := cc.Int("lines"); cc.IsSet("lines") {
		if n < 0 {
			return nil, usagef(cc, "-n is %d; want 0 or more", n)
		}
		argv = append(argv, "--lines="+strconv.Itoa(n))
	}
	for _, name := range []string{"since", "until"} {
		t, err := c.timeFlag(cc, name)
		if err != nil {
			return nil, err
		}
		if !t.IsZero() {
			argv = append(argv, "--"+name+"="+t.UTC().Format(journalTime))
		}
	}
	return argv, nil
}

// mayReadJournal is an error that says what to do for who may not.
func (c *call) mayReadJournal(again string) error {
	if c.host != "" || c.JournalDenied == nil || !c.JournalDenied() {
		return nil
	}
	return units.Errorf(units.CodeAccessDenied, "you may not read what services print: the journal is for root and for the groups systemd-journal and adm").
		WithRemedy("sudo " + again + "\nsudo usermod --append --groups systemd-journal $USER    # and log in again")
}

// journal prints what journalctl prints.
func (c *call) journal(ctx context.Context, argv []string, stdout io.Writer) error {
	if c.json {
		if stdout == nil {
			stdout = c.Stdout
		}
		stdout = &versioned{out: stdout}
	}
	return c.journalctl(ctx, argv, stdout)
}

// journalctl runs it, here or on the host that was named.
func (c *call) journalctl(ctx context.Context, argv []string, stdout io.Writer) error {
	if c.host != "" {
		remote, err := client.RemoteCommand(c.host, argv...)
		if err != nil {
			return err
		}
		argv = remote
	}
	return c.Exec(ctx, argv, stdout)
}

// versioned puts the schema version into each of the JSON objects that are
// written to it, one a line.
type versioned struct {
	out    io.Writer
	inside bool // of a line
}

var versionKey = fmt.Appendf(nil, `{"schema_version":%d,`, schemaVersion)

func (v *versioned) Write(p []byte) (int, error) {
	var out bytes.Buffer
	for line := range bytes.Lines(p) {
		if !v.inside && line[0] == '{' {
			out.Write(versionKey)
			out.Write(line[1:])
		} else {
			out.Write(line)
		}
		v.inside = line[len(line)-1] != '\n'
	}
	if _, err := v.out.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// journalDenied looks at the files of the system's journal: there are some,
// and none can be read. Which groups may is the administrator's to decide.
func journalDenied() bool {
	return denied("/var/log/journal/*/system.journal", "/run/log/journal/*/system.journal")
}

func denied(patterns ...string) bool {
	const readable = 4 // R_OK: access(2)
	found := false
	for _, pattern := range patterns {
		files, _ := filepath.Glob(pattern) // the patterns are sound
		for _, file := range files {
			if syscall.Access(file, readable) == nil {
				return false
			}
			found = true
		}
	}
	return found && os.Geteuid() != 0
}
