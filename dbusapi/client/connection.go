package client

import (
	"context"
	"sync"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// Client calls hero_proc. Many goroutines may use it at once.
//
// It lives as long as its program: when the daemon is restarted, or the bus,
// the calls that were in flight end with [units.CodeNotRunning], and a later
// one finds the daemon again, on a new connection if need be. No call is ever
// sent twice: what was in flight may have been done.
type Client struct {
	dial dialer
	// turn is held while conn is looked at or dialled. It is no mutex because
	// a call that waits for another's dialling must end with its own context.
	turn chan struct{}
	conn *dbus.Conn

	mu       sync.Mutex
	watchers map[*watcher]struct{}

	closed context.Context
	close  context.CancelFunc

	interactive bool
	remote      bool // of DialHost
}

type dialer func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error)

// Dial connects to the system bus, or to $DBUS_SYSTEM_BUS_ADDRESS. ctx bounds
// the dialling alone. It does not ask whether the daemon is there.
func Dial(ctx context.Context) (*Client, error) { return DialAddress(ctx, "") }

// DialAddress connects to the bus at a D-Bus address such as unix:path=/run/bus.
func DialAddress(ctx context.Context, address string) (*Client, error) {
	return open(ctx, func(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
		conn, err := wire.Dial(ctx, address, wire.MaxMessage, opts...)
		if err != nil && ctx.Err() == nil {
			err = notRunning("hero_proc can't be reached: %w", err)
		}
		return conn, err
	})
}

func open(ctx context.Context, dial dialer) (*Client, error) {
	c := &Client{dial: dial, turn: make(chan struct{}, 1), watchers: map[*watcher]struct{}{}}
	c.closed, c.close = context.WithCancel(context.Background())
	if _, err := c.connection(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection, and with it every call in flight and every watch.
func (c *Client) Close() error {
	c.close()
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if c.conn == nil || c.conn.Context().Err() != nil {
		return nil // it broke, or was closed before
	}
	return c.conn.Close()
}

// connection is the one there is, or a new one when that broke.
func (c *Client) connection(ctx context.Context) (*dbus.Conn, error) {
	// Close waits for nobody's dialling.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closed, cancel)()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, c.ended(ctx.Err())
	}
	defer func() { <-c.turn }()
	if c.closed.Err() != nil {
		return nil, c.ended(c.closed.Err())
	}
	if c.conn != nil && c.conn.Context().Err() == nil {
		return c.conn, nil
	}
	conn, err := c.dial(ctx, dbus.WithSignalHandler(c.signals()))
	switch {
	case ctx.Err() != nil:
		if err == nil {
			conn.Close()
		}
		return nil, c.ended(ctx.Err())
	case err != nil:
		return nil, err
	}
	c.conn = conn
	return conn, nil
}

// ended is the error for a context that ended, the caller's or the client's.
func (c *Client) ended(err error) error {
	if c.closed.Err() != nil {
		return units.Errorf(units.CodeCanceled, "the client was closed: %w", c.closed.Err())
	}
	return fromBus(err)
}
