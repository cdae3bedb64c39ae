package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func (c *call) logsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "show what a service has printed",
		ArgsUsage: "NAME [OPTION]...",
		Description: `It is in the journal, and this runs journalctl for the units of all of its
actions: what they printed, and what systemd says of them. You need to be root
or in the group systemd-journal. With --json each line is a JSON object of its
own: a journal entry, and schema_version. A TIME is as for log query: 1h30m, 7d,
2026-01-02, "2026-01-02 15:04:05".

Example:
   hero_proc service logs hero_db -n 50
   hero_proc service logs hero_db -f
   hero_proc service logs web --action migrate --since 1d`,
		Flags: append([]cli.Flag{
			contextFlag("the service's `CONTEXT`"),
			&cli.StringFlag{Name: "action", Usage: "only of this `ACTION`"},
		}, journalFlags()...),
		Action: waiting(c.logs),
	}
}

func (c *call) logs(ctx context.Context, cc *cli.Context) error {
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	argv, err := c.journalArgs(cc)
	if err != nil {
		return err
	}
	names, err := c.unitsToRead(ctx, cc, id)
	if err != nil {
		return err
	}
	if err := c.mayReadJournal("hero_proc service logs " + short(id)); err != nil {
		return err
	}
	for _, name := range names {
		argv = append(argv, "--unit="+name)
	}
	return c.journal(ctx, argv, nil)
}

// unitsToRead are the units whose lines are asked for. They are named one by
// one: following, journalctl learns of no unit that a pattern comes to match
// later. The pattern is for actions that the definition no longer has, and for
// when there is no daemon to ask: what was printed is there all the same.
func (c *call) unitsToRead(ctx context.Context, cc *cli.Context, id units.ID) ([]string, error) {
	action := cc.String("action")
	if cc.IsSet("action") {
		if err := units.CheckActionName(action); err != nil {
			return nil, usagef(cc, "--action %w", err)
		}
	}
	all := []string{id.Unit()}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api, err := c.connect(ctx)
	if err == nil {
		var s units.Status
		if s, err = api.Status(ctx, id); err == nil {
			for _, a := range s.Actions {
				if a.Name == action {
					return []string{a.Unit.Name}, nil
				}
				if a.Unit.Name != id.Unit() {
					all = append(all, a.Unit.Name)
				}
			}
		}
	}
	switch {
	case units.CodeOf(err) == units.CodeNoSuchService:
		return nil, units.Errorf(units.CodeNoSuchService, "%w", err).WithRemedy("hero_proc service list\njournalctl -u " + id.Unit() + "    # of one that was removed")
	case err != nil && (c.host != "" || ctx.Err() != nil):
		return nil, err // nor would ssh reach the journal
	case action != "":
		// One that the definition no longer has.
		return []string{id.ActionUnit(action)}, nil
	default:
		return append(all, id.ActionUnit("*")), nil
	}
}
