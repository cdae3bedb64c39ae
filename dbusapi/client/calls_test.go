package client_test

import (
	"strings"
	"testing"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestListingCancellingPruningMeasuring(t *testing.T) {
	t.Parallel()
	ctx, s := testContext(t), apitest.Start(t)
	c := s.Client()
	lab := units.ID{Context: "lab", Name: "web"}
	for _, id := range []units.ID{web, lab} {
		def := definition()
		def["context"] = id.Context
		if err := c.Set(ctx, def, false); err != nil {
			t.Fatal(err)
		}
	}
	job, err := c.Start(ctx, lab)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		context string
		state   units.State
		want    string
	}{
		{want: "core/web lab/web"},
		{context: "core", want: "core/web"},
		{context: "none"},
		{state: units.StateRunning, want: "lab/web"},
		{context: "core", state: units.StateRunning},
	} {
		list, err := c.ServicesIn(ctx, tt.context, tt.state)
		var got []string
		for _, s := range list {
			got = append(got, s.ID.String())
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("services in %q, %q: %q, %v; want %q", tt.context, tt.state, got, err, tt.want)
		}
	}
	if _, err := c.ServicesIn(ctx, "", "on fire"); units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("services in a state that is none: error is %v", err)
	}
	contexts, err := c.Contexts(ctx)
	if err != nil || len(contexts) != 2 || contexts[1].Name != "lab" || contexts[1].Slice != "hero-lab.slice" || contexts[1].Services[units.StateRunning] != 1 {
		t.Errorf("contexts are %+v, %v", contexts, err)
	}
	jobs, err := c.Jobs(ctx, units.JobFilter{Live: true})
	if err != nil || len(jobs) != 1 || jobs[0] != job {
		t.Errorf("jobs are %+v, %v; want %+v", jobs, err, job)
	}
	if err := c.Cancel(ctx, job.ID); err != nil {
		t.Error(err)
	}
	if ended, err := c.Wait(ctx, job.ID); err != nil || ended.Phase != units.PhaseCanceled {
		t.Errorf("the canceled job is %+v, %v", ended, err)
	}
	if err := c.Cancel(ctx, 99); units.CodeOf(err) != units.CodeNoSuchJob {
		t.Errorf("cancel of job 99: error is %v", err)
	}
	if err := c.Cancel(ctx, 0); units.CodeOf(err) != units.CodeNoSuchJob {
		t.Errorf("cancel of job 0: error is %v", err)
	}
	if jobs, err := c.Jobs(ctx, units.JobFilter{Live: true}); err != nil || len(jobs) != 0 {
		t.Errorf("afterwards jobs are %+v, %v", jobs, err)
	}

	for range 3 {
		s.Controller.AddLog(units.Event{Source: units.SourceBus, Level: units.LevelInfo})
	}
	s.Controller.AddLog(units.Event{Source: units.SourceBus, Level: units.LevelError})
	if n, err := c.PruneLogs(ctx, units.LogFilter{Level: units.LevelInfo, Limit: 1}, false); n != 3 || err != nil {
		t.Errorf("pruned %d, %v; want all 3, whatever the limit", n, err)
	}
	if _, err := c.PruneLogs(ctx, units.LogFilter{}, false); units.CodeOf(err) != units.CodeInvalidArgument {
		t.Errorf("everything, and nobody said that it is meant: error is %v", err)
	}
	if n, err := c.PruneLogs(ctx, units.LogFilter{}, true); n != 1 || err != nil {
		t.Errorf("pruned %d, %v; want the last one", n, err)
	}
	if text, err := c.Metrics(ctx); err != nil || !strings.HasSuffix(text, "# EOF\n") {
		t.Errorf("metrics are %q, %v", text, err)
	}
}
