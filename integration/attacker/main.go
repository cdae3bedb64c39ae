// Command attacker does to hero_proc, over the real bus, what a program with
// faults or a hostile user would do, and judges the answers: each call that
// the bus delivers is answered, and each refusal is a proper D-Bus error. It
// runs in the machine of the soak test, as root and as a user at once.
//
// What lives here is the attacks and the judgement of one answer. What never
// may: a look at the daemon's process, which is the test's own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// patience bounds one call. The daemon gives up its own after 30 seconds.
const patience = 40 * time.Second

func main() {
	length := flag.Duration("for", 5*time.Second, "how long to go on")
	flood := flag.Int("flood", 0, "do nothing but calls from that many connections, 32 at a time each")
	flag.Parse()
	t := &tally{Answers: map[string]int{}}
	a, err := prepare(t)
	if err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *length)
	defer cancel()
	attacks := a.attacks()
	if *flood > 0 {
		attacks = map[string]func(context.Context) error{}
		for i := range *flood {
			attacks[fmt.Sprint("flood ", i)] = a.flood
		}
	}
	var all sync.WaitGroup
	for name, attack := range attacks {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := attack(ctx); err != nil {
					t.fault(name, err)
					return
				}
			}
		})
	}
	all.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(t)
	if len(t.Faults) > 0 {
		os.Exit(1)
	}
}

// tally is what came of it.
type tally struct {
	mu      sync.Mutex
	Answers map[string]int `json:"answers"` // by the name of the error, "" for none
	Faults  []string       `json:"faults"`
}

func (t *tally) fault(attack string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.Faults) < 20 {
		t.Faults = append(t.Faults, fmt.Sprintf("%s: %v", attack, err))
	}
}

// unfit are the errors that are no refusal: of a daemon that is not there, does
// not answer, or does not know what happened.
var unfit = []string{
	".Error.Internal", ".Error.NoReply", ".Error.TimedOut", ".Error.Timeout", ".Error.Disconnected",
	".Error.ServiceUnknown", ".Error.NameHasNoOwner", ".Error.Unavailable",
}

// judge counts an answer. It is an error if that is none, or no proper one.
func (t *tally) judge(call *dbus.Call) error {
	var refused dbus.Error
	if call.Err != nil && !errors.As(call.Err, &refused) {
		return fmt.Errorf("%s of %s has no answer: %w", call.Method, call.Path, call.Err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Answers[refused.Name]++
	for _, name := range unfit {
		if strings.HasSuffix(refused.Name, name) {
			return fmt.Errorf("%s of %s is answered by %s: %w", call.Method, call.Path, refused.Name, refused)
		}
	}
	return nil
}
