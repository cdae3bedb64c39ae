package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestLateLines(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	short := units.Job{InvocationID: "me", Created: start, Ended: start.Add(10 * time.Millisecond)}
	long := units.Job{InvocationID: "me", Created: start, Ended: start.Add(time.Hour)}
	for _, tt := range []struct {
		name string
		job  units.Job
		near string // lines: invocation:stream, those of systemd with no stream
		want string // the places of the late lines, its runs apart
	}{
		{"none", short, "me me:s me:s me", ""},
		{"nothing at all", short, "", ""},
		{"the last words", short, "me me:s me :s", "[3]"},
		{"all that was said", short, "me :s :s me", "[1 2]"},
		{"all, after systemd had the last word", short, "me me :s :s", "[2 3]"},
		{"of a job before it", short, "before:r before :r me me:s me", ""},
		{"of a job before it of which nothing else is seen", short, ":r me me:s :s", "[3]"},
		{"of a job after it", short, "me me:s me next :n next", ""},
		{"late, when the next one runs already", short, "me me:s me next :s next:n :n", "[4]"},
		{"with others in between", short, "me me:s :s me:s :s me", "[2][4]"},
		{"two streams", short, "me me:out me:err :err :out me", "[3 4]"},
		{"the end of a long job", long, ":s me :s", "[0 2]"},
		{"the end of a long job, and the next one", long, "me :s next :n", "[1]"},
	} {
		var near []spoken
		for i, line := range strings.Fields(tt.near) {
			invocation, stream, process := strings.Cut(line, ":")
			s := spoken{Cursor: fmt.Sprint(i), Stream: stream, Invocation: invocation, PID: "77"}
			if !process {
				s = spoken{Cursor: s.Cursor, About: invocation, Invocation: "that of init.scope", PID: "1"}
			}
			near = append(near, s)
		}
		got := ""
		for _, run := range late(tt.job, near) {
			var places []string
			for _, s := range run {
				places = append(places, s.Cursor)
			}
			got += fmt.Sprint(places)
		}
		if got != tt.want {
			t.Errorf("%s: late are %s; want %s", tt.name, got, tt.want)
		}
	}
}
