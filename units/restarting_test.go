package units

import (
	"reflect"
	"testing"
	"time"
)

func TestRetryWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		r    Restarting
		want []time.Duration // after 0, 1, 2, … tries
	}{
		{"by default it doubles from a minute to an hour", Restarting{}, []time.Duration{
			time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour,
		}},
		{"it ends at the cap exactly", Restarting{RetryDelay: time.Second, RetryDelayMax: 3 * time.Second}, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}},
		{"a cap that is the delay", Restarting{RetryDelay: time.Second, RetryDelayMax: time.Second}, []time.Duration{time.Second, time.Second}},
		{"a delay beyond the default cap", Restarting{RetryDelay: 2 * time.Hour}, []time.Duration{2 * time.Hour, 2 * time.Hour}},
	} {
		for tries, want := range tt.want {
			if got := tt.r.RetryWait(tries); got != want {
				t.Errorf("%s: after %d tries it is %s, want %s", tt.name, tries, got, want)
			}
		}
		if got, want := tt.r.RetryWait(1<<30), tt.want[len(tt.want)-1]; got != want {
			t.Errorf("%s: in the end it is %s, want %s", tt.name, got, want)
		}
	}
}

// What no unit is made of makes no unit stale; what is as before has its old digest.
func TestDigestOfPolicy(t *testing.T) {
	t.Parallel()
	digest := func(key string, v any) string {
		t.Helper()
		action := m{"exec": "true"}
		def := m{"name": "x", "actions": []any{action}}
		if key == "restart_with_requires" {
			def[key] = v
		} else if key != "" {
			action[key] = v
		}
		s, err := DecodeService(def)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	plain := digest("", nil)
	for key, v := range map[string]any{
		"restart_with_requires": false, "restart_retry": false, "restart_retry_delay": "5m", "restart_retry_delay_max": "5h", "restart_reset_after": "5m",
	} {
		if digest(key, v) != plain {
			t.Errorf("%s changes the digest", key)
		}
	}
	for key, v := range map[string]any{"restart_delay_max": "5m", "sockets": "/s", "ports": "80"} {
		if digest(key, v) == plain {
			t.Errorf("%s does not change the digest", key)
		}
	}
}

func TestRestartingAndPreparingGoTogether(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		action m
		want   []string
	}{
		{"all of it", m{"restart_delay_max": "1m", "restart_steps": 3, "restart_retry_delay": "1s", "restart_retry_delay_max": "2s", "sockets": "/s", "ports": []any{"80", "127.0.0.1:80"}, "kill_others": true}, nil},
		{"retry is off", m{"restart_retry": false}, nil},
		{"never restarted", m{"restart": "no", "restart_delay_max": "1m", "restart_retry_delay": "1s", "restart_retry_delay_max": "2s"}, []string{
			`actions[main].restart_delay_max is given, and restart is "no"; want nothing, or another restart`,
			`actions[main].restart_retry_delay is given, and restart is "no"; want nothing, or another restart`,
			`actions[main].restart_retry_delay_max is given, and restart is "no"; want nothing, or another restart`,
		}},
		{"steps to nowhere", m{"restart_steps": 3}, []string{`actions[main].restart_steps is given without restart_delay_max; want both, or none`}},
		{"a delay that does not grow", m{"restart_delay": "1m", "restart_delay_max": "1m"}, []string{`actions[main].restart_delay_max is 1m0s; want more than restart_delay, which is 1m0s`}},
		{"a cap below the delay", m{"restart_retry_delay_max": "1s"}, []string{`actions[main].restart_retry_delay_max is 1s; want at least restart_retry_delay, which is 1m0s`}},
		{"ports of a one-shot", m{"is_process": false, "ports": "80"}, []string{`actions[main].ports is given, and the action is no process; want nothing, or is_process`}},
		{"sockets of a one-shot", m{"is_process": false, "sockets": "/s"}, []string{`actions[main].sockets is given, and the action is no process; want nothing, or is_process`}},
		{"nobody to be killed", m{"kill_others": true}, []string{`actions[main].kill_others is true without sockets or ports; want one of these, or nothing`}},
		{"sockets", m{"sockets": []any{"s", "/s", "/s"}}, []string{
			`actions[main].sockets[0] has a path that is not an absolute path without "//", "." and ".."; want one`,
			`actions[main].sockets[2] was given before; want each once`,
		}},
		{"ports", m{"ports": []any{"http", "0", "65536", "localhost:80", "::1:80", "[127.0.0.1]:80", "[fe80::1%eth0]:80", "080", ":80"}}, []string{
			`actions[main].ports[0] has no port from 1 to 65535; want [HOST:]PORT`,
			`actions[main].ports[1] has no port from 1 to 65535; want [HOST:]PORT`,
			`actions[main].ports[2] has no port from 1 to 65535; want [HOST:]PORT`,
			`actions[main].ports[3] has no valid host; want an address such as 127.0.0.1 or [::1], or the port alone`,
			`actions[main].ports[4] has no valid host; want an address such as 127.0.0.1 or [::1], or the port alone`,
			`actions[main].ports[5] has no valid host; want an address such as 127.0.0.1 or [::1], or the port alone`,
			`actions[main].ports[6] has no valid host; want an address such as 127.0.0.1 or [::1], or the port alone`,
			`actions[main].ports[7] has no port from 1 to 65535; want [HOST:]PORT`,
			`actions[main].ports[8] has no valid host; want an address such as 127.0.0.1 or [::1], or the port alone`,
		}},
	} {
		tt.action["exec"] = "true"
		_, err := DecodeService(m{"name": "x", "actions": []any{tt.action}})
		if tt.want == nil {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if got := problemsOf(t, err); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: problems are %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestParsePort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"80": "80", "127.0.0.1:6379": "127.0.0.1:6379", "[::1]:80": "[::1]:80", "0.0.0.0:80": "0.0.0.0:80", "[::]:80": "[::]:80",
		"[::ffff:127.0.0.1]:80": "127.0.0.1:80",
	} {
		if p, err := ParsePort(text); err != nil || p.String() != want {
			t.Errorf("%s reads as %s, %v; want %s", text, p, err, want)
		}
	}
}
