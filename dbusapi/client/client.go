// Package client calls hero_proc over D-Bus: the command line's only way to
// the daemon, and everybody's SDK.
//
// A service of Hero does three things with it: it registers itself
// ([Client.Register]), waits for what it needs ([Client.WaitActive]), and may
// follow what changes ([Client.Watch]). The rest is one method for each call of
// the API, which the manual page tf.ourworld.HeroProc1(5) describes.
//
// What lives here is calls and waiting, in the domain's types. What never may:
// a decision about services, a call that is sent twice, or a second spelling
// of what the wire looks like.
//
// Every error is a *units.Error with the daemon's code and, where there is
// one, the remedy: units.CodeOf tells them apart. [units.CodeNotRunning] means
// that the daemon is not on the bus, or left it during the call.
package client

import (
	"context"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// CallTimeout is the deadline of a call whose context has none. Wait and
// WaitReady have no deadline but their context's.
const CallTimeout = 30 * time.Second

// Health is what the supervisor says of itself.
func (c *Client) Health(ctx context.Context) (units.Health, error) {
	return properties(ctx, c, wire.RootPath, wire.ManagerInterface, wire.Health)
}

// Services is the status of all registered services.
func (c *Client) Services(ctx context.Context) ([]units.Status, error) {
	rows, err := call[[]dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".ListServices")
	if err != nil {
		return nil, err
	}
	return decoded(wire.Status.DecodeAll(rows))
}

// ServicesIn is the status of the services of one context that are in one
// state; "" is any. It is [Client.Services] with less to send.
func (c *Client) ServicesIn(ctx context.Context, context string, state units.State) ([]units.Status, error) {
	filter := wire.ServiceFilter{Context: context, State: state}
	rows, err := call[[]dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".ListServicesFiltered", filter.Encode(), uint64(0))
	if err != nil {
		return nil, err
	}
	return decoded(wire.Status.DecodeAll(rows))
}

// Contexts are the contexts that have services.
func (c *Client) Contexts(ctx context.Context) ([]units.ContextStatus, error) {
	rows, err := call[[]dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".ListContexts", uint64(0))
	if err != nil {
		return nil, err
	}
	return decoded(wire.Context.DecodeAll(rows))
}

// Status is that of one service.
func (c *Client) Status(ctx context.Context, id units.ID) (units.Status, error) {
	if err := id.Check(); err != nil {
		return units.Status{}, err
	}
	return properties(ctx, c, wire.ServicePath(id), wire.ServiceInterface, wire.Status)
}

// Definition is a service's definition, in the shapes of JSON. For a caller
// who may not define the service it has no environments and credentials, and
// the key [wire.EnvWithheld]; [Client.Set] refuses such a definition.
func (c *Client) Definition(ctx context.Context, id units.ID) (map[string]any, error) {
	if err := id.Check(); err != nil {
		return nil, err
	}
	def, err := call[dict](ctx, c, CallTimeout, wire.ServicePath(id), wire.ServiceInterface+".GetDefinition", uint64(0))
	if err != nil {
		return nil, err
	}
	return decoded(wire.DecodeDefinition(def))
}

// Explain says why a service is in the state that it is in, also of one that
// is not registered.
func (c *Client) Explain(ctx context.Context, id units.ID) (units.Explanation, error) {
	row, err := call[dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".ExplainService", id.Context, id.Name, uint64(0))
	if err != nil {
		return units.Explanation{}, err
	}
	return decoded(wire.Explanation.Decode(row))
}

// Dependencies are what all services say of each other.
func (c *Client) Dependencies(ctx context.Context) ([]units.Dependency, error) {
	rows, err := call[[]dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".ListDependencies", uint64(0))
	if err != nil {
		return nil, err
	}
	return decoded(wire.Dependency.DecodeAll(rows))
}

// AnalyzeBoot says what the last boot of the machine waited for.
func (c *Client) AnalyzeBoot(ctx context.Context) (units.BootAnalysis, error) {
	row, err := call[dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".AnalyzeBoot", uint64(0))
	if err != nil {
		return units.BootAnalysis{}, err
	}
	return decoded(wire.BootAnalysis.Decode(row))
}

// Set registers a service from its definition, as JSON or TOML have it; with
// merge, def is laid over what is registered. [Client.Register] takes a typed one.
func (c *Client) Set(ctx context.Context, def map[string]any, merge bool) error {
	out, err := wire.EncodeDefinition(def)
	if err != nil {
		return err
	}
	_, err = call[none](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".SetService", out, flag(merge, wire.FlagMerge))
	return err
}

// Register registers a service, or replaces its definition. A running unit
// keeps the old one until it is restarted. With an empty Wanted, the wanted
// status stays as the operator has set it; a new service gets start.
func (c *Client) Register(ctx context.Context, s units.Service) error {
	if s.Wanted == "" {
		s.Wanted = units.WantedStart
		status, err := c.Status(ctx, s.ID)
		switch {
		case err == nil:
			s.Wanted = status.Wanted
		case units.CodeOf(err) != units.CodeNoSuchService:
			return err
		}
	}
	return c.Set(ctx, s.Encode(), false)
}

// Remove takes a service out of the store; with stop, it is stopped first.
func (c *Client) Remove(ctx context.Context, id units.ID, stop bool) error {
	_, err := call[none](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".RemoveService", id.Context, id.Name, flag(stop, wire.FlagStop))
	return err
}

// Start starts a service and returns at once with the job; [Client.WaitReady]
// tells how it went. A job without an ID means that there was nothing to do.
func (c *Client) Start(ctx context.Context, id units.ID) (units.Job, error) {
	return c.control(ctx, "StartService", id)
}

// Stop stops a service and returns at once with the job that ends;
// [Client.Wait] returns when it has. A job without an ID means that there was
// nothing to do.
func (c *Client) Stop(ctx context.Context, id units.ID) (units.Job, error) {
	return c.control(ctx, "StopService", id)
}

// Restart stops a service if it runs, starts it, and returns at once with the
// new job.
func (c *Client) Restart(ctx context.Context, id units.ID) (units.Job, error) {
	return c.control(ctx, "RestartService", id)
}

// Job is a job as it is now.
func (c *Client) Job(ctx context.Context, job int64) (units.Job, error) {
	if job <= 0 {
		return units.Job{}, noSuchJob(job)
	}
	return properties(ctx, c, wire.JobPath(job), wire.JobInterface, wire.Job)
}

// Jobs are the newest jobs of the history that the filter selects, the oldest
// of them first. With Live they are those that are not over.
func (c *Client) Jobs(ctx context.Context, filter units.JobFilter) ([]units.Job, error) {
	rows, err := call[[]dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".ListJobs",
		wire.EncodeJobFilter(filter), flag(!filter.Live, wire.FlagHistory))
	if err != nil {
		return nil, err
	}
	return decoded(wire.Job.DecodeAll(rows))
}

// Cancel stops what a job runs, and returns at once; [Client.Wait] returns
// when it has ended.
func (c *Client) Cancel(ctx context.Context, job int64) error {
	if job <= 0 {
		return noSuchJob(job)
	}
	_, err := call[none](ctx, c, CallTimeout, wire.JobPath(job), wire.JobInterface+".Cancel", uint64(0))
	return err
}

// WaitReady returns when the job is running, which means ready, or terminal.
func (c *Client) WaitReady(ctx context.Context, job int64) (units.Job, error) {
	return c.wait(ctx, "WaitReady", job)
}

// Wait returns when the job is terminal. The daemon gives a wait up after an
// hour, with [units.CodeTimeout].
func (c *Client) Wait(ctx context.Context, job int64) (units.Job, error) {
	return c.wait(ctx, "Wait", job)
}

// Logs are the newest entries that the filter selects, the oldest of them first.
func (c *Client) Logs(ctx context.Context, filter units.LogFilter) ([]units.LogEntry, error) {
	rows, err := call[[]dict](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".QueryLogs", wire.EncodeFilter(filter))
	if err != nil {
		return nil, err
	}
	return decoded(wire.LogEntry.DecodeAll(rows))
}

// PruneLogs deletes all entries that the filter selects, its Limit ignored,
// and tells how many they were. A filter that selects everything is refused
// unless everything is said to be meant.
func (c *Client) PruneLogs(ctx context.Context, filter units.LogFilter, everything bool) (int64, error) {
	filter.Limit = 0
	pruned, err := call[uint64](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".PruneLogs",
		wire.EncodeFilter(filter), flag(everything, wire.FlagEverything))
	return int64(pruned), err
}

// Metrics is what there is to measure, as OpenMetrics text.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	return call[string](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+".Metrics")
}

