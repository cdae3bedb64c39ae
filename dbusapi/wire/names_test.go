package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"forge.ourworld.tf/lhumina_code/hero_proc/units"
)

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path dbus.ObjectPath
		want Object
	}{
		{path: "/", want: Object{Kind: KindParent}},
		{path: "/tf", want: Object{Kind: KindParent}},
		{path: "/tf/ourworld", want: Object{Kind: KindParent}},
		{path: "/tf/ourworl", want: Object{}},
		{path: "/tf/ourworld/HeroProc1", want: Object{Kind: KindManager}},
		{path: "/org", want: Object{Kind: KindParent}},
		{path: "/org/freedesktop", want: Object{Kind: KindParent}},
		{path: "/org/freedesktop/LogControl", want: Object{}},
		{path: "/org/freedesktop/LogControl1", want: Object{Kind: KindLogControl}},
		{path: "/org/freedesktop/LogControl1/x", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/context", want: Object{Kind: KindParent}},
		{path: "/tf/ourworld/HeroProc1/context/core", want: Object{Kind: KindContext, Service: units.ID{Context: "core"}}},
		{path: "/tf/ourworld/HeroProc1/context/Core", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/context/core/x", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/service", want: Object{Kind: KindParent}},
		{path: "/tf/ourworld/HeroProc1/service/core", want: Object{Kind: KindParent, Service: units.ID{Context: "core"}}},
		{path: "/tf/ourworld/HeroProc1/service/Core", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/service/core/hero_5fdb", want: Object{Kind: KindService, Service: units.ID{Context: "core", Name: "hero_db"}}},
		{path: "/tf/ourworld/HeroProc1/service/core/hero_db", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/service/core/hero_5Fdb", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/service/core/_31a_2eb_2d1", want: Object{Kind: KindService, Service: units.ID{Context: "core", Name: "1a.b-1"}}},
		{path: "/tf/ourworld/HeroProc1/service/core/_", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/service/core/web/x", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/job", want: Object{Kind: KindParent}},
		{path: "/tf/ourworld/HeroProc1/job/7", want: Object{Kind: KindJob, Job: 7}},
		{path: "/tf/ourworld/HeroProc1/job/0", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/job/07", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/job/99999999999999999999", want: Object{}},
		{path: "/tf/ourworld/HeroProc1/jobs", want: Object{}},
	} {
		tt.want.Path = tt.path
		if got := ParsePath(tt.path); got != tt.want {
			t.Errorf("%s is %+v; want %+v", tt.path, got, tt.want)
		}
	}
}

func FuzzLabel(f *testing.F) {
	for _, s := range []string{"", "_", "hero_db", "1a.b-1", "ü", "a_5fb", "__"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		label := EscapeLabel(s)
		if !dbus.ObjectPath("/" + label).IsValid() {
			t.Errorf("%q is escaped as %q, which is no element of a path", s, label)
		}
		if got := UnescapeLabel(label); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	})
}

func TestErrorsGoOverTheBusAndBack(t *testing.T) {
	t.Parallel()
	for _, row := range units.Codes {
		for _, remedy := range []string{"", "do this\nthen that"} {
			sent := units.Errorf(row.Code, "cannot do \"x\": %w", errors.New("cause")).WithRemedy(remedy)
			onBus := ToError(sent)
			got := FromError(*onBus)
			if onBus.Name != row.DBus || got.Code != row.Code {
				t.Errorf("%s went as %s and came back as %s", row.Code, onBus.Name, got.Code)
			}
			if row.Code != units.CodeInternal && (got.Message != sent.Message || got.Remedy != remedy) {
				t.Errorf("%s came back with %q, %q", row.Code, got.Message, got.Remedy)
			}
		}
	}
}

func TestInternalErrorsTellNothing(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("secret"), units.Errorf(units.CodeInternal, "secret")} {
		e := ToError(err)
		if e.Name != units.CodeInternal.Info().DBus || strings.Contains(e.Error(), "secret") {
			t.Errorf("%v went as %s: %v", err, e.Name, e.Body)
		}
	}
	if e := ToError(dbus.NewError(ErrUnknownMethod, []any{"x"})); e.Name != ErrUnknownMethod {
		t.Errorf("an error of the protocol went as %s", e.Name)
	}
	if e := FromError(dbus.Error{Name: ErrUnknownMethod}); e.Code != units.CodeInternal {
		t.Errorf("an error that is not of the table is %s", e.Code)
	}
	if e := ToError(units.Errorf(units.CodeRefused, "a\x00b\xff")); !reflect.DeepEqual(e.Body, []any{"a\ufffdb\ufffd"}) {
		t.Errorf("text unfit for the bus went as %q", e.Body)
	}
}
