package transient

import (
	"os"
	"strings"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestRun(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/runs/want.txt")
	if err != nil {
		t.Fatal(err)
	}
	plain := units.NewAction(units.DefaultAction)
	plain.Process, plain.Exec = false, []string{"echo", "hi"}
	process, limited := plain, plain
	process.Process, process.TimeoutStart = true, 7*time.Second
	limited.Name, limited.TimeoutStart, limited.TimeoutStop, limited.User = "migrate", time.Minute, time.Second, "web"
	limited.Env, limited.MemoryMax, limited.Restart = map[string]string{"B": "2", "A": "1"}, 1<<20, units.RestartOnFailure
	id := units.ID{Context: "work", Name: "x"}
	got := show([]Unit{
		Run(units.AdHoc{ID: id, Action: plain}, 7, nil, 252),
		Run(units.AdHoc{ID: id, Action: process}, 8, nil, 254),
		Run(units.AdHoc{ID: id, Action: limited}, 9, nil, 252),
	})
	if want := string(text); got != want {
		t.Errorf("the units are\n%s\nwant\n%s", got, want)
	}
	piped := Run(units.AdHoc{ID: id, Action: plain}, 7, &units.Streams{4, 5, 6}, 252)
	var streams []string
	for _, p := range piped.Properties {
		if strings.HasPrefix(p.Name, "Standard") {
			streams = append(streams, p.Name)
			if fd, ok := p.Value.(FD); !ok || int(fd) != 3+len(streams) {
				t.Errorf("%s is %#v", p.Name, p.Value)
			}
		}
	}
	if want := "StandardInputFileDescriptor StandardOutputFileDescriptor StandardErrorFileDescriptor"; strings.Join(streams, " ") != want {
		t.Errorf("the streams are %q, want %q", streams, want)
	}
}
