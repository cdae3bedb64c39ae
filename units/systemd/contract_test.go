package systemd_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
	"forge.ourworld.tf/lhumina_code/hero_proc/units/transient"
)

func TestMakeStartsWhatIsWantedAndLoadsTheRest(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	slow, first, second, other := oneshot("slow", "/bin/sleep", "0.2"), service("first", "/bin/sleep", "1000"),
		service("second", "/bin/sleep", "1000"), service("other", "/bin/sleep", "1000")
	first.Requires = []string{"slow"}
	second.After = []string{"first"}
	// slow is started because first requires it.
	if err := m.Make(t.Context(), set([]string{second.Unit(), first.Unit()}, other, second, first, slow)); err != nil {
		t.Fatal(err)
	}
	x.eventually(m, "second is active", func() bool { return x.read(m, second.Unit()).Active == "active" })

	a, b, c := x.wantState(m, slow.Unit(), "active"), x.wantState(m, first.Unit(), "active"), x.wantState(m, second.Unit(), "active")
	if a.ExitedAt.IsZero() || b.ActiveSince.Before(a.ExitedAt) || c.ActiveSince.Before(b.ActiveSince) {
		t.Errorf("the order is not kept: %v, %v, %v", a.ExitedAt, b.ActiveSince, c.ActiveSince)
	}
	if m.Booted().IsZero() || b.ActiveSince.Before(m.Booted()) {
		t.Errorf("booted at %v, first is up since %v", m.Booted(), b.ActiveSince)
	}
	if b.MainPID == 0 || len(b.InvocationID) != 32 || b.Result != "success" || b.Load != "loaded" || b.Digest != first.Digest() || b.Restarts != 0 {
		t.Errorf("first reads %+v", b)
	}
	if a.ExitCode != 1 || a.ExitStatus != 0 || a.Sub != "exited" {
		t.Errorf("slow reads %+v", a)
	}
	if o := x.wantState(m, other.Unit(), "inactive"); o.Load != "loaded" || o.InvocationID != "" || !o.ActiveSince.IsZero() {
		t.Errorf("other reads %+v", o)
	}
	list, err := m.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range list {
		if ref, _ := units.ParseUnit(u.Name); ref.Context == testContext {
			names = append(names, u.Name+" "+u.Active+" "+u.Load)
		}
	}
	want := []string{first.Unit() + " active loaded", other.Unit() + " inactive loaded", second.Unit() + " active loaded", slow.Unit() + " active loaded"}
	if !slices.Equal(names, want) {
		t.Errorf("the list is %q, want %q", names, want)
	}
}

func TestMakeIsAllOrNothing(t *testing.T) {
	good := transient.Service(service("good", "/bin/sleep", "1000"), "", 252)[0]
	with := func(p transient.Property) transient.Unit {
		u := transient.Service(service("bad", "/bin/sleep", "1000"), "", 252)[0]
		u.Properties = append(u.Properties, p)
		return u
	}
	x := newTarget(t)
	m := x.manager()
	name := setName()
	for _, c := range []struct {
		name string
		bad  transient.Unit
		says string
	}{
		{"unknown property", with(transient.Property{Name: "Nonsense", Value: "x"}), "Cannot set property Nonsense, or unknown property."},
		{"wrong type", with(transient.Property{Name: "RestartUSec", Value: "1s"}), "Unexpected message contents"},
		{"wrong value", with(transient.Property{Name: "Type", Value: "bogus"}), "Invalid Type setting: bogus"},
		{"can't be sent", with(transient.Property{Name: "Description", Value: "a\x00b"}), "null char"},
	} {
		err := m.Make(t.Context(), transient.BootSet(name, []transient.Unit{good, c.bad}, []string{good.Name}))
		t.Log(c.name)
		x.wantCode(err, units.CodeRefused, c.says)
		if u := x.read(m, good.Name); u.Loaded() {
			t.Errorf("%s: the good unit was loaded all the same: %+v", c.name, u)
		}
	}
	// The name of the throw-away slice is free all the while.
	if err := m.Make(t.Context(), transient.BootSet(name, []transient.Unit{good}, nil)); err != nil {
		t.Error(err)
	}
}

