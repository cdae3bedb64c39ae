package daemon

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestVarlink(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer, want string // want is a part of the error, "" is none
	}{
		{"done", "{\"parameters\":{}}\x00", ""},
		{"refused", "{\"error\":\"org.varlink.service.PermissionDenied\"}\x00", "PermissionDenied"},
		{"no JSON", "nonsense\x00", "invalid character"},
		{"hung up", "{", "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "s")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			asked := make(chan string, 1)
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				call, _ := bufio.NewReader(conn).ReadString(0)
				asked <- call
				_, _ = conn.Write([]byte(c.answer))
			}()
			err = varlink(t.Context(), socket, "a.b.C")
			if call := <-asked; call != "{\"method\":\"a.b.C\",\"parameters\":{}}\x00" {
				t.Errorf("asked %q", call)
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("answered %v, want %q", err, c.want)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		socket := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := varlink(ctx, socket, "a.b.C"); err == nil {
			t.Error("silence was an answer")
		}
	})
}
