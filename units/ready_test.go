package units

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// The fields that say when an action is ready have to go together.
func TestReadiness(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		action m
		want   []string // all problems; none is valid
	}{
		{"executed", m{"ready": "exec"}, nil},
		{"a probe alone", m{"ready": "tcp:localhost:80"}, nil},
		{"all of HTTP", m{"ready": "http://localhost", "ready_status": 204, "ready_match": "ok", "ready_interval": "1s", "ready_timeout": "5s", "timeout_start": "6s"}, nil},
		{"all of Redis", m{"ready": "redis+unix:/s", "credentials": m{"p": "/p"}, "ready_credential": "p"}, nil},
		{"times without a probe", m{"ready_interval": "1s", "ready_timeout": "5s"}, []string{
			`ready_interval is given, and ready is "exec"; want nothing, or a probe`,
			`ready_timeout is given, and ready is "exec"; want nothing, or a probe`,
		}},
		{"a status without HTTP", m{"ready": "tcp:localhost:80", "ready_status": 200}, []string{
			`ready_status is for probes of kind http, and ready is one of kind connect; want nothing`,
		}},
		{"text without a probe", m{"ready": "notify", "ready_match": "ok"}, []string{
			`ready_match is given, and ready is "notify"; want nothing, or a probe`,
		}},
		{"a password without Redis", m{"ready": "http://localhost", "credentials": m{"p": "/p"}, "ready_credential": "p"}, []string{
			`ready_credential is for probes of kind redis, and ready is one of kind http; want nothing`,
		}},
		{"a password that nobody has", m{"ready": "redis://", "ready_credential": "p"}, []string{
			`ready_credential is "p", which is no credential of the action; want a name that credentials has`,
		}},
		{"no status of HTTP", m{"ready": "http://localhost", "ready_status": 1000}, []string{
			`ready_status is 1000; want a status of HTTP, from 100 to 599`,
		}},
		{"too much text", m{"ready": "http://localhost", "ready_match": strings.Repeat("x", 1025)}, []string{
			`ready_match has 1025 bytes; want at most 1024`,
		}},
		{"too often", m{"ready": "redis://", "ready_interval": "1ms"}, []string{
			`ready_interval is 1ms; want 10ms or more, and less than ready_timeout, which is 30s`,
		}},
		{"not even twice", m{"ready": "redis://", "ready_interval": "5s", "ready_timeout": "5s"}, []string{
			`ready_interval is 5s; want 10ms or more, and less than ready_timeout, which is 5s`,
		}},
		{"systemd gives up first", m{"ready": "redis://", "timeout_start": "30s"}, []string{
			`timeout_start is 30s; want at least 1s more than ready_timeout, which is 30s, or nothing`,
		}},
		{"a probe of what ends", m{"ready": "redis://", "is_process": false}, []string{
			`ready is a probe; want "exec", since the action is no process`,
		}},
		{"a long probe", m{"ready": "exec:a " + strings.Repeat("x", 4096)}, []string{
			`ready has 4103 bytes; want at most 4096`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.action["exec"] = "true"
			_, err := DecodeService(m{"name": "x", "actions": []any{tt.action}})
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var want []string
			for _, w := range tt.want {
				want = append(want, "actions[main]."+w)
			}
			if got := problemsOf(t, err); !reflect.DeepEqual(got, want) {
				t.Errorf("problems are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestReadyWait(t *testing.T) {
	t.Parallel()
	a := NewAction("x")
	if interval, timeout := a.ReadyWait(); interval != 100*time.Millisecond || timeout != 30*time.Second {
		t.Errorf("without anything said: %s, %s", interval, timeout)
	}
	a.ReadyInterval, a.ReadyTimeout = time.Second, time.Minute
	if interval, timeout := a.ReadyWait(); interval != time.Second || timeout != time.Minute {
		t.Errorf("as said: %s, %s", interval, timeout)
	}
}

// Whoever waits for "active" may believe it, or not.
func TestProven(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ready   Ready
		process bool
		want    bool
	}{
		{ready: ReadyExec, process: true, want: false},
		{ready: ReadyExec, process: false, want: true},
		{ready: ReadyNotify, process: true, want: true},
		{ready: "redis://", process: true, want: true},
		{ready: "", process: true, want: false},
	} {
		if got := (Action{Ready: tt.ready, Process: tt.process}).Proven(); got != tt.want {
			t.Errorf("%q, a process: %t, is proven: %t", tt.ready, tt.process, got)
		}
	}
}