func TestARefusedSetLeavesWhatWasThere(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	there, user, added := service("there", "/bin/sleep", "1000"), service("user", "/bin/sleep", "1000"), service("added", "/bin/sleep", "1000")
	user.After = []string{"added"}
	x.load(m, there, user)
	x.wantCode(m.Make(t.Context(), set(nil, added, there)), units.CodeRefused, there.Unit()+" was already loaded")
	if u := x.read(m, there.Unit()); !u.Loaded() {
		t.Errorf("what was there reads %+v", u)
	}
	if u := x.read(m, added.Unit()); u.Loaded() {
		t.Errorf("what user refers to was left: %+v", u)
	}
	x.load(m, added)
}

func TestPinKeepsAStoppedUnit(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := service("pinned", "/bin/sleep", "1000")
	x.load(m, s)
	for range 2 { // stopped, it can be started again
		if got := x.start(m, s.Unit()); got != "done" {
			t.Fatalf("start: %s", got)
		}
		if got := x.stop(m, s.Unit()); got != "done" {
			t.Fatalf("stop: %s", got)
		}
	}
	if u := x.wantState(m, s.Unit(), "inactive"); !u.Loaded() || u.ExitStatus != 15 || u.InvocationID == "" {
		t.Errorf("the stopped unit reads %+v", u)
	}
	if err := m.Pin(t.Context(), s.Unit()); err != nil { // twice now: AddRef= was the first
		t.Fatal(err)
	}
	if err := m.Unpin(t.Context(), s.Unit()); err != nil {
		t.Fatal(err)
	}
	if u := x.read(m, s.Unit()); u.Loaded() {
		t.Errorf("the unpinned unit is still there: %+v", u)
	}
	if err := m.Unpin(t.Context(), s.Unit()); err != nil {
		t.Errorf("unpin what isn't there: %v", err)
	}
	x.wantCode(m.Pin(t.Context(), s.Unit()), units.CodeRefused, "not found")
}

func TestUnpinOfWhatSomebodyElseHasPinned(t *testing.T) {
	x := newTarget(t)
	first, second := x.manager(), x.manager()
	s := service("theirs", "/bin/sleep", "1000")
	x.load(first, s)
	if err := second.Unpin(t.Context(), s.Unit()); err != nil {
		t.Error(err)
	}
	if u := x.read(second, s.Unit()); !u.Loaded() {
		t.Errorf("the unit that the first has pinned reads %+v", u)
	}
}

func TestPinsEndWithTheConnection(t *testing.T) {
	x := newTarget(t)
	first, second := x.manager(), x.manager()
	runs, idle, kept := service("runs", "/bin/sleep", "1000"), service("idle", "/bin/sleep", "1000"), service("kept", "/bin/sleep", "1000")
	x.load(first, runs, idle, kept)
	x.start(first, runs.Unit())
	before := x.read(second, runs.Unit())
	if err := second.Pin(t.Context(), kept.Unit()); err != nil {
		t.Fatal(err)
	}
	second.Take()
	first.Close()
	x.eventually(second, "the idle unit is gone", func() bool { return !x.read(second, idle.Unit()).Loaded() })
	if u := x.read(second, kept.Unit()); !u.Loaded() {
		t.Errorf("the unit with another pin reads %+v", u)
	}
	if u := x.wantState(second, runs.Unit(), "active"); u.InvocationID != before.InvocationID || u.MainPID != before.MainPID {
		t.Errorf("the running unit was %+v, is %+v", before, u)
	}
}

