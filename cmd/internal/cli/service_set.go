package cli

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// kind is how the value of a flag becomes that of a definition.
type kind int

const (
	text    kind = iota
	list         // each flag one more; a single empty one empties the list
	pairs        // NAME=VALUE; a single empty one empties the map
	inverse      // a switch that turns the key off
	toggle       // a switch that turns the key on
)

// field is a flag of "service set" that stands for a key of a definition.
type field struct {
	flag, key string
	kind      kind
	usage     string
}

var serviceFields = []field{
	{"description", "description", text, "one `LINE` for people"},
	{"status", "status", text, "the `STATUS` that is wanted: start (at boot; the default), stop or ignore (loaded, and not started by itself) or spec (a definition only)"},
	{"requires", "requires", list, "a `SERVICE` that this one can't be without; again for more, '' for none"},
	{"after", "after", list, "a `SERVICE` that starts first, if it starts; again for more, '' for none"},
	{"wants", "wants", list, "a `SERVICE` to start first, that may fail; again for more, '' for none"},
	{"conflicts", "conflicts", list, "a `SERVICE` that stops when this one starts; again for more, '' for none"},
	{"no-restart-with-requires", "restart_with_requires", inverse, "leave it down when what it requires is back after a failure"},
}

var actionFields = []field{
	{"exec", "exec", text, "the `COMMAND` to execute; quotes group words, there is no shell"},
	{"oneshot", "is_process", inverse, "it runs to its end, instead of staying alive"},
	{"depends-on", "depends_on", list, "an `ACTION` of this service that comes first; again for more, '' for none"},
	{"env", "env", pairs, "an environment variable `NAME=VALUE`; again for more, '' for none; no secrets: other users can read it"},
	{"credential", "credentials", pairs, "a secret `NAME=PATH`: systemd puts the file at $CREDENTIALS_DIRECTORY/NAME; with \"generate\" for PATH, hero_proc makes and keeps it; again for more, '' for none"},
	{"state-dir", "state_dir", text, "make it a `DIRECTORY` below /var/lib for its data, in $STATE_DIRECTORY"},
	{"user", "user", text, "run as this `USER`; root unless given"},
	{"group", "group", text, "run as this `GROUP`; that of the user unless given"},
	{"working-dir", "working_dir", text, "run in this `DIRECTORY`; / unless given"},
	{"ready", "ready", text, "`HOW` to know that it is ready: once executed (exec, the default), once it says so by sd_notify (notify), or once a probe succeeds: " + strings.Join(units.ReadyForms[2:], ", ")},
	{"ready-timeout", "ready_timeout", text, "the `TIME` for which the probe is tried; 30s unless given"},
	{"ready-interval", "ready_interval", text, "the `TIME` between two tries of the probe, less at first; 100ms unless given"},
	{"ready-status", "ready_status", text, "the `STATUS` of HTTP that is ready; any from 200 to 399 unless given"},
	{"ready-match", "ready_match", text, "`TEXT` that the body of an answer of HTTP must have in it"},
	{"ready-credential", "ready_credential", text, "the `NAME` of the --credential with the password that redis:// wants"},
	{"health", "health", text, "a `PROBE`, as of --ready, that is asked for as long as it runs; '' for none"},
	{"health-interval", "health_interval", text, "the `TIME` between two answers; 10s unless given"},
	{"health-timeout", "health_timeout", text, "the `TIME` that an answer may take; 5s unless given"},
	{"health-grace", "health_grace", text, "the `TIME` after it got ready in which a failure counts for nothing; 10s unless given"},
	{"health-failures", "health_failures", text, "`COUNT` of failures in a row that make it unhealthy; 3 unless given"},
	{"health-successes", "health_successes", text, "`COUNT` of successes in a row that make it healthy again; 1 unless given"},
	{"health-status", "health_status", text, "the `STATUS` of HTTP that is healthy; any from 200 to 399 unless given"},
	{"health-match", "health_match", text, "`TEXT` that the body of an answer of HTTP must have in it"},
	{"health-credential", "health_credential", text, "the `NAME` of the --credential with the password that redis:// wants; that of --ready unless given, where it asks the same server"},
	{"on-unhealthy", "on_unhealthy", text, "`WHAT` is done when it is unhealthy: warn, or restart it as well (restart, the default)"},
	{"unhealthy-restarts", "unhealthy_restarts", text, "the `COUNT` of these restarts after which it is left alone; 3 unless given"},
	{"unhealthy-window", "unhealthy_window", text, "the `TIME` in which these restarts count; 10m unless given"},
	{"watchdog", "watchdog", text, "systemd kills it when it sends no WATCHDOG=1 by sd_notify for this `TIME`"},
	{"restart", "restart", text, "`WHEN` to start it again after it ended: no, on-failure (the default; no for --oneshot) or always"},
	{"restart-delay", "restart_delay", text, "wait this `TIME` before it starts again, such as 1.5s; 1s unless given"},
	{"start-limit-burst", "start_limit_burst", text, "`COUNT` of starts after which systemd gives up; 5 unless given, as systemd has it"},
	{"start-limit-interval", "start_limit_interval", text, "the `TIME` in which those starts count; 10s unless given, as systemd has it"},
	{"restart-delay-max", "restart_delay_max", text, "the `TIME` that --restart-delay grows to (systemd 254 or later)"},
	{"restart-steps", "restart_steps", text, "the `COUNT` of restarts in which it grows; 5 unless given"},
	{"no-restart-retry", "restart_retry", inverse, "leave it down once systemd has given it up because of its start limit"},
	{"restart-retry-delay", "restart_retry_delay", text, "the `TIME` after which hero_proc starts it again then, twice as long each time; 1m unless given"},
	{"restart-retry-delay-max", "restart_retry_delay_max", text, "the `TIME` that this grows to; 1h unless given"},
	{"restart-reset-after", "restart_reset_after", text, "the `TIME` for which it has to be up until its restarts no longer count; 10m unless given"},
	{"socket", "sockets", list, "a unix socket's `PATH` that it listens on: a stale one is removed before it starts; again for more, '' for none"},
	{"port", "ports", list, "a TCP port `[HOST:]PORT` that it listens on: it is not started while somebody else has it; again for more, '' for none"},
	{"kill-others", "kill_others", toggle, "end whoever else has one of these sockets or ports"},
	{"timeout-start", "timeout_start", text, "the `TIME` it has to get ready; unless given, that of its probe, else 90s, as systemd has it, and no limit for --oneshot"},
	{"timeout-stop", "timeout_stop", text, "the `TIME` it has to stop before it is killed; 90s unless given, as systemd has it"},
	{"kill-signal", "kill_signal", text, "the `SIGNAL` that asks it to stop, such as SIGINT; SIGTERM unless given"},
	{"memory-max", "memory_max", text, "the memory it may use, in `BYTES` or such as 512M"},
	{"cpu-quota", "cpu_quota", text, "the `PERCENT` of one CPU that it may use, such as 150%"},
	{"tasks-max", "tasks_max", text, "the `COUNT` of processes and threads that it may have"},
	{"open-files", "open_files", text, "the `COUNT` of files that it may have open"},
	{"log-rate-interval", "log_rate_interval", text, "the `TIME` in which log lines are counted"},
	{"log-rate-burst", "log_rate_burst", text, "the `COUNT` of log lines it may write in that time"},
}

