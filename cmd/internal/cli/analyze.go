package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) analyzeCommand() *cli.Command {
	return &cli.Command{
		Name:  "analyze",
		Usage: "show what the last boot waited for",
		Description: `It shows the chain of services that the boot of the machine waited for: the one
that was ready last, below it the one that held this one back, and so on, as
systemd-analyze critical-chain does for all units. Below are those that failed.

Example:
   hero_proc analyze
   hero_proc analyze --all`,
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "list all that the boot started, too, those that took longest first"}},
		Action: quick(c.analyze),
	}
}

func (c *call) analyze(ctx context.Context, cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	a, err := api.AnalyzeBoot(ctx)
	if err != nil {
		return err
	}
	c.result["boot"] = viewBoot(a)
	switch {
	case c.json:
	case len(a.Units) == 0:
		c.hint("The last boot started no service.")
	default:
		c.printBoot(a, cc.Bool("all"))
	}
	return nil
}

func (c *call) printBoot(a units.BootAnalysis, all bool) {
	c.wrapped("", fmt.Sprintf("The machine came up at %s, and its boot started %s.", c.when(a.Booted), count(len(a.Units), "unit")), "")
	c.wrapped("", `The time after "@" is when a unit was ready, since the machine came up; that after "+" is what it took to start.`, "")
	fmt.Fprintln(c.Stdout)
	prefix := ""
	for _, u := range critical(a) {
		branch := ""
		if prefix != "" {
			branch = prefix[2:] + "└─"
		}
		fmt.Fprintln(c.Stdout, branch+c.bootLine(a, u))
		prefix += "  "
	}
	var rest []units.BootUnit
	for _, u := range a.Units {
		if !u.Critical && (u.Ready.IsZero() || all) {
			rest = append(rest, u)
		}
	}
	slices.SortStableFunc(rest, func(a, b units.BootUnit) int { return -cmp.Compare(a.Took(), b.Took()) })
	if len(rest) > 0 {
		fmt.Fprintln(c.Stdout, "\nThe others:")
	}
	for _, u := range rest {
		fmt.Fprintln(c.Stdout, c.bootLine(a, u))
	}
}

// critical is the chain that the boot waited for, the last one first.
func critical(a units.BootAnalysis) []units.BootUnit {
	at := map[string]units.BootUnit{}
	waited := map[string]bool{}
	for _, u := range a.Units {
		if u.Critical {
			at[u.Unit] = u
			waited[u.WaitedFor] = true
		}
	}
	var chain []units.BootUnit
	for _, u := range a.Units {
		if !u.Critical || waited[u.Unit] {
			continue
		}
		for ok := true; ok && len(chain) < len(at); u, ok = at[u.WaitedFor] {
			chain = append(chain, u)
		}
		break
	}
	return chain
}

func (c *call) bootLine(a units.BootAnalysis, u units.BootUnit) string {
	line := bootName(u)
	switch {
	case u.Done().IsZero() && !u.Phase.Terminal():
		return line + " " + c.paint(yellow, "is still starting") + fmt.Sprintf(" @%s", seconds(u.Began.Sub(a.Booted)))
	case u.Ready.IsZero():
		line += " " + c.paint(red, string(u.Phase))
	}
	line += fmt.Sprintf(" @%s +%s", seconds(u.Done().Sub(a.Booted)), seconds(u.Took()))
	if u.Attempts > 1 {
		line += fmt.Sprintf(" (%d attempts)", u.Attempts)
	}
	return line
}

// bootName is the service, and the action where it is not the service's own.
func bootName(u units.BootUnit) string {
	if u.Unit != u.Service.Unit() {
		return u.Service.String() + " action " + u.Action
	}
	return u.Service.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3fs", max(d, 0).Seconds()) }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type bootView struct {
	Booted time.Time      `json:"booted,omitzero"`
	Chain  []string       `json:"critical_chain"` // units, the last one first
	Units  []bootUnitView `json:"units"`
}

type bootUnitView struct {
	Context   string    `json:"context"`
	Service   string    `json:"service"`
	Action    string    `json:"action"`
	Unit      string    `json:"unit"`
	Phase     string    `json:"phase"`
	Attempts  int       `json:"attempts"`
	Began     time.Time `json:"began,omitzero"`
	Ready     time.Time `json:"ready,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Took      float64   `json:"took_seconds"`
	WaitedFor string    `json:"waited_for"`
}

func viewBoot(a units.BootAnalysis) bootView {
	v := bootView{Booted: utc(a.Booted), Chain: []string{}, Units: []bootUnitView{}}
	for _, u := range critical(a) {
		v.Chain = append(v.Chain, u.Unit)
	}
	for _, u := range a.Units {
		v.Units = append(v.Units, bootUnitView{
			Context: u.Service.Context, Service: u.Service.Name, Action: u.Action, Unit: u.Unit, Phase: string(u.Phase), Attempts: u.Attempts,
			Began: utc(u.Began), Ready: utc(u.Ready), Ended: utc(u.Ended), Took: u.Took().Seconds(), WaitedFor: u.WaitedFor,
		})
	}
	return v
}