func TestUnloadAndRedefine(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	old, changed := service("base", "/bin/sleep", "1000"), service("base", "/bin/sleep", "2000")
	user, follower := service("user", "/bin/sleep", "1000"), service("follower", "/bin/sleep", "1000")
	user.Requires = []string{"base"}
	follower.After = []string{"base"}
	x.load(m, old, user, follower)
	x.start(m, user.Unit())
	x.start(m, follower.Unit())
	before := x.read(m, follower.Unit())

	x.wantCode(m.Unload(t.Context(), user.Unit(), old.Unit()), units.CodeInUse, "active")
	if got := x.stop(m, old.Unit()); got != "done" {
		t.Fatalf("stop: %s", got)
	}
	x.wantState(m, user.Unit(), "inactive") // stopped with what it requires
	x.wantState(m, follower.Unit(), "active")

	// A pin is not all that keeps it: user and follower name it.
	if err := m.Unpin(t.Context(), old.Unit()); err != nil {
		t.Fatal(err)
	}
	x.wantCode(m.Make(t.Context(), set(nil, changed)), units.CodeRefused, "was already loaded")
	if err := m.Unload(t.Context(), old.Unit(), unitOf("absent")); err != nil {
		t.Fatal(err)
	}
	x.load(m, changed)
	if u := x.read(m, old.Unit()); u.Digest != changed.Digest() {
		t.Errorf("digest is %q, want %q", u.Digest, changed.Digest())
	}
	if got := x.start(m, user.Unit()); got != "done" {
		t.Errorf("start of what requires it: %s", got)
	}
	x.wantState(m, old.Unit(), "active")
	if u := x.wantState(m, follower.Unit(), "active"); u.InvocationID != before.InvocationID || u.Digest != before.Digest {
		t.Errorf("follower was %+v, is %+v", before, u)
	}
}

func TestUnloadTakesAFailedUnit(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	broken, user := service("broken", "/nonexistent/program"), service("user", "/bin/sleep", "1000")
	user.Wants = []string{"broken"}
	x.load(m, broken, user)
	x.start(m, user.Unit())
	x.wantState(m, broken.Unit(), "failed")
	if err := m.Unload(t.Context(), broken.Unit()); err != nil {
		t.Fatal(err)
	}
	x.load(m, service("broken", "/bin/sleep", "1000"))
	if got := x.start(m, broken.Unit()); got != "done" {
		t.Errorf("start of the mended unit: %s", got)
	}
}

func TestResultsOfAStart(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	hangs := service("hangs", "/bin/sleep", "1000")
	hangs.Actions[0].Ready, hangs.Actions[0].TimeoutStart = units.ReadyNotify, 200*time.Millisecond
	needy := service("needy", "/bin/sleep", "1000")
	needy.Requires = []string{"missing"}
	orphan := service("orphan", "/bin/sleep", "1000")
	orphan.Requires = []string{"nowhere"}
	silent := service("silent", "/bin/true")
	silent.Actions[0].Ready = units.ReadyNotify
	loose := service("loose", "/bin/sleep", "1000")
	loose.Wants = []string{"nowhere", "missing"}
	x.load(m, hangs, needy, orphan, silent, loose, service("works", "/bin/sleep", "1000"), service("missing", "/nonexistent/program"),
		oneshot("fails", "/bin/false"), oneshot("ends", "/bin/true"))

	for _, c := range []struct {
		unit, result         string
		active, unitResult   string
		exitCode, exitStatus int32
	}{
		{unit: "works", result: "done", active: "active", unitResult: "success"},
		{unit: "works", result: "done", active: "active", unitResult: "success"}, // again: it is up
		{unit: "missing", result: "failed", active: "failed", unitResult: "exit-code", exitCode: 1, exitStatus: 203},
		{unit: "needy", result: "dependency", active: "inactive", unitResult: "success"},
		{unit: "fails", result: "failed", active: "failed", unitResult: "exit-code", exitCode: 1, exitStatus: 1},
		{unit: "ends", result: "done", active: "active", unitResult: "success", exitCode: 1},
		{unit: "silent", result: "failed", active: "failed", unitResult: "protocol", exitCode: 1},
		{unit: "hangs", result: "failed", active: "failed", unitResult: "timeout", exitCode: 2, exitStatus: 15},
		{unit: "loose", result: "done", active: "active", unitResult: "success"},
	} {
		if got := x.start(m, unitOf(c.unit)); got != c.result {
			t.Errorf("%s: the job's result is %q, want %q", c.unit, got, c.result)
		}
		u := x.wantState(m, unitOf(c.unit), c.active)
		if u.Result != c.unitResult || u.ExitCode != c.exitCode || u.ExitStatus != c.exitStatus {
			t.Errorf("%s: result %q, code %d, status %d, want %q, %d, %d", c.unit, u.Result, u.ExitCode, u.ExitStatus, c.unitResult, c.exitCode, c.exitStatus)
		}
	}
	_, err := m.Start(t.Context(), unitOf("orphan"), "replace")
	x.wantCode(err, units.CodeRefused, unitOf("nowhere")+" not found")

	if err := m.ResetFailed(t.Context(), unitOf("missing")); err != nil {
		t.Error(err)
	}
	x.wantState(m, unitOf("missing"), "inactive")
}

