package prepare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/cmd/internal/notes"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Word is the first argument that makes hero_proc_probe do this.
const Word = "prepare"

// Env is what the program has from outside.
type Env struct {
	Getenv         func(string) string
	Notify         func(state string) // sd_notify(3)
	Stdout, Stderr io.Writer
	// Notes is the directory for what the daemon is to report; "" for none.
	Notes string
}

const usage = `Usage: hero_proc_probe prepare --unit=UNIT [OPTION]...

Sees to it that what a service will listen on is free. systemd runs it before
the services that declare sockets or ports; see hero_proc_probe(8).

Options:
`

// call is what the arguments ask for.
type call struct {
	unit       string
	sockets    []string
	ports      []units.Port
	killOthers bool
}

func parse(args []string, stdout io.Writer) (call, error) {
	var c call
	flags := flag.NewFlagSet(Word, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.unit, "unit", "", "the `UNIT` that is to start")
	flags.Func("socket", "the `PATH` of a unix socket that has to be free; again for more", func(s string) error {
		c.sockets = append(c.sockets, s)
		return nil
	})
	flags.Func("port", "a TCP port `[HOST:]PORT` that has to be free; again for more", func(s string) error {
		p, err := units.ParsePort(s)
		c.ports = append(c.ports, p)
		return err
	})
	flags.BoolVar(&c.killOthers, "kill-others", false, "end whoever has one of them")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("it wants options alone, and has %q; see hero_proc_probe prepare --help", flags.Arg(0))
	case err == nil && c.unit == "":
		err = errors.New("--unit is missing; see hero_proc_probe prepare --help")
	}
	return c, err
}

// Main sees to all that is declared, and returns the exit status.
func Main(ctx context.Context, args []string, env Env) int {
	c, err := parse(args, env.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return units.ExitDone
	}
	r := run{call: c, env: env}
	if err == nil {
		err = r.all(ctx)
	}
	if err != nil {
		env.Notify("STATUS=" + units.NotStarted + err.Error())
		r.print(3, units.NotStarted+err.Error())
	}
	if len(r.events) > 0 && env.Notes != "" {
		if err := notes.Write(env.Notes, c.unit, r.events); err != nil {
			r.print(4, "hero_proc can't be told, ignoring: "+err.Error())
		}
	}
	if err != nil {
		return units.ExitFailed
	}
	return units.ExitDone
}

// run is one call, and what it has met.
type run struct {
	call
	env    Env
	events []units.Event
}

// print writes a line for the journal, with its priority: sd-daemon(3).
func (r *run) print(priority int, text string) {
	prefix := "hero_proc_probe: "
	if r.env.Getenv("JOURNAL_STREAM") != "" {
		prefix = fmt.Sprintf("<%d>", priority)
	}
	fmt.Fprintln(r.env.Stderr, prefix+text)
}

// tell is for the daemon to report.
func (r *run) tell(code units.EventCode, message, remedy string) {
	subject := r.unit
	if ref, ok := units.ParseUnit(r.unit); ok {
		subject = fmt.Sprintf("service %q", ref.ID)
	}
	r.events = append(r.events, units.Event{Time: time.Now(), Code: code, Message: subject + ": " + message, Remedy: remedy})
}

// all looks at the sockets first: removing one that is stale is no harm even
// if the start is refused then.
func (r *run) all(ctx context.Context) error {
	for _, path := range r.sockets {
		if err := r.free(ctx, func() (*what, error) { return r.socket(ctx, path) }); err != nil {
			return err
		}
	}
	for _, p := range r.ports {
		if err := r.free(ctx, func() (*what, error) { return port(p) }); err != nil {
			return err
		}
	}
	return nil
}

// maxEndings bounds how many holders of one thing are ended, one after the other.
const maxEndings = 32

// free sees to it that nobody has a thing: look says who does, nil for nobody.
func (r *run) free(ctx context.Context, look func() (*what, error)) error {
	for range maxEndings {
		w, err := look()
		if err != nil || w == nil {
			return err
		}
		h := w.who()[0]
		refusal := fmt.Sprintf("%s is held by %s", w.words, h)
		if w.blind != nil {
			refusal += fmt.Sprintf(" (whose it is can't be asked for: %v)", w.blind)
		}
		how := endNot
		if r.killOthers {
			var not string
			if how, not = decideEnd(h, r.unit); how == endNot {
				refusal += ", which kill_others does not end: " + not
			}
		}
		if how == endNot {
			refusal += "; " + h.remedy()
			r.tell(w.code, "it was not started: "+refusal, h.command())
			return errors.New(refusal)
		}
		r.env.Notify(fmt.Sprintf("STATUS=ending %s, which holds %s", h, w.words))
		did, err := end(ctx, how, h, *w)
		if err != nil {
			err = fmt.Errorf("%s is held by %s: %w", w.words, h, err)
			r.tell(w.code, "it was not started: "+err.Error(), h.command())
			return err
		}
		r.env.Notify("STATUS=")
		done := fmt.Sprintf("%s, which held %s, was ended, as kill_others says: %s", h, w.words, did)
		r.print(4, done)
		remedy := "journalctl -u " + r.unit
		if how == endUnit {
			remedy = "systemctl status " + h.unit
		}
		r.tell(units.EventHolderEnded, done, remedy)
	}
	return errors.New("there is always somebody new who holds what it needs")
}

func port(p units.Port) (*what, error) {
	all, err := listeners()
	if err != nil {
		return nil, fmt.Errorf("who holds port %s can't be known: %w", p, err)
	}
	inodes := taken(p, all, isFree)
	if len(inodes) == 0 {
		return nil, nil
	}
	return &what{words: "port " + p.String(), code: units.EventPortTaken, inodes: inodes}, nil
}

func (r *run) socket(ctx context.Context, path string) (*what, error) {
	found, w, err := examine(ctx, path)
	w.code = units.EventSocketTaken
	switch {
	case err != nil:
		err = fmt.Errorf("%s can't be looked at: %w", w.words, err)
		if found == stale {
			err = fmt.Errorf("%s is stale and can't be removed: %w", w.words, errors.Unwrap(err))
		}
		r.tell(w.code, "it was not started: "+err.Error(), "ls -la "+path)
		return nil, err
	case found == other:
		err := fmt.Errorf("what is at %s is no socket, and was left alone; move it away with: mv -i %s %s.old", path, path, path)
		r.tell(w.code, "it was not started: "+err.Error(), fmt.Sprintf("mv -i %s %s.old", path, path))
		return nil, err
	case found == stale:
		r.print(5, w.words+" was stale, and was removed")
		r.tell(units.EventSocketRemoved, w.words+" was stale, and was removed", "")
	case found == live:
		return &w, nil
	}
	return nil, nil
}