func (c *Client) control(ctx context.Context, member string, id units.ID) (units.Job, error) {
	path, err := call[dbus.ObjectPath](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+"."+member, id.Context, id.Name, uint64(0))
	if err != nil {
		return units.Job{}, err
	}
	if path == wire.NoJob {
		return units.Job{Service: id}, nil
	}
	return c.Job(ctx, wire.ParsePath(path).Job)
}

func (c *Client) wait(ctx context.Context, member string, job int64) (units.Job, error) {
	if job <= 0 {
		return units.Job{}, noSuchJob(job)
	}
	row, err := call[dict](ctx, c, 0, wire.JobPath(job), wire.JobInterface+"."+member, uint64(0))
	if err != nil {
		return units.Job{}, err
	}
	return decoded(wire.Job.Decode(row))
}

type (
	dict = map[string]dbus.Variant
	none struct{} // no answer but that it is done
)

// call makes a call that answers a T. timeout holds if ctx has no deadline; 0
// is none. There is no conversion: dbus.Store would cost a copy of each value.
func call[T any](ctx context.Context, c *Client, timeout time.Duration, path dbus.ObjectPath, method string, in ...any) (out T, err error) {
	if timeout > 0 && c.interactive {
		timeout = InteractiveTimeout
	}
	if _, ok := ctx.Deadline(); !ok && timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := c.connection(ctx)
	if err != nil {
		return out, err
	}
	reply := c.send(ctx, conn, path, method, in)
	if reply.Err != nil {
		return out, c.ended(reply.Err)
	}
	body := append(reply.Body, none{}) // which stands for an empty one
	out, ok := body[0].(T)
	if !ok {
		return out, garbled(fmt.Errorf("%s answered %q", method, dbus.SignatureOf(reply.Body...)))
	}
	return out, nil
}

// properties reads all properties of an object into a T.
func properties[T any](ctx context.Context, c *Client, path dbus.ObjectPath, iface string, table wire.Table[T]) (v T, err error) {
	row, err := call[dict](ctx, c, CallTimeout, path, wire.PropertiesInterface+".GetAll", iface)
	if err != nil {
		return v, err
	}
	return decoded(table.Decode(row))
}

func decoded[T any](v T, err error) (T, error) {
	if err != nil {
		return v, garbled(err)
	}
	return v, nil
}

func flag(set bool, bit uint64) uint64 {
	if set {
		return bit
	}
	return 0
}
