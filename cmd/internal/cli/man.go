package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// manCommand prints the manual page. It is hidden: a user has man(1), and the
// packaging asks for it here, so that page and program can't differ.
func (c *call) manCommand() *cli.Command {
	return &cli.Command{
		Name:   "man",
		Usage:  "print the manual page hero_proc(1) as troff",
		Hidden: true,
		Description: `Example:
   hero_proc man --date 2026-01-02 | man -l -`,
		Flags: []cli.Flag{&cli.StringFlag{Name: "date", Usage: "the page's `DATE`"}},
		Action: func(cc *cli.Context) error {
			if err := noArgs(cc); err != nil {
				return err
			}
			page, err := c.manPage(cc.String("date"))
			if err != nil {
				return err
			}
			c.result["page"] = page
			if !c.json {
				fmt.Fprint(c.Stdout, page)
			}
			return nil
		},
	}
}

var (
	manHeading = regexp.MustCompile(`(?m)^\.SH `)
	manFlag    = regexp.MustCompile(`(?m)^\.PP\n\\fB(-.*)\\fP(="[^"\n]*")?: (.*)$`)
	manValue   = regexp.MustCompile(`\\fB([^\\]+)\\fR`)
)

// manPage is the manual page in the sections and the order of man-pages(7).
// The commands and their flags are as urfave/cli writes them; what it does not
// know is put around them.
func (c *call) manPage(date string) (string, error) {
	app := c.app()
	app.Setup()
	walk(app.Name, app.Commands, func(path string, cmd *cli.Command) {
		cmd.Name = strings.TrimPrefix(path, app.Name+" ")
		cmd.Usage = manUsage(path, cmd)
		cmd.Flags = cmd.Flags[:len(cmd.Flags)-1] // --help stands once, with the global ones
	})
	troff, err := app.ToManWithSection(1)
	if err != nil {
		return "", fmt.Errorf("cannot write the manual page: %w", err)
	}
	_, troff, _ = strings.Cut(troff, ".SH GLOBAL OPTIONS\n")
	options, commands, ok := strings.Cut(troff, ".SH COMMANDS\n")
	if !ok {
		return "", errors.New("cannot write the manual page: urfave/cli names its sections differently now")
	}
	var page strings.Builder
	fmt.Fprintf(&page, ".\\\" Written by \"hero_proc man\"; do not change it here.\n")
	fmt.Fprintf(&page, ".TH HERO_PROC 1 %q %q \"User Commands\"\n", date, "hero_proc "+c.Version)
	for _, s := range []struct{ title, body string }{
		{"NAME", "hero_proc \\- " + app.Usage},
		{"SYNOPSIS", ".B hero_proc\n[\\fB--json\\fR] [\\fB\\-H\\fR \\fIHOST\\fR] \\fICOMMAND\\fR [\\fIOPTION\\fR...] [\\fINAME\\fR...]"},
		{"DESCRIPTION", app.Description},
		{"OPTIONS", manFlags(".PP\n" + options)},
		{"COMMANDS", manHeading.ReplaceAllString(manFlags(commands), ".SS ")},
		{"EXIT STATUS", manExits()},
		{"ENVIRONMENT", manEnvironment},
		{"FILES", manFiles},
		{"EXAMPLES", manExamples},
		{"SEE ALSO", manSeeAlso},
	} {
		// "--" is to be copied, so it must stay two ASCII characters.
		fmt.Fprintf(&page, ".SH %s\n%s\n", s.title, strings.ReplaceAll(strings.TrimSpace(s.body), "--", `\-\-`))
	}
	return page.String(), nil
}

// manUsage is a command's part of the page, in markdown.
func manUsage(path string, cmd *cli.Command) string {
	usage := strings.ToUpper(cmd.Usage[:1]) + cmd.Usage[1:] + "."
	prose, example, _ := strings.Cut(cmd.Description, "Example:\n")
	if len(cmd.Subcommands) > 0 {
		return usage + "\n\n" + prose
	}
	synopsis := strings.ReplaceAll(path+" "+cmd.ArgsUsage, "\n       ", "\n    ")
	md := fmt.Sprintf("    %s\n\n%s\n\n%s\n", synopsis, usage, prose)
	for line := range strings.Lines(example) {
		md += "\n    " + strings.TrimSpace(line)
	}
	return md + "\n"
}

