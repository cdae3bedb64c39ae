package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestMajorVersion(t *testing.T) {
	for text, want := range map[string]int{
		"252.39-1~deb12u2": 252, "257~rc1": 257, "v256.4": 256, "255 (255.4-1ubuntu8)": 255, "258": 258, "": 0, "git": 0,
	} {
		if got := majorVersion(text); got != want {
			t.Errorf("majorVersion(%q) is %d, want %d", text, got, want)
		}
	}
}

func TestUnitName(t *testing.T) {
	for path, want := range map[dbus.ObjectPath]string{
		unitsPath + "/hero_2dcore_2dhero_5fos_40ui_2eservice": "hero-core-hero_os@ui.service",
		unitsPath + "/_3123":   "123",
		unitsPath + "/a_2":     "", // cut short
		unitsPath + "/a_zz":    "",
		unitsPath:              "",
		systemdPath + "/job/1": "",
	} {
		if got := unitName(path); got != want {
			t.Errorf("unitName(%q) is %q, want %q", path, got, want)
		}
	}
}

func TestCodeOf(t *testing.T) {
	const bus = "org.freedesktop.DBus.Error."
	for _, c := range []struct {
		err  error
		want units.Code
	}{
		{dbus.Error{Name: systemdName + ".UnitExists"}, units.CodeRefused},
		{dbus.Error{Name: noSuchUnit}, units.CodeRefused},
		{dbus.Error{Name: "System.Error.ENXIO"}, units.CodeRefused},
		{dbus.Error{Name: bus + "PropertyReadOnly"}, units.CodeRefused},
		{dbus.Error{Name: bus + "NoReply"}, units.CodeUnavailable},
		{dbus.Error{Name: bus + "ServiceUnknown"}, units.CodeUnavailable},
		{dbus.Error{Name: bus + "NameHasNoOwner"}, units.CodeUnavailable},
		{dbus.Error{Name: bus + "Spawn.ChildExited"}, units.CodeUnavailable},
		{dbus.Error{Name: bus + "Timeout"}, units.CodeTimeout},
		{dbus.ErrClosed, units.CodeUnavailable},
		{io.EOF, units.CodeUnavailable},
		{errNoConnection, units.CodeUnavailable},
		{context.DeadlineExceeded, units.CodeTimeout},
		{context.Canceled, units.CodeCanceled},
	} {
		err := failure("start x", fmt.Errorf("on the way: %w", c.err))
		if got := units.CodeOf(err); got != c.want {
			t.Errorf("%v has code %s, want %s", c.err, got, c.want)
		}
		var answer dbus.Error // is not comparable
		if !errors.Is(err, c.err) && !errors.As(err, &answer) {
			t.Errorf("%v has lost its cause", err)
		}
	}
}

func TestChangesAreBounded(t *testing.T) {
	c := newChanges()
	name := func(i int) string { return units.ID{Context: "core", Name: fmt.Sprintf("s%d", i)}.Unit() }
	for i := range maxDirty {
		c.mark(name(i))
		c.mark(name(0))
	}
	c.mark("ssh.service")
	if c.all || len(c.names) != maxDirty {
		t.Fatalf("%d names, all: %t", len(c.names), c.all)
	}
	c.mark(name(maxDirty))
	if got := c.take(); !got.All || got.Units != nil {
		t.Errorf("took %d names, all: %t", len(got.Units), got.All)
	}
	c.mark(name(1))
	if got := c.take(); got.All || len(got.Units) != 1 {
		t.Errorf("after that, took %+v", got)
	}
	for i := range maxDirty + 1 {
		c.over(name(i), "failed")
	}
	c.over(name(0), "done")
	if got := c.take(); len(got.Jobs) != maxDirty || got.Jobs[name(0)] != "done" {
		t.Errorf("took the results of %d units, the first's is %q", len(got.Jobs), got.Jobs[name(0)])
	}
}

func TestChangesDuringAReload(t *testing.T) {
	c := newChanges()
	c.hold(true)
	c.over("hero-core-b.service", "dependency")
	c.over("ssh.service", "failed")
	if got := c.take(); got.Units != nil || len(got.Jobs) != 1 || got.Jobs["hero-core-b.service"] != "dependency" {
		t.Errorf("while it reloads, the jobs that are over are %+v", got)
	}
	c.mark("hero-core-a.service") // systemd says that it is gone
	if got := c.take(); got.All || got.Units != nil {
		t.Errorf("while it reloads, took %+v", got)
	}
	select {
	case <-c.wake:
		t.Error("woken up while it reloads")
	default:
	}
	c.hold(false)
	<-c.wake
	if got := c.take(); !got.All {
		t.Errorf("after it, took %+v", got)
	}
}

