package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) whyCommand() *cli.Command {
	return &cli.Command{
		Name:      "why",
		Usage:     "explain why a service is in the state that it is in",
		ArgsUsage: "NAME [-n LINES]",
		Description: `It follows the chain from the service to what is to blame: which of the services
that it requires, which action, which result of systemd's; the last lines that
this one printed; what hero_proc reported of it, and when; and what to do.

Those lines are read from the journal with your rights: root sees all, others
what journalctl shows them. The exit status is 0 whatever the state is, and 4
when the service is not registered.

Example:
   hero_proc service why web`,
		Flags: []cli.Flag{
			contextFlag("the service's `CONTEXT`"),
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Usage: "show the last `LINES` of what is to blame", Value: 10},
		},
		Action: quick(c.why),
	}
}

func (c *call) why(ctx context.Context, cc *cli.Context) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	n := cc.Int("lines")
	if n < 0 || n > maxLines {
		return usagef(cc, "-n is %d; want 0 to %d", n, maxLines)
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	e, err := api.Explain(ctx, id)
	if err != nil {
		return err
	}
	if e.State == "" {
		c.exit = units.ExitNoSuchService
	}
	printed := make([]excerpt, len(e.Links))
	for i, l := range e.Links {
		printed[i].Lines = []journalLine{}
		if l.InvocationID != "" && n > 0 {
			printed[i] = c.lastLines(ctx, l, n)
		}
	}
	c.result["why"] = viewExplanation(e, printed)
	if !c.json {
		c.printExplanation(e, printed)
	}
	return nil
}

func (c *call) printExplanation(e units.Explanation, printed []excerpt) {
	for i, l := range e.Links {
		margin := strings.Repeat("  ", l.Depth)
		if l.Depth > 0 {
			margin = margin[2:] + "└─"
		}
		below := strings.Repeat("  ", l.Depth) + "    "
		head := margin + c.paint(stateColor(l.State), "●") + " "
		switch l.Relation {
		case "":
			head += c.paint(bold, l.ID.String())
		case units.RelationAction:
			head += "action " + c.paint(bold, l.Action)
		default:
			head += string(l.Relation) + " " + c.paint(bold, l.ID.String())
		}
		if l.State != "" && l.Relation != units.RelationAction {
			head += " " + c.paint(stateColor(l.State), string(l.State))
		}
		c.wrapped(head+": it ", printable(l.What), below)
		// What follows from another link is said there.
		if l.Root && l.Why != "" {
			c.wrapped(below+"because ", printable(l.Why), below)
		}
		if !l.Since.IsZero() {
			fmt.Fprintf(c.Stdout, "%ssince %s; %s ago\n", below, c.when(l.Since), c.ago(l.Since))
		}
		c.printLines(below, printed[i])
	}
	if e.More > 0 {
		fmt.Fprintf(c.Stdout, "and %d more that were not followed\n", e.More)
	}
	if len(e.Events) > 0 {
		fmt.Fprintln(c.Stdout, "hero_proc has reported:")
		for _, ev := range e.Events {
			c.wrapped(fmt.Sprintf("  %s %s ", c.when(ev.Time), c.paint(levelColor(ev.Level), string(ev.Code))), printable(ev.Message), "    ")
		}
	}
	if e.Remedy != "" {
		fmt.Fprintln(c.Stdout, "What to do:")
		for line := range strings.Lines(e.Remedy) {
			fmt.Fprintln(c.Stdout, "  "+printable(strings.TrimRight(line, "\n")))
		}
	}
}

func (c *call) printLines(margin string, x excerpt) {
	if len(x.Lines) > 0 {
		fmt.Fprintln(c.Stdout, margin+"its last lines:")
	}
	for _, l := range x.Lines {
		fmt.Fprintf(c.Stdout, "%s  %s %s: %s\n", margin, c.when(l.Time), printable(l.From), clip(printable(l.Message), maxLine))
	}
	switch {
	case x.Try != "": // on a line of its own, to be copied
		c.wrapped(margin, x.Hint+"; try:", margin)
		fmt.Fprintln(c.Stdout, margin+"  "+x.Try)
	case x.Hint != "":
		c.wrapped(margin, x.Hint, margin)
	}
}

type explanationView struct {
	Context string     `json:"context"`
	Name    string     `json:"name"`
	State   string     `json:"state"` // "" where it is not registered
	Chain   []linkView `json:"chain"`
	More    int        `json:"more"`
	Events  []logView  `json:"events"`
	Remedy  string     `json:"remedy"`
}

type linkView struct {
	Depth        int       `json:"depth"`
	Relation     string    `json:"relation"`
	Context      string    `json:"context"`
	Name         string    `json:"name"`
	Action       string    `json:"action"`
	Unit         string    `json:"unit"`
	State        string    `json:"state"`
	What         string    `json:"what"`
	Why          string    `json:"why"`
	Remedy       string    `json:"remedy"`
	Since        time.Time `json:"since,omitzero"`
	InvocationID string    `json:"invocation_id"`
	Root         bool      `json:"root"`
	Journal      excerpt   `json:"journal"`
}

func viewExplanation(e units.Explanation, printed []excerpt) explanationView {
	v := explanationView{
		Context: e.Context, Name: e.Name, State: string(e.State), Chain: []linkView{}, More: e.More, Events: []logView{}, Remedy: e.Remedy,
	}
	for i, l := range e.Links {
		v.Chain = append(v.Chain, linkView{
			Depth: l.Depth, Relation: string(l.Relation), Context: l.Context, Name: l.Name, Action: l.Action, Unit: l.Unit,
			State: string(l.State), What: l.What, Why: l.Why, Remedy: l.Remedy, Since: utc(l.Since), InvocationID: l.InvocationID,
			Root: l.Root, Journal: printed[i],
		})
	}
	for _, ev := range e.Events {
		v.Events = append(v.Events, viewLog(ev))
	}
	return v
}

// utc leaves the zero time zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
