package probe

import (
	"context"
	"net"
)

// askConnection is content with a connection. It sends nothing.
func askConnection(ctx context.Context, q Question) Answer {
	conn, err := dial(ctx, q)
	if err != nil {
		return unreachable(err)
	}
	conn.Close()
	return Answer{Ready, "it accepts connections"}
}

func dial(ctx context.Context, q Question) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, q.Network, q.Address)
}
