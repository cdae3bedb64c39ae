package dbusapi

import (
	"context"
	"maps"
	"slices"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

// maxBulk is how many calls that answer with everything there is are worked on
// at a time. The others wait for their turn, which costs nothing: the memory
// of such an answer is many times its length. Root has turns of its own, so
// that it never stands in a queue behind users.
const maxBulk = 2

type turns struct{ users, root chan struct{} }

func newTurns() turns {
	return turns{users: make(chan struct{}, maxBulk), root: make(chan struct{}, maxBulk)}
}

func (t turns) of(uid uint32) chan struct{} {
	if uid == 0 {
		return t.root
	}
	return t.users
}

// held is the turn that a call has, until its answer is written: what waits to be
// written is in memory, too.
type held struct{ turn chan struct{} }

func (h *held) release() {
	if h.turn != nil {
		<-h.turn
	}
}

// bulk is a handler that waits for its turn.
func bulk(handle func(context.Context, *call) ([]any, error)) func(context.Context, *call) ([]any, error) {
	return func(ctx context.Context, c *call) ([]any, error) {
		turn := c.server.bulk.of(c.uid)
		select {
		case turn <- struct{}{}:
			c.held.turn = turn
			return handle(ctx, c)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func getManagedObjects(ctx context.Context, c *call) ([]any, error) {
	services, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	all, err := objects(ctx, c, services)
	if err != nil {
		return nil, err
	}
	out := make(map[dbus.ObjectPath]map[string]map[string]dbus.Variant, len(all))
	for path, o := range all {
		out[path] = o.interfaces()
	}
	return []any{out}, nil
}

// contexts are those of the services, by name.
func contexts(services []units.Status) []units.ContextStatus {
	counts := map[string]map[units.State]int{}
	for _, s := range services {
		if counts[s.Context] == nil {
			counts[s.Context] = map[units.State]int{}
		}
		counts[s.Context][s.State]++
	}
	var all []units.ContextStatus
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, units.ContextStatus{Name: name, Slice: units.SliceOf(name), Services: counts[name]})
	}
	return all
}