func TestWhatIsNotThere(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	absent := unitOf("absent")
	if got := x.stop(m, absent); got != "done" {
		t.Errorf("stop: %s", got)
	}
	_, err := m.Start(t.Context(), absent, "replace")
	x.wantCode(err, units.CodeRefused, "not found")
	_, err = m.Restart(t.Context(), absent, "replace")
	x.wantCode(err, units.CodeRefused, "not found")
	if state, err := m.FileState(t.Context(), absent); err != nil || state != "" {
		t.Errorf("its file is %q, %v", state, err)
	}
	if err := m.ResetFailed(t.Context(), absent); err != nil {
		t.Errorf("reset: %v", err)
	}
	if err := m.Unload(t.Context(), absent); err != nil {
		t.Errorf("unload: %v", err)
	}
	// The calls above made signals. Reading must make none, or reading what
	// they are about would never end. The start of another unit says when all
	// earlier signals are there.
	flush := func(name string) []string {
		s := service(name, "/bin/sleep", "1000")
		x.load(m, s)
		x.start(m, s.Unit())
		return m.Take().Units
	}
	if changed := flush("flush1"); !slices.Contains(changed, absent) {
		t.Errorf("changed are %q, want %s among them", changed, absent)
	}
	if u := x.read(m, absent); u.Load != "not-found" || u.Loaded() || u.Active != "inactive" || u.Name != absent {
		t.Errorf("it reads %+v", u)
	}
	if changed := flush("flush2"); slices.Contains(changed, absent) {
		t.Error("reading what isn't there makes signals")
	}
}

func TestTakeTellsWhatChanged(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	changing, still := service("changing", "/bin/sleep", "1000"), service("still", "/bin/sleep", "1000")
	x.load(m, changing, still)
	x.start(m, still.Unit())
	x.start(m, changing.Unit())
	m.Take()
	x.kill(m, changing.Unit())
	deadline := time.After(patience)
	for u := x.read(m, changing.Unit()); u.Active != "failed"; u = x.read(m, changing.Unit()) {
		select {
		case <-m.Wake():
		case <-deadline:
			t.Fatalf("%+v", u)
		}
		changed := m.Take()
		if changed.All || changed.Lost || changed.Back || slices.Contains(changed.Units, still.Unit()) {
			t.Errorf("changed are %+v", changed)
		}
	}
	if u := x.read(m, changing.Unit()); u.Result != "signal" || u.ExitCode != 2 || u.ExitStatus != 9 {
		t.Errorf("the killed unit reads %+v", u)
	}
}

func TestStopAndRestart(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	base, user := service("base", "/bin/sleep", "1000"), service("user", "/bin/sleep", "1000")
	user.Requires = []string{"base"}
	enemy := service("enemy", "/bin/sleep", "1000")
	enemy.Conflicts = []string{"base"}
	x.load(m, base, user, enemy)
	x.start(m, user.Unit())
	before := x.read(m, user.Unit())

	if got := x.result(m.Restart(t.Context(), base.Unit(), "replace")); got != "done" {
		t.Errorf("restart: %s", got)
	}
	x.eventually(m, "what requires it was restarted with it", func() bool {
		u := x.read(m, user.Unit())
		return u.Active == "active" && u.InvocationID != before.InvocationID
	})
	one, err1 := m.Stop(t.Context(), base.Unit(), "replace")
	two, err2 := m.Stop(t.Context(), base.Unit(), "replace")
	if a, b := x.result(one, err1), x.result(two, err2); a != "done" || b != "done" {
		t.Errorf("two stops at once: %q and %q", a, b)
	}
	x.wantState(m, user.Unit(), "inactive")

	x.start(m, base.Unit())
	if got := x.start(m, enemy.Unit()); got != "done" {
		t.Errorf("start of what conflicts: %s", got)
	}
	// Conflicts= is no order: the one may be up before the other is down.
	x.eventually(m, "what it conflicts with is down", func() bool { return x.read(m, base.Unit()).Active == "inactive" })
}

