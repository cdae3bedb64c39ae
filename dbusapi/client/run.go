package client

import (
	"context"
	"os"
	"runtime"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Run runs a program once, as an ad-hoc run, and returns at once with its job;
// [Client.Wait] returns when it has ended, [Client.Cancel] ends it. The keys of
// def are [units.RunFields]. Who may call it is as good as root.
func (c *Client) Run(ctx context.Context, def map[string]any) (units.Job, error) {
	out, err := wire.EncodeDefinition(def)
	if err != nil {
		return units.Job{}, err
	}
	return c.started(ctx, "RunJob", out, uint64(0))
}

// RunWithFiles is [Client.Run] with the program's standard streams connected to
// files. They may be closed when it has returned. It does not work over
// [DialHost]: files don't travel.
func (c *Client) RunWithFiles(ctx context.Context, def map[string]any, stdin, stdout, stderr *os.File) (units.Job, error) {
	out, err := wire.EncodeDefinition(def)
	if err != nil {
		return units.Job{}, err
	}
	if c.remote {
		return units.Job{}, units.Errorf(units.CodeInvalidArgument, "the streams of a program can't be connected to another machine's")
	}
	args := []any{out}
	for _, f := range []*os.File{stdin, stdout, stderr} {
		raw, err := f.SyscallConn()
		if err == nil {
			// Not Fd, which would change the file for all who share it.
			err = raw.Control(func(fd uintptr) { args = append(args, dbus.UnixFD(fd)) })
		}
		if err != nil {
			return units.Job{}, units.Errorf(units.CodeInvalidArgument, "cannot use %s: %w", f.Name(), err)
		}
	}
	job, err := c.started(ctx, wire.FilesMember, append(args, uint64(0))...)
	runtime.KeepAlive([]*os.File{stdin, stdout, stderr})
	return job, err
}

// started calls a method that answers a job.
func (c *Client) started(ctx context.Context, member string, in ...any) (units.Job, error) {
	path, err := call[dbus.ObjectPath](ctx, c, CallTimeout, wire.RootPath, wire.ManagerInterface+"."+member, in...)
	if err != nil {
		return units.Job{}, err
	}
	return c.Job(ctx, wire.ParsePath(path).Job)
}
