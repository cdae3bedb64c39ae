package dbusapi

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/dbusapi/wire"
	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// How often the clients are told what has changed.
const (
	// minPause bounds the passes to 20 a second: what changes in between is
	// told at once.
	minPause = 50 * time.Millisecond
	// pauseShare is how many times as long as a pass the pause after it is,
	// so that a machine of thousands of services is not kept busy by reading.
	pauseShare = 4
	retryPause = time.Second // after a pass that failed
	// firstLook bounds the first pass, which calls wait for.
	firstLook = 500 * time.Millisecond
)

// teller tells the clients of one connection what has changed. It reads
// nothing while nothing does.
type teller struct {
	*Server
	conn *dbus.Conn
	// told is the picture that the clients have; nil where that is not known, and
	// then the next pass makes everything come.
	told picture
	// touched are the objects to be told of in the next pass that succeeds.
	touched map[dbus.ObjectPath]bool
}

// tell works until ctx ends, or the connection does. It ends beginning once it has
// the picture that clients start from: nobody is answered before, so whoever is
// needs to be told of nothing but what changes.
func (s *Server) tell(ctx context.Context, conn *dbus.Conn, beginning context.Context, begin func()) {
	t := &teller{Server: s, conn: conn, touched: map[dbus.ObjectPath]bool{}}
	late := time.AfterFunc(firstLook, begin)
	defer late.Stop()
	for pass := t.first; ; pass, beginning = t.pass, ctx {
		begun := time.Now()
		err := t.try(beginning, pass)
		begin()
		if ctx.Err() != nil || conn.Context().Err() != nil {
			return
		}
		pause := max(minPause, pauseShare*time.Since(begun))
		wake := s.Controller.Touched()
		if err != nil {
			s.Logger.Debug("cannot tell what has changed, trying again", "error", err)
			pause, wake = max(pause, retryPause), nil
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if wake == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
	}
}

// try makes a pass; a panic in it is its error.
func (t *teller) try(ctx context.Context, pass func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			t.Logger.Error("telling what has changed failed inside", "error", err, "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return pass(ctx)
}

// first only looks. Without an answer in time everything comes with the next pass.
func (t *teller) first(ctx context.Context) error {
	select {
	case <-t.Controller.Touched(): // what was is in the picture
	default:
	}
	t.Controller.TakeTouched()
	now, err := t.look(ctx)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		t.told = now
	}
	return err
}

// pass reads everything again and sends what differs.
func (t *teller) pass(ctx context.Context) error {
	touched := t.Controller.TakeTouched()
	for _, id := range touched.Services {
		t.touched[wire.ServicePath(id)] = true
	}
	now, err := t.look(ctx)
	if err != nil {
		return err
	}
	t.lastWords(ctx, now)
	for _, s := range append(signals(t.told, now, t.touched), t.shortLived(ctx, touched.Jobs, now)...) {
		if err := t.emit(s); err != nil {
			return err
		}
	}
	t.told = now
	clear(t.touched)
	return nil
}

// look is the picture as it is now.
func (t *teller) look(ctx context.Context) (picture, error) {
	services, err := t.Controller.Services(ctx)
	if err != nil {
		return nil, err
	}
	now, err := objects(ctx, t.Controller, services)
	if err != nil {
		return nil, err
	}
	now[wire.RootPath] = shown{wire.KindManager, units.ID{}, t.Controller.Health(services)}
	return now, nil
}

// lastWords tells how the jobs ended that are about to go.
func (t *teller) lastWords(ctx context.Context, now picture) {
	for path, old := range t.told {
		if _, stays := now[path]; stays || old.kind != wire.KindJob {
			continue
		}
		job, err := t.Controller.Job(ctx, wire.ParsePath(path).Job)
		if err != nil {
			continue // it goes without
		}
		for _, s := range changes(path, old, showJob(job), false) {
			_ = t.emit(s) // if it can't, the signals after it can't either
		}
	}
}

// maxShortLived bounds the jobs that one pass tells of and that are over
// already: nobody follows thousands of them one by one.
const maxShortLived = 256

// shortLived tells of the jobs that came and went since the last pass: they
// are in no picture, and yet somebody may wait for what becomes of them.
func (t *teller) shortLived(ctx context.Context, jobs []int64, now picture) (all []signal) {
	for _, id := range jobs {
		path := wire.JobPath(id)
		_, was := t.told[path]
		_, is := now[path]
		if was || is || len(all) >= 2*maxShortLived {
			continue
		}
		job, err := t.Controller.Job(ctx, id)
		if err != nil || !job.Phase.Terminal() {
			continue // the next pass has it
		}
		o := showJob(job)
		all = append(all,
			signal{wire.RootPath, wire.ObjectManagerInterface + ".InterfacesAdded", []any{path, o.interfaces()}},
			removed(path, o))
	}
	return all
}

func (t *teller) emit(s signal) error {
	t.counters.signals.Add(1)
	return t.conn.Emit(s.path, s.name, s.body...)
}
