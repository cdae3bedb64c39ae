package cli

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestManPage(t *testing.T) {
	t.Parallel()
	r := run(t, "unix:path=/nonexistent", how{}, "man", "--date", "2026-01-02")
	if r.exit != 0 || r.stderr != "" {
		t.Fatalf("man gives %+v", r)
	}
	page := r.stdout
	if again := run(t, "unix:path=/nonexistent", how{}, "man", "--date", "2026-01-02"); again.stdout != page {
		t.Error("the page is another one each time")
	}
	if want := `.TH HERO_PROC 1 "2026-01-02" "hero_proc 1.2.3" "User Commands"`; !strings.Contains(page, want+"\n") {
		t.Errorf("the page has no line %q", want)
	}
	// lexgrog(1) reads the name from this.
	if want := ".SH NAME\nhero_proc \\- keep the services of a Hero machine running\n"; !strings.Contains(page, want) {
		t.Errorf("the page has no %q", want)
	}
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^\.SH (.*)$`).FindAllStringSubmatch(page, -1) {
		sections = append(sections, m[1])
	}
	want := []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"}
	if !slices.Equal(sections, want) {
		t.Errorf("sections are %v; want %v", sections, want)
	}

	// Everything that there is stands in it.
	app := (&call{}).app()
	walk(app.Name, app.Commands, func(path string, cmd *cli.Command) {
		if cmd.Hidden {
			return
		}
		_, part, ok := strings.Cut(page, ".SS "+strings.TrimPrefix(path, "hero_proc ")+"\n")
		if !ok {
			t.Errorf("the page has nothing of %s", path)
			return
		}
		part, _, _ = strings.Cut(part, ".SS ")
		for _, f := range cmd.Flags[:len(cmd.Flags)-1] {
			tag := `.TP` + "\n" + `\fB\-\-` + f.Names()[0]
			if !strings.Contains(part, tag) {
				t.Errorf("the page has no %q at %s", tag, path)
			}
		}
	})
	for _, code := range units.Codes {
		if !strings.Contains(page, ".BR "+string(code.Code)+" ") {
			t.Errorf("the page has nothing of the code %s", code.Code)
		}
	}
	for _, bad := range []string{`=""`, "`", "--", "\\fBUsage"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
}

// A value stands as a word in capitals, apart from what is said of it: one in
// small letters looks as if it were to be typed.
func TestHelpOfValues(t *testing.T) {
	t.Parallel()
	app := (&call{}).app()
	walk(app.Name, app.Commands, func(path string, cmd *cli.Command) {
		for _, f := range cmd.Flags {
			d, ok := f.(cli.DocGenerationFlag)
			if !ok || !d.TakesValue() {
				continue
			}
			value, _ := metavar(d.GetUsage())
			if value == "" || value != strings.ToUpper(value) {
				t.Errorf("%s --%s takes %q", path, f.Names()[0], value)
			}
		}
	})
	if r := run(t, "unix:path=/nonexistent", how{}, "service", "set", "--help"); !strings.Contains(r.stdout, "\n  --restart-retry-delay-max TIME the TIME that") {
		t.Errorf("a long option and what is said of it are one:\n%s", r.stdout)
	}
}
