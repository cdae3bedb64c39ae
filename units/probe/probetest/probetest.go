// Package probetest has servers for the tests of those who ask probes.
package probetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// Redis answers each command, its words joined by blanks, with a reply. It
// gives the probe that asks it.
func Redis(t testing.TB, replies map[string]string) string {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, replies)
		}
	}()
	return "redis+unix:" + l.Addr().String()
}

func answer(conn net.Conn, replies map[string]string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var n, size int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
			return
		}
		words := make([]string, n)
		for i := range words {
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return
			}
			word := make([]byte, size+2)
			if _, err := io.ReadFull(r, word); err != nil {
				return
			}
			words[i] = string(word[:size])
		}
		io.WriteString(conn, replies[strings.Join(words, " ")])
	}
}
