// Command demo shows hero_proc at work on a throw-away machine with a real
// systemd: what it says when hero_db is not registered, and that hero_db is up
// after it was registered and the machine rebooted. It checks each thing that
// it shows, and exits with a status other than 0 when one is not as it should
// be. It leaves nothing behind but the cached base tree.
//
// What lives here is the story and its checks. What never may: the making of
// machines (package machine).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/integration"
	"forge.ourworld.tf/lhumina_code/hero_proc/integration/machine"
)

func main() {
	dist := flag.String("dist", "dist", "the directory with the .deb")
	flag.Parse()
	ctx, stop := machine.UntilInterrupted()
	err := run(ctx, *dist, os.Stdout)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; the machine is gone")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

// demo is one telling of the story.
type demo struct {
	out io.Writer
	ctx context.Context
	m   *machine.Machine
}

func run(ctx context.Context, dist string, out io.Writer) (err error) {
	deb, err := integration.Package(dist, "deb")
	if err != nil {
		return err
	}
	d := &demo{out: out, ctx: ctx}
	host, err := machine.Open(func(format string, args ...any) { d.say(format, args...) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()

	start := time.Now()
	fmt.Fprintln(out, "hero_proc keeps the services of a Hero machine running. This shows it on a machine of")
	fmt.Fprintln(out, "its own, with a real systemd: nothing is installed or changed on yours.")
	err = d.tell([]chapter{
		{"Make a machine and power it on", func() error { return d.powerOn(host) }},
		{"Install the package, as on any Debian: apt does the rest", func() error { return d.install(deb) }},
		{"Boot without hero_db: hero_proc is up, and the journal says what is wrong", d.bootWithout},
		{"Do what the journal said: register hero_db (here a redis-server speaks its protocol)", d.register},
		{"Reboot: hero_db has to be up by itself", d.rebootWith},
		{"Look at it, with hero_proc and with systemd's own tools", d.look},
	})
	if err != nil {
		if d.m != nil && ctx.Err() == nil {
			fmt.Fprintf(out, "\n%s", d.m.Report(ctx, "hero_proc.service", unit))
		}
		return err
	}
	fmt.Fprintf(out, "\nAll of it was as it should be: %s in all. The machine is thrown away.\n", seconds(time.Since(start)))
	fmt.Fprintf(out, "On a machine that runs systemd: apt install ./%s\n", deb)
	return nil
}

const unit = "hero-core-hero_db.service"

type chapter struct {
	title string
	tell  func() error
}

// tell tells the chapters, with how long each one took.
func (d *demo) tell(chapters []chapter) error {
	for i, c := range chapters {
		fmt.Fprintf(d.out, "\n%d/%d  %s\n", i+1, len(chapters), c.title)
		start := time.Now()
		if err := c.tell(); err != nil {
			if d.ctx.Err() != nil {
				return d.ctx.Err()
			}
			return fmt.Errorf("step %d (%s): %w", i+1, c.title, err)
		}
		d.say("done in %s", seconds(time.Since(start)))
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

const margin = "     "

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, margin+format+"\n", args...)
}

// show runs a command in the machine as one would type it, and shows it with
// what it prints. It must exit with the given status.
func (d *demo) show(exit int, args ...string) (string, error) {
	d.prompt(args)
	r, err := d.m.Run(d.ctx, args...)
	if err != nil {
		return "", err
	}
	out := r.Stdout + r.Stderr
	for line := range strings.Lines(strings.TrimRight(out, "\n")) {
		fmt.Fprintln(d.out, strings.TrimRight(margin+"│ "+strings.TrimRight(line, "\n"), " "))
	}
	if r.Exit != exit {
		return out, fmt.Errorf("%s ended with status %d, want %d", args[0], r.Exit, exit)
	}
	return out, nil
}

func (d *demo) prompt(args []string) {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; strings.ContainsAny(a, " *'") {
			words[i] = `"` + a + `"`
		}
	}
	d.say("%s:~# %s", machine.Hostname, strings.Join(words, " "))
}

// has checks that a text has all the words.
func has(text string, words ...string) error {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return fmt.Errorf("there should be %q in what was printed", w)
		}
	}
	return nil
}