// manFlags makes a tagged list of the flags, each with the word that stands
// for its value, as people know it from other pages: --context CONTEXT.
func manFlags(troff string) string {
	return manFlag.ReplaceAllStringFunc(troff, func(flag string) string {
		m := manFlag.FindStringSubmatch(flag)
		names, takesValue, usage := m[1], m[2] != "", m[3]
		tag := `\fB` + names + `\fR`
		if word := manValue.FindStringSubmatch(usage); takesValue && word != nil {
			tag += ` \fI` + word[1] + `\fR`
		}
		return ".TP\n" + tag + "\n" + manValue.ReplaceAllString(usage, `\fI$1\fR`)
	})
}

func manExits() string {
	var b strings.Builder
	for _, e := range []struct {
		status int
		means  string
	}{
		{units.ExitDone, "It is done. For \\fBservice status\\fR: the service is running, degraded, or a one-shot that has exited with success."},
		{units.ExitFailed, "It failed, or hero_proc does not run, or the caller may not do that."},
		{units.ExitUsage, "The command line or the definition is wrong. Nothing was changed."},
		{units.ExitNotActive, "\\fBservice status\\fR: the service is not active."},
		{units.ExitNoSuchService, "No service of that name is registered."},
	} {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", e.status, e.means)
	}
	b.WriteString(".PP\n\\fBrun \\-\\-wait\\fR and \\fBrun \\-\\-pipe\\fR end with the status of what they ran, " +
		"or 128 and the number of the signal that ended it; 130 after Ctrl-C.\n")
	b.WriteString(".PP\nWith \\fB--json\\fR a failure is an object \\fIerror\\fR with \\fIcode\\fR, \\fImessage\\fR and \\fIremedy\\fR, " +
		"on standard output; standard error has the message for people all the same. The codes are:\n")
	for _, code := range units.Codes {
		fmt.Fprintf(&b, ".TP\n.BR %s \" (\" %d )\n%s\n", code.Code, code.Exit, code.Means)
	}
	return b.String()
}

const manEnvironment = `.TP
.B NO_COLOR
When it is set and not empty, no colours are used. They are used on a terminal only.
.TP
.B DBUS_SYSTEM_BUS_ADDRESS
The bus on which the daemon is asked for, instead of the system's.
.PP
What the daemon does is set by the variables in
.IR /etc/default/hero_proc .`

const manFiles = `.TP
.I /var/lib/hero_proc
The store of the daemon: what should run, and what ran. It is for root only.
.TP
.I /etc/default/hero_proc
The environment of the daemon, with HERO_PROC_NO_AUTOSTART_DB, HERO_PROC_HERO_DB_CONTEXT and HERO_PROC_DB_START_TIMEOUT.`

const manExamples = `Register the store that nearly every other service needs, and start it:
.PP
.EX
    hero_proc service set hero_db --exec \(aq/usr/bin/hero_db --dir /var/lib/hero_db\(aq --ready redis://127.0.0.1:6379 --now
.EE
.PP
See why hero_db did not start at boot:
.PP
.EX
    hero_proc log query --source hero_proc.auto_start_db
    hero_proc service status hero_db
    journalctl -u hero-core-hero_db
.EE
.PP
Do something when a service is not active:
.PP
.EX
    hero_proc service status web >/dev/null || echo "status $?"
.EE
.PP
Name every service that failed:
.PP
.EX
    hero_proc --json service list --state failed | jq -r \(aq.services[].name\(aq
.EE`

const manSeeAlso = `.BR hero_proc_server (8),
.BR tf.ourworld.HeroProc1 (5),
.BR systemctl (1),
.BR ssh (1),
.BR journalctl (1),
.BR systemd.service (5),
.BR systemd.unit (5)`
