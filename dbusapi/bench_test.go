package dbusapi_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/apitest"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// benchmark times do over a private bus where a thousand services run, and
// reports percentiles: the mean hides what an operator notices.
func benchmark(b *testing.B, do func(*apitest.Server) func() error) {
	s := apitest.Start(b)
	for i := range 1000 {
		id := units.ID{Context: "core", Name: fmt.Sprint("web", i)}
		if err := s.Controller.Set(b.Context(), definition(id.Name), false); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Controller.Start(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	call := do(s)
	var took []time.Duration
	for b.Loop() {
		begun := time.Now()
		if err := call(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}

func BenchmarkStatus(b *testing.B) {
	benchmark(b, func(s *apitest.Server) func() error {
		c, id := s.Client(), units.ID{Context: "core", Name: "web500"}
		return func() error { _, err := c.Status(b.Context(), id); return err }
	})
}

func BenchmarkListThousand(b *testing.B) {
	benchmark(b, func(s *apitest.Server) func() error {
		c := s.Client()
		return func() error {
			list, err := c.Services(b.Context())
			if err == nil && len(list) != 1000 {
				err = fmt.Errorf("%d services", len(list))
			}
			return err
		}
	})
}
