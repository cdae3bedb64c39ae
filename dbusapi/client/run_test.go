package client_test

import (
	"bufio"
	"os"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestRun(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	c := s.Client()
	job, err := c.Run(t.Context(), map[string]any{"name": "x", "context": "lab", "exec": []string{"true"}, "env": map[string]string{"A": "1"}})
	if err != nil || job.Unit != "hero-lab-x-r1.service" {
		t.Fatalf("the job is %+v, %v", job, err)
	}
	if job, err = c.Wait(t.Context(), job.ID); err != nil || job.Phase != units.PhaseSucceeded {
		t.Errorf("the job ended as %+v, %v", job, err)
	}
	_, err = c.Run(t.Context(), map[string]any{"name": "x", "exec": "true", "memmory_max": "1M"})
	if units.CodeOf(err) != units.CodeInvalidDefinition {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestRunWithFiles(t *testing.T) {
	t.Parallel()
	s := apitest.Start(t)
	c := s.Client()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	job, err := c.RunWithFiles(t.Context(), map[string]any{"name": "x", "exec": "true"}, null, w, null)
	if err != nil || job.Service.Name != "x" {
		t.Fatalf("the job is %+v, %v", job, err)
	}
	w.Close()
	// The end comes when the daemon has closed its own.
	lines := bufio.NewScanner(r)
	var got []string
	for lines.Scan() {
		got = append(got, lines.Text())
	}
	if len(got) != 1 || got[0] != "started core/x" {
		t.Errorf("the pipe has %q", got)
	}
	null.Close()
	if _, err := c.RunWithFiles(t.Context(), map[string]any{"name": "x", "exec": "true"}, null, null, null); units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("a closed file: %v", err)
	}
}
