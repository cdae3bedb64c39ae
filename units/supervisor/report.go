package supervisor

import (
	"context"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/plan"
)

// report journals an event and queues it for the logs table.
func (s *Supervisor) report(e units.Event) {
	if e.Time.IsZero() {
		e.Time = s.Now()
	}
	s.reported.Store(true)
	if err := s.Journal.Send(e); err != nil {
		s.Logger.Error("cannot journal an event, ignoring", "code", e.Code, "error", err, "message", e.Message)
	}
	s.Queue.Append(e)
}

func (s *Supervisor) reportProblem(id units.ID, p plan.Problem) {
	info, _ := p.Code.Info()
	s.report(units.Event{
		Source: units.SourceAutostart, Code: p.Code, Level: info.Level, Service: id,
		Message: p.Message, Remedy: p.Remedy, Unit: id.Unit(),
	})
}

// reportStep says that a step of the boot failed; the boot goes on.
func (s *Supervisor) reportStep(source string, err error) {
	s.report(units.Event{
		Source: source, Code: units.EventBootStepFailed, Level: units.LevelError,
		Message: "a step of the boot failed, and the boot went on without it: " + err.Error(),
		Remedy:  "journalctl -b -u hero_proc\nsystemctl restart hero_proc",
	})
}

// flush waits until what was reported is in the journal and in the logs table,
// for as long as a journal and a store that work can need.
func (s *Supervisor) flush(ctx context.Context) {
	if !s.reported.Swap(false) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.Journal.Sync(ctx); err != nil {
		s.Logger.Warn("cannot tell whether the journal has the entries, ignoring", "error", err)
	}
	if err := s.Queue.Flush(ctx); err != nil {
		s.Logger.Error("cannot write the log table, ignoring: the entries are in the journal", "error", err)
	}
}