func TestAStopCancelsAStart(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	hangs := service("hangs", "/bin/sleep", "1000")
	hangs.Actions[0].Ready = units.ReadyNotify
	x.load(m, hangs)
	starting, err := m.Start(t.Context(), hangs.Unit(), "replace")
	if err != nil {
		t.Fatal(err)
	}
	x.eventually(m, "it is activating", func() bool { return x.read(m, hangs.Unit()).Active == "activating" })
	if u := x.read(m, hangs.Unit()); u.JobID == 0 {
		t.Errorf("the starting unit reads %+v", u)
	}
	if got := x.stop(m, hangs.Unit()); got != "done" {
		t.Errorf("stop: %s", got)
	}
	if got := x.result(starting, nil); got != "canceled" {
		t.Errorf("start: %s", got)
	}
}

func TestRestartOfAKilledUnit(t *testing.T) {
	x := newTarget(t)
	m := x.manager()
	s := service("phoenix", "/bin/sleep", "1000")
	a := &s.Actions[0]
	a.Restart, a.RestartDelay, a.StartLimitBurst, a.StartLimitInterval = units.RestartOnFailure, time.Millisecond, 2, time.Minute
	x.load(m, s)
	x.start(m, s.Unit())
	before := x.read(m, s.Unit())
	x.kill(m, s.Unit())
	x.eventually(m, "it was restarted", func() bool {
		u := x.read(m, s.Unit())
		return u.Active == "active" && u.InvocationID != before.InvocationID
	})
	if u := x.read(m, s.Unit()); u.Restarts != 1 || u.MainPID == before.MainPID {
		t.Errorf("the restarted unit reads %+v", u)
	}
	x.kill(m, s.Unit())
	x.eventually(m, "it came to its start limit", func() bool { return x.read(m, s.Unit()).Active == "failed" })
	if got := x.start(m, s.Unit()); got != "failed" {
		t.Errorf("start beyond the limit: %s", got)
	}
	if err := m.ResetFailed(t.Context(), s.Unit()); err != nil {
		t.Fatal(err)
	}
	if got := x.start(m, s.Unit()); got != "done" {
		t.Errorf("start after a reset: %s", got)
	}
	if u := x.read(m, s.Unit()); u.Restarts != 0 {
		t.Errorf("a start by hand counts as a restart: %+v", u)
	}
}

func TestHush(t *testing.T) {
	x := newTarget(t)
	m, other := x.manager(), x.manager()
	s := service("hushed", "/bin/sleep", "1000")
	x.load(m, s)
	for _, change := range []func(context.Context) error{m.Hush, m.Hush, m.Listen, m.Listen, m.Hush} {
		if err := change(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := x.start(m, s.Unit()); got != "done" { // so the end of a job is told
		t.Fatalf("start: %s", got)
	}
	if c := m.Take(); c.Jobs[s.Unit()] != "done" || !slices.Contains(c.Units, s.Unit()) {
		t.Errorf("of the job's end %+v is told", c)
	}
	x.kill(m, s.Unit())
	x.eventually(other, "the unit failed", func() bool { return x.read(other, s.Unit()).Active == "failed" })
	if c := m.Take(); len(c.Units) > 0 {
		t.Errorf("it is hushed, and tells of %q", c.Units)
	}
	if err := m.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := x.start(m, s.Unit()); got != "done" {
		t.Fatalf("start: %s", got)
	}
	x.kill(m, s.Unit())
	x.eventually(m, "the unit failed again", func() bool { return x.read(m, s.Unit()).Active == "failed" })
}
