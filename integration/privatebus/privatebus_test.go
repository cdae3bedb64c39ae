package privatebus

import "testing"

func TestRestartKeepsTheAddress(t *testing.T) {
	b := Start(t)
	first := b.Conn()
	address := b.Address
	b.Restart()
	if b.Address != address {
		t.Errorf("address is %q after a restart, was %q", b.Address, address)
	}
	<-first.Context().Done() // the old connection breaks
	var names []string
	if err := b.Conn().BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Error(err)
	}
}
