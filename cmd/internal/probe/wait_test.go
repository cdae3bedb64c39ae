package probe

import (
	"context"
	"errors"
	"os/exec"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units/probe"
)

// script gives the answers in turn, the last one for ever. Each takes its time.
func script(takes time.Duration, answers ...probe.Answer) func(context.Context) probe.Answer {
	return func(ctx context.Context) probe.Answer {
		a := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		select {
		case <-time.After(takes):
			return a
		case <-ctx.Done():
			return probe.Answer{State: probe.NotYet, Says: "cut short"}
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	refused, loading, wrong, pong := probe.Answer{State: probe.NotYet, Says: "refused"}, probe.Answer{State: probe.NotYet, Says: "loading"}, probe.Answer{State: probe.Never, Says: "wrong"}, probe.Answer{State: probe.Ready, Says: "PONG"}
	for _, tt := range []struct {
		name    string
		takes   time.Duration
		answers []probe.Answer
		want    outcome
		told    []probe.Answer
	}{
		{"ready at once", 0, []probe.Answer{pong}, outcome{pong, 1, 0}, []probe.Answer{pong}},
		{"ready later; each news once", 0, []probe.Answer{refused, refused, loading, loading, pong}, outcome{pong, 5, 15 * time.Second / 16}, []probe.Answer{refused, loading, pong}},
		{"never", 0, []probe.Answer{refused, wrong}, outcome{wrong, 2, time.Second / 16}, []probe.Answer{refused, wrong}},
		{"not in time", 0, []probe.Answer{refused}, outcome{refused, 13, 9500 * time.Millisecond}, []probe.Answer{refused}},
		{"not in time, with the last try cut short", 4 * time.Second, []probe.Answer{loading}, outcome{loading, 3, 9500 * time.Millisecond}, []probe.Answer{loading}},
		{"not even one answer in time", time.Minute, []probe.Answer{loading}, outcome{probe.Answer{State: probe.NotYet, Says: "cut short"}, 1, 9500 * time.Millisecond}, []probe.Answer{{State: probe.NotYet, Says: "cut short"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
				defer cancel()
				var told []probe.Answer
				got := wait(ctx, time.Second, script(tt.takes, tt.answers...), func(a probe.Answer) { told = append(told, a) })
				if got != tt.want || !reflect.DeepEqual(told, tt.told) {
					t.Errorf("it was %+v, and told %+v; want %+v and %+v", got, told, tt.want, tt.told)
				}
			})
		})
	}
}

func TestWhileAlive(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := whileAlive(t.Context(), cmd.Process.Pid)
	defer cancel()
	if ctx.Err() != nil {
		t.Fatalf("while it runs: %v", context.Cause(ctx))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("nobody noticed that it has ended")
	}
	if !errors.Is(context.Cause(ctx), errEnded) {
		t.Errorf("cause is %v", context.Cause(ctx))
	}

	gone, cancel := whileAlive(t.Context(), cmd.Process.Pid)
	defer cancel()
	select {
	case <-gone.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("nobody noticed that it has ended before")
	}
}