// A job may be over before the answer that names it was read.
func TestJobs(t *testing.T) {
	var j jobs
	early, err := j.queue(func() (int, error) { j.finish(7, "failed"); return 7, nil })
	if got := <-early; err != nil || got != "failed" {
		t.Errorf("early: %q, %v", got, err)
	}
	if len(j.early) != 0 {
		t.Errorf("results are kept that nobody can ask for: %v", j.early)
	}
	again, _ := j.queue(func() (int, error) { return 7, nil }) // not the old result
	joined, _ := j.queue(func() (int, error) { return 7, nil })
	other, _ := j.queue(func() (int, error) { return 8, nil })
	j.finish(7, "done")
	if a, b := <-again, <-joined; a != "done" || b != "done" {
		t.Errorf("two for one job: %q, %q", a, b)
	}
	refused := errors.New("refused")
	if _, err := j.queue(func() (int, error) { return 0, refused }); !errors.Is(err, refused) {
		t.Errorf("error is %v", err)
	}
	j.close()
	if got, ok := <-other; ok {
		t.Errorf("after the end: %q", got)
	}
	if late, _ := j.queue(func() (int, error) { return 9, nil }); late != nil {
		if got, ok := <-late; ok {
			t.Errorf("later on: %q", got)
		}
	}
}

// What could not be executed at all is told of as systemd does, also where that
// was what prepares the program, and not the program.
func TestExit(t *testing.T) {
	for _, c := range []struct {
		name         string
		result       string
		main, pre    int32
		code, status int32
	}{
		{"the program has failed", "exit-code", 3, 0, 1, 3},
		{"its preparation has found something", "exit-code", 0, 1, 1, 0},
		{"its preparation could not be executed", "exit-code", 0, 243, 1, 243},
		{"that was before", "success", 0, 243, 1, 0},
	} {
		pre := []any{"/p", []string{"/p"}, false, uint64(1), uint64(1), uint64(1), uint64(1), uint32(1), int32(1), c.pre}
		code, status := exit(variants("Result", c.result, "ExecMainCode", int32(1), "ExecMainStatus", c.main, "ExecStartPre", [][]any{pre}))
		if code != c.code || status != c.status {
			t.Errorf("%s: it is %d, %d; want %d, %d", c.name, code, status, c.code, c.status)
		}
	}
}

// A start begins with what prepares the program, which may be all that is ever
// executed of it.
func TestBegun(t *testing.T) {
	pre := func(start uint64) []any {
		return []any{"/p", []string{"/p"}, false, start, uint64(1), uint64(1), uint64(1), uint32(1), int32(1), int32(0)}
	}
	for _, c := range []struct {
		name string
		main uint64
		pre  [][]any
		want int64
	}{
		{"it was never started", 0, nil, 0},
		{"nothing prepares it", 5, nil, 5},
		{"it was prepared", 5, [][]any{pre(2), pre(3)}, 2},
		{"its preparation was refused", 0, [][]any{pre(2), pre(0)}, 2},
		{"its preparation has not begun", 0, [][]any{pre(0)}, 0},
		{"another systemd tells less", 5, [][]any{{"/p"}}, 5},
	} {
		got, want := begun(variants("ExecMainStartTimestamp", c.main, "ExecStartPre", c.pre)), time.Time{}
		if c.want != 0 {
			want = time.UnixMicro(c.want)
		}
		if !got.Equal(want) {
			t.Errorf("%s: it began at %v, want %v", c.name, got, want)
		}
	}
}

// variants are properties: names and values in turns.
func variants(all ...any) map[string]dbus.Variant {
	p := map[string]dbus.Variant{}
	for i := 0; i < len(all); i += 2 {
		signature := dbus.SignatureOf(all[i+1])
		if all[i] == "ExecStartPre" {
			signature = dbus.ParseSignatureMust("a(sasbttttuii)")
		}
		p[all[i].(string)] = dbus.MakeVariantWithSignature(all[i+1], signature)
	}
	return p
}

// What systemd would never send is an error, and no unit that is not there.
func TestListed(t *testing.T) {
	row := func(change func([]any)) []any {
		r := []any{"a.service", "A", "loaded", "active", "running", "", dbus.ObjectPath("/a"), uint32(7), "", dbus.ObjectPath("/")}
		change(r)
		return r
	}
	good := row(func([]any) {})
	for _, c := range []struct {
		name string
		body []any
		want int // -1 is an error
	}{
		{"none", []any{[][]any{}}, 0},
		{"two", []any{[][]any{good, good}}, 2},
		{"nothing", nil, -1},
		{"one too many", []any{[][]any{good}, "x"}, -1},
		{"no rows", []any{[]string{"a.service"}}, -1},
		{"a row without a column", []any{[][]any{good, good[:9]}}, -1},
		{"an empty row", []any{[][]any{{}}}, -1},
		{"a name of another type", []any{[][]any{row(func(r []any) { r[0] = uint32(1) })}}, -1},
		{"a load state of another type", []any{[][]any{row(func(r []any) { r[2] = true })}}, -1},
		{"a job of another type", []any{[][]any{row(func(r []any) { r[7] = "7" })}}, -1},
	} {
		list, err := listed(c.body)
		if (err != nil) != (c.want < 0) || err == nil && len(list) != c.want {
			t.Errorf("%s: it is %v, %v", c.name, list, err)
		}
	}
	list, _ := listed([]any{[][]any{good}})
	if want := (units.Unit{Name: "a.service", Load: "loaded", Active: "active", Sub: "running", JobID: 7}); !reflect.DeepEqual(list, []units.Unit{want}) {
		t.Errorf("it is %+v; want %+v", list, want)
	}
}