func (c *call) setCommand() *cli.Command {
	cmd := &cli.Command{
		Name:      "set",
		Usage:     "register a service, or change its definition",
		ArgsUsage: "NAME --exec 'COMMAND' [OPTION]...\n       hero_proc service set --file FILE [--now]",
		Description: `What is given is changed, lists and environments as a whole; what is not given
stays. --file gives a whole definition, in JSON. A service that runs keeps its
old definition until it is restarted.

Example:
   hero_proc service set hero_db --preset hero_db --now
   hero_proc service set hero_db --ready-timeout 5m
   hero_proc service set web --exec '/usr/bin/caddy run' --requires hero_db --now
   hero_proc service set web --memory-max 512M --restart always
   hero_proc service show web --json | hero_proc service set --file -`,
		Flags: []cli.Flag{
			contextFlag("the service's `CONTEXT`"),
			&cli.StringFlag{Name: "action", Usage: "the `ACTION` that is meant, when the service has several or it is to be a new one"},
			&cli.StringFlag{Name: "file", Usage: "read a whole definition from this JSON `FILE`, - for standard input"},
			&cli.StringFlag{Name: "preset", Usage: "begin with what is known of this `PROGRAM`: " + strings.Join(presetNames(), ", ") + "; other flags are laid over it; '?' lists them"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print the definition that it would have, and change nothing"},
			&cli.BoolFlag{Name: "now", Usage: "start it as well, and wait until it is ready"},
		},
		Action: waiting(c.set),
	}
	cmd.Flags = append(cmd.Flags, fieldFlags(slices.Concat(serviceFields, actionFields))...)
	return cmd
}

// fieldFlags are the flags that stand for keys.
func fieldFlags(fields []field) (flags []cli.Flag) {
	for _, f := range fields {
		switch f.kind {
		case inverse, toggle:
			flags = append(flags, &cli.BoolFlag{Name: f.flag, Usage: f.usage})
		case list, pairs:
			flags = append(flags, &cli.StringSliceFlag{Name: f.flag, Usage: f.usage})
		default:
			flags = append(flags, &cli.StringFlag{Name: f.flag, Usage: f.usage})
		}
	}
	return flags
}

func (c *call) set(ctx context.Context, cc *cli.Context) error {
	if cc.IsSet("file") {
		return c.setFile(ctx, cc)
	}
	if cc.String("preset") == listPresets {
		c.showPresets()
		return nil
	}
	id, err := oneID(cc)
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	old, err := registered(ctx, api, id)
	if err != nil {
		return err
	}
	patch, err := definitionPatch(cc, id, old)
	if err != nil {
		return err
	}
	if cc.Bool("dry-run") {
		return c.preview(id, old, patch, true)
	}
	return c.apply(ctx, api, id, old, patch, true, cc.Bool("now"))
}

func (c *call) setFile(ctx context.Context, cc *cli.Context) error {
	if err := noArgs(cc); err != nil {
		return err
	}
	for _, name := range cc.LocalFlagNames() {
		if name != "file" && name != "now" && name != "dry-run" {
			return usagef(cc, "%s has no place beside --file, which holds the whole definition", dashed(name))
		}
	}
	def, err := readDefinition(c.Stdin, cc.String("file"))
	if err != nil {
		return err
	}
	name, _ := def["name"].(string)
	contextName, ok := def["context"].(string)
	if !ok {
		contextName = units.DefaultContext
	}
	id := units.ID{Context: contextName, Name: name}
	if err := id.Check(); err != nil {
		return units.Errorf(units.CodeInvalidDefinition, "in %s: %w", cc.String("file"), err)
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	old, err := registered(ctx, api, id)
	if err != nil {
		return err
	}
	if cc.Bool("dry-run") {
		return c.preview(id, old, def, false)
	}
	return c.apply(ctx, api, id, old, def, false, cc.Bool("now"))
}

// registered is the definition that the service has, nil for none.
func registered(ctx context.Context, api API, id units.ID) (map[string]any, error) {
	def, err := api.Definition(ctx, id)
	if units.CodeOf(err) == units.CodeNoSuchService {
		return nil, nil
	}
	return def, err
}

// definitionPatch is what the flags say, as a part of a definition.
func definitionPatch(cc *cli.Context, id units.ID, old map[string]any) (map[string]any, error) {
	patch, action, err := presetOf(cc, id)
	if err != nil {
		return nil, err
	}
	patch["context"], patch["name"] = id.Context, id.Name
	if err := putFlags(cc, serviceFields, patch); err != nil {
		return nil, err
	}
	if err := putFlags(cc, actionFields, action); err != nil {
		return nil, err
	}
	if len(action) == 0 && !cc.IsSet("action") {
		if old == nil && cc.String("status") != string(units.WantedSpec) {
			return nil, usagef(cc, "%q is not registered; a new service needs --exec 'COMMAND', or --preset", id.String())
		}
		return patch, nil
	}
	// Without a name, the daemon takes the sole action to be meant.
	names := actionNames(old)
	switch {
	case cc.IsSet("action"):
		action["name"] = cc.String("action")
	case len(names) > 1:
		return nil, usagef(cc, "%q has the actions %s; say by --action which one is meant", id.String(), strings.Join(names, ", "))
	}
	patch["actions"] = []map[string]any{action}
	return patch, nil
}

func actionNames(def map[string]any) []string {
	var names []string
	for _, a := range actionsOf(def) {
		names = append(names, fmt.Sprint(a["name"]))
	}
	return names
}

// putFlags puts the value of each flag that was given under its key.
func putFlags(cc *cli.Context, fields []field, into map[string]any) error {
	for _, f := range fields {
		if !cc.IsSet(f.flag) {
			continue
		}
		switch f.kind {
		case inverse:
			into[f.key] = !cc.Bool(f.flag)
		case toggle:
			into[f.key] = cc.Bool(f.flag)
		case list:
			into[f.key] = slices.DeleteFunc(cc.StringSlice(f.flag), func(s string) bool { return s == "" })
		case pairs:
			m := map[string]string{}
			for i, s := range cc.StringSlice(f.flag) {
				if s == "" {
					continue
				}
				k, v, ok := strings.Cut(s, "=")
				if !ok || k == "" {
					// Without the value itself: it may be a secret with a slip of the finger.
					return usagef(cc, "value %d of %s is not NAME=VALUE", i+1, dashed(f.flag))
				}
				m[k] = v
			}
			into[f.key] = m
		default:
			into[f.key] = cc.String(f.flag)
		}
	}
	return nil
}

// apply sends a definition, and says what it did and what comes next.
func (c *call) apply(ctx context.Context, api API, id units.ID, old, def map[string]any, merge, now bool) error {
	if err := api.Set(ctx, def, merge); err != nil {
		return err
	}
	did := "registered"
	if old != nil {
		did = "changed"
		if after, err := api.Definition(ctx, id); err == nil && reflect.DeepEqual(old, after) {
			did = "unchanged"
		}
	}
	s, err := api.Status(ctx, id)
	if err != nil {
		return err
	}
	c.result["did"] = did
	c.result["service"] = viewStatus(s)
	c.say("%s %s%s", did, id, next(s, now))
	if !now {
		return nil
	}
	if s.Unit.Active == "active" && (s.Stale || s.State == units.StateRunning) {
		c.result["services"] = []outcomeView{{Context: id.Context, Name: id.Name, Phase: string(units.PhaseRunning)}}
		return nil // a start of what runs does nothing, and must not read as if the change had been applied
	}
	if s.Wanted == units.WantedSpec {
		return units.Errorf(units.CodeNotStartable, "cannot start %q: it is a definition only (wanted status spec)", id.String())
	}
	err = c.control(ctx, api, []units.ID{id}, starting, 0)
	if s, serr := api.Status(ctx, id); serr == nil {
		c.result["service"] = viewStatus(s)
	}
	return err
}

// next says what comes after a definition was set.
func next(s units.Status, now bool) string {
	name := short(s.ID)
	switch {
	case s.Stale && now && s.Unit.Active == "active":
		return "; it runs already, with its old definition. To apply it: hero_proc service restart " + name
	case s.Stale && s.Unit.Sub == "auto-restart" && s.Wanted != units.WantedSpec:
		// The daemon does not let systemd go on with what is wrong.
		return "; it waited to be restarted, and is started now with its new definition"
	case s.Stale:
		return "; it " + stale(s)
	case now && s.State == units.StateRunning:
		return "; it runs already"
	case now:
		return ""
	case s.Unit.Alive():
		return "; it is " + string(s.State)
	}
	start := "To start it now: hero_proc service start " + name
	switch s.Wanted {
	case units.WantedStart:
		return "; it starts at boot. " + start
	case units.WantedSpec:
		return "; it is a definition only, nothing starts it"
	default:
		return "; it does not start at boot. " + start
	}
}

// stale says what has an old definition of a service still, and for how long.
func stale(s units.Status) string {
	does := "runs"
	switch s.Unit.Active {
	case "activating":
		does = "starts"
		if s.Unit.Sub == "auto-restart" {
			does = "waits to be restarted,"
		}
	case "inactive", "failed", "deactivating":
		if !slices.ContainsFunc(s.Actions, func(a units.ActionStatus) bool { return a.Unit.Alive() }) {
			return "has its old definition until its next start"
		}
		does = "has actions that run"
	}
	return does + " with its old definition until: hero_proc service restart " + short(s.ID)
}