func (d *demo) powerOn(host *machine.Host) error {
	base, err := host.Base(d.ctx)
	if err != nil {
		return err
	}
	if d.m, err = host.New(base); err != nil {
		return err
	}
	start := time.Now()
	if err := d.m.Boot(d.ctx); err != nil {
		return err
	}
	up := time.Since(start)
	system, err := d.m.Output(d.ctx, "sh", "-c", `. /etc/os-release; echo "$PRETTY_NAME, $(systemctl --version | head -n1)"`)
	if err != nil {
		return err
	}
	d.say("%s: up %s after power on", strings.TrimSpace(system), seconds(up))
	return nil
}

func (d *demo) install(deb string) error {
	d.prompt([]string{"apt", "install", "./" + filepath.Base(deb)})
	if out, err := integration.Install(d.ctx, d.m, deb); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	_, err := d.show(0, "systemctl", "is-active", "hero_proc")
	return err
}

func (d *demo) bootWithout() error {
	if err := d.reboot(); err != nil {
		return err
	}
	if _, err := d.show(0, "systemctl", "is-active", "hero_proc"); err != nil {
		return err
	}
	// What stands below the entry is from the installed catalog.
	out, err := d.show(0, "journalctl", "-b", "-x", "--no-hostname", "-p", "err", "-u", "hero_proc")
	if err := errors.Join(err, has(out, "hero_db", "is registered in context core", "Defined-By: hero_proc", "hero_proc service set hero_db")); err != nil {
		return err
	}
	d.say("The same is in hero_proc's own log, where a program can ask for it:")
	out, err = d.show(0, "hero_proc", "log", "query", "--source", "hero_proc.auto_start_db", "--level", "error", "-n", "1")
	return errors.Join(err, has(out, "hero_db", "not-registered"))
}

func (d *demo) register() error {
	if _, err := d.show(0, "mkdir", "-p", "/var/lib/hero_db"); err != nil {
		return err
	}
	_, err := d.show(0, "hero_proc", "service", "set", "hero_db", "--ready", "notify", "--exec",
		"/usr/bin/redis-server --port 6379 --dir /var/lib/hero_db --supervised systemd --daemonize no")
	return err
}

func (d *demo) rebootWith() error {
	if err := d.reboot(); err != nil {
		return err
	}
	if _, err := d.show(0, "systemctl", "is-active", "hero_proc", unit); err != nil {
		return err
	}
	db, err := d.m.Properties(d.ctx, unit, "ActiveEnterTimestampMonotonic")
	if err != nil {
		return err
	}
	hp, err := d.m.Properties(d.ctx, "hero_proc.service", "ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")
	if err != nil {
		return err
	}
	var began, up, ready int64 // microseconds
	for _, f := range []struct {
		from string
		into *int64
	}{
		{hp["ExecMainStartTimestampMonotonic"], &began},
		{db["ActiveEnterTimestampMonotonic"], &up},
		{hp["ActiveEnterTimestampMonotonic"], &ready},
	} {
		if _, err := fmt.Sscan(f.from, f.into); err != nil {
			return fmt.Errorf("systemd gave the time stamp %q: %w", f.from, err)
		}
	}
	if up >= ready {
		return errors.New("hero_proc said that it was ready before hero_db was")
	}
	d.say("hero_db was ready %d ms after hero_proc's start, and hero_proc said that it was ready %d ms later.",
		(up-began)/1000, (ready-up)/1000)
	out, err := d.m.Output(d.ctx, "journalctl", "-b", "-q", "-p", "err", "-u", "hero_proc")
	if err == nil && strings.TrimSpace(out) != "" {
		err = fmt.Errorf("hero_proc reported errors:\n%s", out)
	}
	return err
}

func (d *demo) look() error {
	for _, c := range []struct {
		command []string
		has     []string
	}{
		{[]string{"hero_proc", "service", "list"}, []string{"core/hero_db", "running"}},
		{[]string{"systemctl", "status", "--no-pager", "--lines=0", "hero-core-hero_db"}, []string{unit, "active (running)", "redis-server"}},
		{[]string{"redis-cli", "PING"}, []string{"PONG"}},
	} {
		out, err := d.show(0, c.command...)
		if err := errors.Join(err, has(out, c.has...)); err != nil {
			return err
		}
	}
	return nil
}

// reboot shuts the machine down in good order and powers it on again.
func (d *demo) reboot() error {
	d.prompt([]string{"reboot"})
	start := time.Now()
	if err := d.m.Reboot(d.ctx); err != nil {
		return err
	}
	d.say("down, and up again after %s", seconds(time.Since(start)))
	return nil
}
